//! One case: load, score, compare.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use cameo_scoring::{Scorer, ScoringLimits};

use crate::manifest::{Case, Corpus};

/// Difference that a score may have, relative to the score.
const TOLERANCE: f64 = 1e-5;
/// Difference that a score may have besides, relative to the largest score of its column: a few
/// rounding steps of a 32-bit float.
///
/// A score near zero is what is left of larger terms that cancel, or of 1 minus a probability. Its
/// last steps depend on the order of the sum, which neither ONNX nor ONNX Runtime promises (it sums
/// one row in another order than many), so they carry no information to be relative to.
const ROUNDING: f64 = 4.0 * f32::EPSILON as f64;

/// What became of a case.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Every output of every batch equals the reference.
    Matches,
    /// The model was refused when it was loaded.
    Refused(String),
    /// The exporter or ONNX Runtime failed.
    NotExported(String),
    /// It was loaded and then failed, or gave something else.
    Differs(String),
}

/// Loads the model of a case and scores every batch.
pub(crate) fn outcome(corpus: &Corpus, case: &Case) -> Outcome {
    if let Some(failure) = &case.failure {
        return Outcome::NotExported(failure.clone());
    }
    let features = corpus.features(case);
    let scorer = match Scorer::load(
        &corpus.model(case),
        None,
        &features.schema(),
        &ScoringLimits::default(),
    ) {
        Ok(scorer) => scorer,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    let references = corpus.references(case);
    let scales: Vec<f64> = references
        .last()
        .map_or_else(Vec::new, |whole| whole.columns().iter().map(largest).collect());
    for reference in references {
        let rows = reference.num_rows();
        let compared = scorer
            .score(&features.slice(0, rows))
            .map_err(|error| error.to_string())
            .and_then(|scored| match scored.rejected.first() {
                None => equal(&scored.outputs, &reference, &scales),
                Some(first) => Err(format!("row {} was rejected: {}", first.row, first.reason)),
            });
        if let Err(problem) = compared {
            return Outcome::Differs(format!("{rows} rows: {problem}"));
        }
    }
    Outcome::Matches
}

/// Largest finite magnitude of a column of scores; 0 for labels.
fn largest(column: &ArrayRef) -> f64 {
    if !column.data_type().is_floating() {
        return 0.0;
    }
    let column = cast(column, &DataType::Float64).expect("floats are floats");
    let finite = column.as_primitive::<Float64Type>().values().iter().copied();
    finite.filter(|value| value.is_finite()).fold(0.0, |largest, value| value.abs().max(largest))
}

fn equal(found: &RecordBatch, expected: &RecordBatch, scales: &[f64]) -> Result<(), String> {
    let names = |batch: &RecordBatch| -> Vec<String> {
        batch.schema().fields().iter().map(|field| field.name().clone()).collect()
    };
    if names(found) != names(expected) {
        return Err(format!("expected columns {:?}, found {:?}", names(expected), names(found)));
    }
    for (index, name) in names(found).iter().enumerate() {
        column(found.column(index), expected.column(index), scales[index])
            .map_err(|problem| format!("{name}: {problem}"))?;
    }
    Ok(())
}

fn column(found: &ArrayRef, expected: &ArrayRef, scale: f64) -> Result<(), String> {
    let kinds = || format!("expected {}, found {}", expected.data_type(), found.data_type());
    if found.null_count() > 0 {
        return Err(format!("{} nulls", found.null_count()));
    }
    if found.len() != expected.len() {
        return Err(format!("expected {} rows, found {}", expected.len(), found.len()));
    }
    let wide =
        |array: &ArrayRef, kind: &DataType| cast(array, kind).map_err(|error| error.to_string());
    match expected.data_type() {
        DataType::Float32 | DataType::Float64 if found.data_type() == expected.data_type() => {
            let (found, expected) =
                (wide(found, &DataType::Float64)?, wide(expected, &DataType::Float64)?);
            scores(
                found.as_primitive::<Float64Type>().values(),
                expected.as_primitive::<Float64Type>().values(),
                scale,
            )
        }
        DataType::Int64 if found.data_type().is_integer() => {
            let found = wide(found, &DataType::Int64)?;
            labels(
                found.as_primitive::<Int64Type>().values(),
                expected.as_primitive::<Int64Type>().values(),
            )
        }
        DataType::Boolean if found.data_type() == &DataType::Boolean => labels(
            &found.as_boolean().values().iter().collect::<Vec<_>>(),
            &expected.as_boolean().values().iter().collect::<Vec<_>>(),
        ),
        DataType::Utf8 if found.data_type() == &DataType::Utf8 => labels(
            &found.as_string::<i32>().iter().collect::<Vec<_>>(),
            &expected.as_string::<i32>().iter().collect::<Vec<_>>(),
        ),
        _ => Err(kinds()),
    }
}

fn labels<T: PartialEq + std::fmt::Debug>(found: &[T], expected: &[T]) -> Result<(), String> {
    let mut differing = (0..found.len()).filter(|&row| found[row] != expected[row]);
    match differing.next() {
        None => Ok(()),
        Some(row) => Err(format!(
            "row {row}: expected {:?}, found {:?}, and {} more",
            expected[row],
            found[row],
            differing.count()
        )),
    }
}

fn scores(found: &[f64], expected: &[f64], scale: f64) -> Result<(), String> {
    // How many times the allowed difference.
    let excess = |row: usize| {
        let (found, expected) = (found[row], expected[row]);
        if found.total_cmp(&expected).is_eq() || (found.is_nan() && expected.is_nan()) {
            return 0.0;
        }
        let excess = (found - expected).abs() / (TOLERANCE * expected.abs() + ROUNDING * scale);
        if excess.is_nan() { f64::INFINITY } else { excess }
    };
    let beyond = (0..found.len()).filter(|&row| excess(row) > 1.0).count();
    if beyond == 0 {
        return Ok(());
    }
    let worst =
        (0..found.len()).max_by(|&a, &b| excess(a).total_cmp(&excess(b))).unwrap_or_default();
    Err(format!(
        "{beyond} rows differ, row {worst} most ({:.1} times what is allowed): expected {}, found {}",
        excess(worst),
        expected[worst],
        found[worst]
    ))
}
