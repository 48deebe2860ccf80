//! One row at a time, for answers on demand: no batch is built, and nothing is allocated per row.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array,
    StringArray,
};
use arrow::datatypes::{Float32Type, Float64Type, Int32Type, Int64Type};

use crate::accept;
use crate::bind::BoundColumn;
use crate::error::ScoreError;
use crate::fused::{Cell, Fused, RowOutput, RowState};
use crate::outputs::Outputs;
use crate::scorer::{Engine, Scorer};
use crate::signature::PortKind;
use crate::stages::Stages;

/// A value of one row: a feature, or an output column.
#[derive(Debug, Clone, PartialEq)]
pub enum RowValue<'a> {
    /// A missing feature; outputs are never null.
    Null,
    /// A float of any width, or a decimal.
    Number(f64),
    /// An integer of any width, days since 1970-01-01, or microseconds since 1970-01-01 UTC.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
    /// A string.
    Text(Cow<'a, str>),
}

/// Scores rows one by one in memory of its own; make one per thread and keep it.
///
/// Values are converted by the rules of a batch (see the crate's page), and a row gets the scores that it gets in
/// any batch, bit by bit. A model that runs fused allocates nothing per row; one that needs the general
/// runtime does.
#[derive(Debug)]
pub struct Session<'s> {
    scorer: &'s Scorer,
    columns: Vec<&'s BoundColumn>,
    state: Option<RowState>,
    outputs: Vec<RowValue<'s>>,
}

impl<'s> Session<'s> {
    pub(crate) fn of(scorer: &'s Scorer) -> Self {
        let state = match scorer.engine() {
            Engine::Fused(fused) => Some(fused.row_state()),
            Engine::Stages(_) => None,
        };
        let outputs = Vec::with_capacity(scorer.output_schema().fields().len());
        Self { scorer, columns: scorer.columns().collect(), state, outputs }
    }

    /// Scores one row.
    ///
    /// `features` are in the order of [`Scorer::input_columns`]; the answer is in the order of
    /// [`Scorer::output_schema`].
    ///
    /// # Errors
    /// [`ScoreError::Row`] when a value is missing or does not fit its column, [`ScoreError::Evaluation`] when
    /// the model fails on the values.
    pub fn score(&mut self, features: &[RowValue<'_>]) -> Result<&[RowValue<'s>], ScoreError> {
        if features.len() != self.columns.len() {
            return Err(ScoreError::RowWidth {
                expected: self.columns.len(),
                found: features.len(),
            });
        }
        self.outputs.clear();
        match (self.scorer.engine(), &mut self.state) {
            (Engine::Fused(fused), Some(state)) => {
                fused_row(fused, state, &self.columns, features, &mut self.outputs)?;
            }
            (Engine::Stages(stages), _) => {
                let outputs = self.scorer.outputs();
                general_row(stages, outputs, &self.columns, features, &mut self.outputs)?;
            }
            (Engine::Fused(_), None) => {}
        }
        Ok(&self.outputs)
    }
}

fn fused_row<'s>(
    fused: &'s Fused,
    state: &mut RowState,
    columns: &[&BoundColumn],
    features: &[RowValue<'_>],
    outputs: &mut Vec<RowValue<'s>>,
) -> Result<(), ScoreError> {
    fused.score_row(state, |column| cell(columns[column], &features[column]))?;
    fused.row_outputs(state, |output| {
        outputs.push(match output {
            RowOutput::Float(value) => RowValue::Number(value.into()),
            RowOutput::Integer(value) => RowValue::Integer(value),
            RowOutput::Text(text) => RowValue::Text(Cow::Borrowed(text)),
        });
    });
    Ok(())
}

/// A feature as the input that it feeds takes it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "rounding to the nearest float is the documented conversion"
)]
fn cell<'a>(column: &'a BoundColumn, value: &'a RowValue<'_>) -> Result<Cell<'a>, ScoreError> {
    let default = column.default.as_ref();
    Ok(match (column.kind, value) {
        (PortKind::Float32 | PortKind::Float64, RowValue::Number(number)) => {
            Cell::Number(*number as f32)
        }
        (PortKind::Float32, RowValue::Integer(integer)) => Cell::Number(*integer as f32),
        (PortKind::Float64, RowValue::Integer(integer)) => Cell::Number(*integer as f64 as f32),
        (PortKind::Float32 | PortKind::Float64, RowValue::Boolean(boolean)) => {
            Cell::Number(f32::from(u8::from(*boolean)))
        }
        (PortKind::Float32 | PortKind::Float64, RowValue::Null) => {
            Cell::Number(default.map_or(f32::NAN, |default| default.double() as f32))
        }
        (PortKind::Int64, RowValue::Integer(integer)) => Cell::Integer(*integer),
        (PortKind::Int32, RowValue::Integer(integer)) if i32::try_from(*integer).is_ok() => {
            Cell::Integer(*integer)
        }
        (PortKind::Int64 | PortKind::Int32 | PortKind::Bool, RowValue::Boolean(boolean)) => {
            Cell::Integer((*boolean).into())
        }
        (PortKind::String, RowValue::Text(text)) => Cell::Text(text),
        (_, RowValue::Null) => match (default, column.kind) {
            (Some(crate::NullDefault::Text(text)), PortKind::String) => Cell::Text(text),
            (Some(default), _) => Cell::Integer(default.integer()),
            (None, kind) => return Err(rejected(column, accept::reason(true, kind))),
        },
        (PortKind::Int32, RowValue::Integer(_)) => {
            return Err(rejected(column, accept::reason(false, column.kind)));
        }
        (kind, found) => {
            return Err(rejected(column, format!("expected a value for {kind}, found {found:?}")));
        }
    })
}

fn rejected(column: &BoundColumn, problem: String) -> ScoreError {
    ScoreError::Row { column: column.name.clone(), problem }
}

/// A row on the general runtime: a batch of one.
fn general_row(
    stages: &Stages,
    outputs: &Outputs,
    columns: &[&BoundColumn],
    features: &[RowValue<'_>],
    into: &mut Vec<RowValue<'_>>,
) -> Result<(), ScoreError> {
    let arrays = columns
        .iter()
        .zip(features)
        .map(|(column, value)| array(column, value))
        .collect::<Result<Vec<_>, _>>()?;
    for column in stages.score(&arrays, outputs, 1)? {
        into.push(output(&column));
    }
    Ok(())
}

#[allow(clippy::cast_possible_truncation, reason = "an input of 32 bits gets what was checked")]
#[allow(clippy::cast_precision_loss, reason = "the documented conversion")]
fn array(column: &BoundColumn, value: &RowValue<'_>) -> Result<ArrayRef, ScoreError> {
    let double = match value {
        RowValue::Number(number) => Some(*number),
        RowValue::Integer(integer) => Some(*integer as f64),
        _ => None,
    };
    Ok(match (column.kind, cell(column, value)?) {
        (PortKind::Float64, Cell::Number(number)) => {
            Arc::new(Float64Array::from(vec![double.unwrap_or(f64::from(number))]))
        }
        (_, Cell::Number(number)) => Arc::new(Float32Array::from(vec![number])),
        (PortKind::Bool, Cell::Integer(integer)) => {
            Arc::new(BooleanArray::from(vec![integer != 0]))
        }
        (PortKind::Int32, Cell::Integer(integer)) => {
            Arc::new(Int32Array::from(vec![integer as i32]))
        }
        (_, Cell::Integer(integer)) => Arc::new(Int64Array::from(vec![integer])),
        (_, Cell::Text(text)) => Arc::new(StringArray::from(vec![text])),
    })
}

fn output(column: &ArrayRef) -> RowValue<'static> {
    if let Some(column) = column.as_primitive_opt::<Float32Type>() {
        RowValue::Number(column.value(0).into())
    } else if let Some(column) = column.as_primitive_opt::<Float64Type>() {
        RowValue::Number(column.value(0))
    } else if let Some(column) = column.as_primitive_opt::<Int64Type>() {
        RowValue::Integer(column.value(0))
    } else if let Some(column) = column.as_primitive_opt::<Int32Type>() {
        RowValue::Integer(column.value(0).into())
    } else if let Some(column) = column.as_boolean_opt() {
        RowValue::Boolean(column.value(0))
    } else if let Some(column) = column.as_string_opt::<i32>() {
        RowValue::Text(column.value(0).to_owned().into())
    } else {
        RowValue::Null
    }
}
