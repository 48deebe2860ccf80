//! One row without a batch around it, in memory that is allocated once.

use super::encode::unknown;
use super::leaf::{Leaf, Read, Source};
use super::outputs::index;
use super::read::{Body, Output};
use super::step::Frame;
use super::{Fused, encode};
use crate::error::ScoreError;
use crate::forest_stage::ForestRow;
use crate::scores::Labels;

/// A feature of the row, converted for the input that it feeds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cell<'a> {
    Number(f32),
    Integer(i64),
    Text(&'a str),
}

/// An output of the row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RowOutput<'a> {
    Float(f32),
    Integer(i64),
    Text(&'a str),
}

/// The memory of one row.
#[derive(Debug)]
pub(crate) struct RowState {
    cells: Columns,
    /// Registers of a program, features of an ensemble.
    values: Vec<f32>,
    forest: Option<ForestRow>,
}

/// What leaves read.
#[derive(Debug)]
struct Columns {
    /// By bound column.
    numbers: Vec<f32>,
    /// By encoder.
    codes: Vec<u32>,
}

impl Read for Columns {
    fn numbers(&self, column: usize, _: usize, into: &mut [f32]) {
        into.fill(self.numbers[column]);
    }

    fn codes(&self, encoder: usize, _: usize, _: usize) -> &[u32] {
        &self.codes[encoder..=encoder]
    }
}

impl Fused {
    pub(crate) fn row_state(&self) -> RowState {
        let (values, forest) = match &self.body {
            Body::Program { program, .. } => (program.registers, None),
            Body::Trees { leaves, forest } => (leaves.len(), Some(forest.row())),
        };
        RowState {
            cells: Columns {
                numbers: vec![0.0; self.numbers.len()],
                codes: vec![encode::UNKNOWN; self.encoders.len()],
            },
            values: vec![0.0; values],
            forest,
        }
    }

    /// Scores the row; `values` has one entry per bound column.
    #[allow(
        clippy::cast_precision_loss,
        reason = "rounding to the nearest float is the documented conversion"
    )]
    pub(crate) fn score_row<'a>(
        &self,
        state: &mut RowState,
        values: impl Fn(usize) -> Result<Cell<'a>, ScoreError>,
    ) -> Result<(), ScoreError> {
        for (column, number) in state.cells.numbers.iter_mut().enumerate() {
            *number = match values(column)? {
                Cell::Number(number) => number,
                Cell::Integer(integer) => integer as f32,
                Cell::Text(_) => f32::NAN,
            };
        }
        for (encoder, code) in self.encoders.iter().zip(&mut state.cells.codes) {
            *code = match values(encoder.column)? {
                Cell::Text(text) => encoder.keys.text(text),
                Cell::Integer(integer) => encoder.keys.integer(integer),
                Cell::Number(_) => encode::UNKNOWN,
            };
            if *code == encode::UNKNOWN && encoder.strict {
                return Err(unknown(0));
            }
        }
        let fill = |leaf: &Leaf, cells: &Columns, into: &mut f32| match &leaf.source {
            Source::Number { column } if leaf.steps.is_empty() => *into = cells.numbers[*column],
            _ => leaf.fill(self.level, cells, 0, std::slice::from_mut(into)),
        };
        match &self.body {
            Body::Program { fills, program, .. } => {
                for (register, leaf) in fills {
                    fill(leaf, &state.cells, &mut state.values[*register]);
                }
                let mut frame = Frame { values: &mut state.values, stride: 1, rows: 1 };
                program.run(self.level, &mut frame);
            }
            Body::Trees { leaves, forest } => {
                for (leaf, value) in leaves.iter().zip(&mut state.values) {
                    fill(leaf, &state.cells, value);
                }
                if let Some(row) = &mut state.forest {
                    forest.score_row(&state.values, row);
                }
            }
        }
        Ok(())
    }

    /// The outputs of the row that was scored last, in the order of the columns.
    pub(crate) fn row_outputs<'s>(&'s self, state: &RowState, mut each: impl FnMut(RowOutput<'s>)) {
        match (&self.body, &state.forest) {
            (Body::Program { outputs, .. }, _) => {
                for output in outputs {
                    each(match output {
                        Output::Scores { register } => RowOutput::Float(state.values[*register]),
                        Output::Labels { register, labels, .. } => {
                            label(labels, index(state.values[*register]))
                        }
                    });
                }
            }
            (Body::Trees { forest, .. }, Some(row)) => forest.row_outputs(row, each),
            (Body::Trees { .. }, None) => {}
        }
    }
}

/// The label of a class.
pub(crate) fn label(labels: &Labels, class: usize) -> RowOutput<'_> {
    match labels {
        Labels::Integers(labels) => RowOutput::Integer(labels[class]),
        Labels::Strings(labels) => RowOutput::Text(&labels[class]),
    }
}
