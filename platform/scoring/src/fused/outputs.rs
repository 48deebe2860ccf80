//! Registers as Arrow columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int32Array, Int64Array, StringArray, StringBuilder};

use super::read::Output;
use super::step::Frame;
use crate::scores::Labels;
use crate::signature::PortKind;

/// The output columns of a batch, filled block by block.
pub(super) struct Columns<'a> {
    outputs: &'a [Output],
    columns: Vec<Column>,
}

enum Column {
    Scores(Vec<f32>),
    Integers(Vec<i64>),
    ShortIntegers(Vec<i32>),
    Strings(StringBuilder),
}

impl<'a> Columns<'a> {
    pub(super) fn new(outputs: &'a [Output], rows: usize) -> Self {
        let column = |output: &Output| match output {
            Output::Scores { .. } => Column::Scores(Vec::with_capacity(rows)),
            Output::Labels { labels: Labels::Strings(_), .. } => {
                Column::Strings(StringBuilder::new())
            }
            Output::Labels { kind: PortKind::Int32, .. } => {
                Column::ShortIntegers(Vec::with_capacity(rows))
            }
            Output::Labels { .. } => Column::Integers(Vec::with_capacity(rows)),
        };
        Self { outputs, columns: outputs.iter().map(column).collect() }
    }

    /// Appends the rows of a frame.
    pub(super) fn append(&mut self, frame: &Frame<'_>) {
        for (output, column) in self.outputs.iter().zip(&mut self.columns) {
            match (output, column) {
                (Output::Scores { register }, Column::Scores(column)) => {
                    column.extend_from_slice(frame.register(*register));
                }
                (Output::Labels { register, labels, .. }, column) => {
                    labels_of(labels, frame.register(*register), column);
                }
                (Output::Scores { .. }, _) => {}
            }
        }
    }

    pub(super) fn finish(self) -> Vec<ArrayRef> {
        let array = |column: Column| -> ArrayRef {
            match column {
                Column::Scores(values) => Arc::new(Float32Array::from(values)),
                Column::Integers(values) => Arc::new(Int64Array::from(values)),
                Column::ShortIntegers(values) => Arc::new(Int32Array::from(values)),
                Column::Strings(mut values) => {
                    let values: StringArray = values.finish();
                    Arc::new(values)
                }
            }
        };
        self.columns.into_iter().map(array).collect()
    }
}

/// Appends the labels of class indices.
fn labels_of(labels: &Labels, chosen: &[f32], column: &mut Column) {
    match (labels, column) {
        (Labels::Integers(labels), Column::Integers(column)) => {
            column.extend(chosen.iter().map(|chosen| labels[index(*chosen)]));
        }
        (Labels::Integers(labels), Column::ShortIntegers(column)) => {
            let short = |label: i64| i32::try_from(label).unwrap_or_default();
            column.extend(chosen.iter().map(|chosen| short(labels[index(*chosen)])));
        }
        (Labels::Strings(labels), Column::Strings(column)) => {
            for chosen in chosen {
                column.append_value(&labels[index(*chosen)]);
            }
        }
        _ => {}
    }
}

/// A class index that a register holds as a float.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is the index of a class, a small whole number"
)]
pub(super) fn index(chosen: f32) -> usize {
    chosen as usize
}
