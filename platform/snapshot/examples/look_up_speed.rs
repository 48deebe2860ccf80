//! Nanoseconds of a look-up, and seconds of writing and opening, by type of key.
//!
//! `cargo run --release -p cameo-snapshot --example look_up_speed -- 5000000`

use std::{hint::black_box, sync::Arc, time::Instant};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use cameo_batch::arrow_schema;
use cameo_domain::{Column, DataType, GenerationId, Key, PredictionSchema};
use cameo_snapshot::{BATCH_ROWS, Snapshot, SnapshotWriter};

/// Look-ups of one measurement.
const LOOK_UPS: usize = 2_000_000;

#[expect(clippy::print_stdout, reason = "an example prints")]
fn main() {
    let rows: i64 = std::env::args().nth(1).and_then(|rows| rows.parse().ok()).unwrap_or(5_000_000);
    for key in [DataType::Int, DataType::String] {
        let column =
            |name: &str, data_type| Column { name: name.parse().expect("a name"), data_type };
        let schema = PredictionSchema::new(vec![
            column("id", key),
            column("score", DataType::Float64),
            column("value", DataType::Float64),
        ])
        .expect("a schema");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("snapshot.arrow");
        let begun = Instant::now();
        let mut writer = SnapshotWriter::create(&path, &schema, GenerationId(1)).expect("a file");
        for start in (0..rows).step_by(BATCH_ROWS) {
            let numbers: Vec<i64> = (start..rows).take(BATCH_ROWS).collect();
            let scores: ArrayRef =
                Arc::new(Float64Array::from_iter_values(numbers.iter().map(|row| *row as f64)));
            let keys: ArrayRef = match key {
                DataType::Int => Arc::new(Int64Array::from(numbers)),
                _ => Arc::new(StringArray::from_iter_values(numbers.into_iter().map(text))),
            };
            let columns = vec![keys, Arc::clone(&scores), scores];
            let batch = RecordBatch::try_new(arrow_schema(&schema), columns).expect("a batch");
            writer.write(&batch).expect("rows in order");
        }
        let written = writer.finish().expect("a snapshot");
        let wrote = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let snapshot = Snapshot::open(&path, &written.sha256).expect("the snapshot");
        let opened = begun.elapsed().as_secs_f64();
        let mut draw = 1_u64;
        let keys: Vec<Key> = (0..LOOK_UPS)
            .map(|_| {
                draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let number = (draw >> 33).cast_signed() % rows;
                if key == DataType::Int { Key::Int(number) } else { Key::String(text(number)) }
            })
            .collect();
        let begun = Instant::now();
        for key in &keys {
            let row = snapshot.find(key.as_ref()).expect("a known key").start;
            black_box(snapshot.cell(row, 1));
        }
        let nanoseconds = begun.elapsed().as_secs_f64() * 1e9 / LOOK_UPS as f64;
        println!(
            "{key}: {rows} rows, {} MB, written in {wrote:.2} s, opened in {opened:.2} s, look-up {nanoseconds:.0} ns",
            written.bytes / 1_000_000
        );
    }
}

fn text(number: i64) -> String {
    format!("customer-{number:012}")
}
