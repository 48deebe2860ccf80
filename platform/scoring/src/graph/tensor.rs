//! Constants: their dimensions, their data, and that the two agree.

use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};

use crate::error::ModelError;
use crate::limits::ScoringLimits;

/// Checks one constant; `place` is what a message calls it.
pub(super) fn check(
    tensor: &TensorProto,
    place: &str,
    limits: &ScoringLimits,
) -> Result<(), ModelError> {
    let refused = |problem: String| ModelError::Graph { problem: format!("{place}: {problem}") };
    if tensor.data_location == Some(DataLocation::External as i32)
        || !tensor.external_data.is_empty()
    {
        return Err(refused(
            "its data is in another file; save the model as one file \
             (`onnx.save(model, path, save_as_external_data=False)`)"
                .to_owned(),
        ));
    }
    if tensor.segment.is_some() {
        return Err(refused(
            "its data is split into segments; save the model as one file".to_owned(),
        ));
    }
    let values = values(&tensor.dims).ok_or_else(|| {
        refused(format!("its dimensions {:?} are negative or overflow", tensor.dims))
    })?;
    if values > limits.tensor_values_max {
        return Err(ModelError::Limit {
            what: format!("the number of values of {place}"),
            found: values as u64,
            limit: limits.tensor_values_max as u64,
        });
    }
    let data_type = DataType::try_from(tensor.data_type)
        .map_err(|_| refused(format!("unknown value type {}", tensor.data_type)))?;
    let (width_bytes, listed) = match data_type {
        DataType::Float => (4, tensor.float_data.len()),
        DataType::Double => (8, tensor.double_data.len()),
        DataType::Int64 | DataType::Uint64 => (8, tensor.int64_data.len()),
        DataType::Int32 | DataType::Uint32 => (4, tensor.int32_data.len()),
        DataType::Int16 | DataType::Uint16 | DataType::Float16 => (2, tensor.int32_data.len()),
        DataType::Int8 | DataType::Uint8 | DataType::Bool => (1, tensor.int32_data.len()),
        DataType::String => (0, tensor.string_data.len()),
        other => {
            return Err(refused(format!(
                "values of type {other:?} are not supported; export with float or integer constants"
            )));
        }
    };
    let found = if tensor.raw_data.is_empty() {
        listed
    } else if width_bytes == 0 {
        return Err(refused(
            "strings must be listed, not raw bytes; export the model again".to_owned(),
        ));
    } else if tensor.raw_data.len().is_multiple_of(width_bytes) {
        tensor.raw_data.len() / width_bytes
    } else {
        return Err(refused(format!(
            "{} bytes of data are no whole values",
            tensor.raw_data.len()
        )));
    };
    if found == values {
        Ok(())
    } else {
        Err(refused(format!(
            "its dimensions {:?} ask for {values} values and it holds {found}; the file is damaged or not an export",
            tensor.dims
        )))
    }
}

/// Number of values of a shape; `None` when a dimension is negative or the product overflows.
pub(super) fn values(dims: &[i64]) -> Option<usize> {
    dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(usize::try_from(dim).ok()?))
}

/// The integers of a constant that an operator reads as a shape.
pub(super) fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    if tensor.data_type != DataType::Int64 as i32 {
        return None;
    }
    if tensor.raw_data.is_empty() {
        return Some(tensor.int64_data.clone());
    }
    let (chunks, _) = tensor.raw_data.as_chunks::<8>();
    Some(chunks.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect())
}

/// The only value of a constant of floats.
pub(super) fn lone_float(tensor: &TensorProto) -> Option<f32> {
    let listed = |count: usize| values(&tensor.dims) == Some(1) && count == 1;
    #[allow(clippy::cast_possible_truncation, reason = "an exponent such as 3 is exact in both")]
    match DataType::try_from(tensor.data_type).ok()? {
        DataType::Float if listed(tensor.float_data.len()) => Some(tensor.float_data[0]),
        DataType::Float => Some(f32::from_le_bytes(tensor.raw_data[..].try_into().ok()?)),
        DataType::Double if listed(tensor.double_data.len()) => Some(tensor.double_data[0] as f32),
        DataType::Double => Some(f64::from_le_bytes(tensor.raw_data[..].try_into().ok()?) as f32),
        _ => None,
    }
}
