//! Peak memory of scoring a stream: `stream MODEL.onnx ROWS.f32 WIDTH COUNT…`, the rows as
//! `tests/peers/scoring_models.py` writes them, read over and over until COUNT rows are scored.
//!
//! `tests/peers/scoring_memory.py` is the same in Python, and runs both.
#![allow(clippy::print_stdout, reason = "the figures are the point")]

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use cameo_scoring::{Scorer, ScoringLimits};

/// Rows of a batch, as in a run.
const BATCH_ROWS: usize = 16_384;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, model, rows, width, counts @ ..] = &arguments[..] else {
        return Err("expected MODEL.onnx ROWS.f32 WIDTH COUNT…".into());
    };
    let width: usize = width.parse()?;
    let names: Vec<String> = (0..width).map(|index| format!("f{index}")).collect();
    let fields: Vec<Field> =
        names.iter().map(|name| Field::new(name, DataType::Float32, false)).collect();
    let schema = Arc::new(Schema::new(fields));
    let scorer = Scorer::load(&std::fs::read(model)?, None, &schema, &ScoringLimits::default())?;
    let mut file = BufReader::new(File::open(rows)?);
    for count in counts {
        let count: usize = count.parse()?;
        let (mut done, mut total) = (0, 0.0);
        while done < count {
            let values = read(&mut file, BATCH_ROWS.min(count - done) * width)?;
            let columns: Vec<ArrayRef> = (0..width)
                .map(|index| {
                    let column = values.iter().skip(index).step_by(width).copied();
                    Arc::new(Float32Array::from_iter_values(column)) as ArrayRef
                })
                .collect();
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
            let outputs = scorer.score(&batch)?.outputs;
            let last = outputs.columns().last().ok_or("the model has no output")?;
            let last = cast(last, &DataType::Float64)?;
            total += last.as_primitive::<Float64Type>().values().iter().sum::<f64>();
            done += batch.num_rows();
        }
        println!("rows={done} peak_kb={} mean={:.6}", peak_kb()?, total / done as f64);
    }
    Ok(())
}

/// The next values, at most `count`, from the start again after the end.
fn read(file: &mut BufReader<File>, count: usize) -> Result<Vec<f32>, Box<dyn Error>> {
    let mut bytes = vec![0; count * 4];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..])? {
            0 if filled > 0 => break,
            0 => file.rewind()?,
            more => filled += more,
        }
    }
    if filled < bytes.len() {
        file.rewind()?;
    }
    let (values, _) = bytes[..filled].as_chunks::<4>();
    Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
}

fn peak_kb() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak")?;
    Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
}
