//! What stands for a null, where the author of a model has declared it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, Scalar,
    StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use crate::columns;
use crate::error::ModelError;
use crate::signature::PortKind;

/// Values that stand for nulls, by feature column without regard to case.
pub type NullDefaults = BTreeMap<String, NullDefault>;

/// A value that stands for a null of one feature column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NullDefault {
    /// For columns of booleans; 0 or 1 for a number.
    Boolean(bool),
    /// For columns of whole numbers and of days.
    Integer(i64),
    /// For columns of floats and decimals.
    Number(f64),
    /// For columns of strings.
    Text(String),
}

impl NullDefault {
    /// Checks that a value can stand for a null of a column that feeds an input.
    pub(crate) fn check(
        &self,
        column: &str,
        found: &DataType,
        kind: PortKind,
    ) -> Result<(), ModelError> {
        let refused = |expected: &str| {
            Err(ModelError::NullDefault {
                column: column.to_owned(),
                problem: format!(
                    "expected {expected} for a column of type {found} that feeds {kind}, found {self:?}"
                ),
            })
        };
        let whole = found.is_integer()
            || matches!(found, DataType::Boolean | DataType::Date32 | DataType::Date64)
            || matches!(kind, PortKind::Int64 | PortKind::Int32);
        match (kind, self) {
            (PortKind::String, Self::Text(_)) | (PortKind::Bool, Self::Boolean(_)) => Ok(()),
            (PortKind::String, _) => refused("a string"),
            (PortKind::Bool, _) => refused("true or false"),
            (PortKind::Int32, Self::Integer(value)) if i32::try_from(*value).is_err() => {
                refused("a whole number of 32 bits")
            }
            (_, Self::Integer(_) | Self::Boolean(_)) => Ok(()),
            (_, Self::Number(_)) if !whole => Ok(()),
            _ if whole => refused("a whole number"),
            _ => refused("a number"),
        }
    }

    /// As a float.
    pub(crate) fn double(&self) -> f64 {
        match self {
            Self::Boolean(value) => f64::from(u8::from(*value)),
            Self::Integer(value) => *value as f64,
            Self::Number(value) => *value,
            Self::Text(_) => f64::NAN,
        }
    }

    /// As a whole number.
    pub(crate) fn integer(&self) -> i64 {
        match self {
            Self::Boolean(value) => i64::from(*value),
            Self::Integer(value) => *value,
            Self::Number(_) | Self::Text(_) => 0,
        }
    }

    /// Puts itself in the place of the nulls of a converted column.
    #[allow(clippy::cast_possible_truncation, reason = "checked when the model was loaded")]
    pub(crate) fn fill(
        &self,
        column: &ArrayRef,
        nulls: &NullBuffer,
    ) -> Result<ArrayRef, ArrowError> {
        let column = match column.data_type() {
            DataType::Float32
            | DataType::Float64
            | DataType::Int64
            | DataType::Int32
            | DataType::Boolean => ArrayRef::clone(column),
            _ => columns::convert(column, PortKind::String)?,
        };
        let value: ArrayRef = match column.data_type() {
            DataType::Float32 => Arc::new(Float32Array::from(vec![self.double() as f32])),
            DataType::Float64 => Arc::new(Float64Array::from(vec![self.double()])),
            DataType::Int64 => Arc::new(Int64Array::from(vec![self.integer()])),
            DataType::Int32 => Arc::new(Int32Array::from(vec![self.integer() as i32])),
            DataType::Boolean => Arc::new(BooleanArray::from(vec![*self == Self::Boolean(true)])),
            _ => Arc::new(StringArray::from(vec![match self {
                Self::Text(text) => text.as_str(),
                _ => "",
            }])),
        };
        zip(&BooleanArray::new(nulls.inner().clone(), None), &column, &Scalar::new(value))
    }
}
