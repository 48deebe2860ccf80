//! Model outputs as named Arrow columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    RecordBatchOptions, StringArray,
};
use arrow::datatypes::{Field, Schema, SchemaRef};
use tract_onnx::prelude::{DatumType, Tensor, TractResult};
use tract_onnx::tract_hir::internal::{Datum, bail};

use crate::columns::arrow_type;
use crate::error::{ModelError, ScoreError};
use crate::limits::ScoringLimits;
use crate::signature::{Port, PortKind};

/// The columns that a model's outputs become.
#[derive(Debug)]
pub(crate) struct Outputs {
    ports: Vec<Port>,
    schema: SchemaRef,
}

impl Outputs {
    /// Settles the columns; every port must have a width.
    pub(crate) fn new(ports: Vec<Port>, limits: &ScoringLimits) -> Result<Self, ModelError> {
        let mut fields: Vec<Field> = Vec::new();
        for port in &ports {
            let names = port.columns().ok_or_else(|| ModelError::Graph {
                problem: format!(
                    "the width of output `{}` depends on the data; fix it in the export",
                    port.name
                ),
            })?;
            if fields.len() + names.len() > limits.output_columns_max {
                return Err(ModelError::Limit {
                    what: format!("the number of output columns up to `{}`", port.name),
                    found: (fields.len() + names.len()) as u64,
                    limit: limits.output_columns_max as u64,
                });
            }
            for name in names {
                if fields.iter().any(|field| *field.name() == name) {
                    return Err(ModelError::Graph {
                        problem: format!(
                            "two outputs become the column `{name}`; rename one of them in the export"
                        ),
                    });
                }
                fields.push(Field::new(name, arrow_type(port.kind), false));
            }
        }
        Ok(Self { ports, schema: Arc::new(Schema::new(fields)) })
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    pub(crate) fn ports(&self) -> &[Port] {
        &self.ports
    }

    pub(crate) fn batch(
        &self,
        columns: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<RecordBatch, ScoreError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.schema(), columns, &options)?)
    }
}

/// Columns of one output, filled chunk by chunk.
#[derive(Debug)]
pub(crate) enum Collector {
    Float32(Vec<Vec<f32>>),
    Float64(Vec<Vec<f64>>),
    Int64(Vec<Vec<i64>>),
    Int32(Vec<Vec<i32>>),
    Bool(Vec<Vec<bool>>),
    String(Vec<Vec<String>>),
}

impl Collector {
    pub(crate) fn new(port: &Port, rows: usize) -> Self {
        fn columns<T>(width: usize, rows: usize) -> Vec<Vec<T>> {
            (0..width).map(|_| Vec::with_capacity(rows)).collect()
        }
        let width = port.width.unwrap_or(1);
        match port.kind {
            PortKind::Float32 => Self::Float32(columns(width, rows)),
            PortKind::Float64 => Self::Float64(columns(width, rows)),
            PortKind::Int64 => Self::Int64(columns(width, rows)),
            PortKind::Int32 => Self::Int32(columns(width, rows)),
            PortKind::Bool => Self::Bool(columns(width, rows)),
            PortKind::String => Self::String(columns(width, rows)),
        }
    }

    /// Appends a chunk of rows.
    pub(crate) fn append(&mut self, tensor: &Tensor) -> TractResult<()> {
        match self {
            Self::Float32(columns) => split(columns, &*tensor.cast_to::<f32>()?),
            Self::Float64(columns) => split(columns, &*tensor.cast_to::<f64>()?),
            Self::Int64(columns) => split(columns, &*tensor.cast_to::<i64>()?),
            Self::Int32(columns) => split(columns, &*tensor.cast_to::<i32>()?),
            Self::Bool(columns) => split(columns, tensor),
            Self::String(columns) => split(columns, tensor),
        }
    }

    pub(crate) fn finish(self) -> Vec<ArrayRef> {
        fn arrays<T>(columns: Vec<Vec<T>>, array: impl Fn(Vec<T>) -> ArrayRef) -> Vec<ArrayRef> {
            columns.into_iter().map(array).collect()
        }
        match self {
            Self::Float32(columns) => {
                arrays(columns, |column| Arc::new(Float32Array::from(column)))
            }
            Self::Float64(columns) => {
                arrays(columns, |column| Arc::new(Float64Array::from(column)))
            }
            Self::Int64(columns) => arrays(columns, |column| Arc::new(Int64Array::from(column))),
            Self::Int32(columns) => arrays(columns, |column| Arc::new(Int32Array::from(column))),
            Self::Bool(columns) => arrays(columns, |column| Arc::new(BooleanArray::from(column))),
            Self::String(columns) => arrays(columns, |column| Arc::new(StringArray::from(column))),
        }
    }
}

fn split<T: Datum>(columns: &mut [Vec<T>], tensor: &Tensor) -> TractResult<()> {
    let values = tensor.try_as_plain_ram()?.as_slice::<T>()?;
    let width = columns.len();
    if !values.len().is_multiple_of(width) {
        bail!("expected rows of {width} values, found {} values", values.len());
    }
    for (index, column) in columns.iter_mut().enumerate() {
        column.extend(values.iter().skip(index).step_by(width).cloned());
    }
    Ok(())
}

/// Type of the values of a tensor as a port; `None` for what cannot be a column.
pub(crate) fn port_kind(found: DatumType) -> Option<PortKind> {
    Some(match found {
        DatumType::F32 | DatumType::F16 => PortKind::Float32,
        DatumType::F64 => PortKind::Float64,
        DatumType::I64 | DatumType::TDim | DatumType::U32 => PortKind::Int64,
        DatumType::I32 | DatumType::I16 | DatumType::I8 | DatumType::U8 | DatumType::U16 => {
            PortKind::Int32
        }
        DatumType::Bool => PortKind::Bool,
        DatumType::String => PortKind::String,
        _ => return None,
    })
}
