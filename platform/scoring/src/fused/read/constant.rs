//! Constants of a graph as plain lists.

use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;

/// A constant tensor.
#[derive(Debug, Clone)]
pub(super) struct Constant {
    /// Dimensions, none for a scalar.
    pub(super) dims: Vec<usize>,
    pub(super) values: Values,
}

#[derive(Debug, Clone)]
pub(super) enum Values {
    Floats(Vec<f32>),
    Integers(Vec<i64>),
    /// Integers of 32 bits, whose type a label keeps.
    ShortIntegers(Vec<i64>),
    Strings(Vec<String>),
}

impl Constant {
    /// Decodes a checked tensor; `None` for types that no operator of the family takes.
    pub(super) fn read(tensor: &TensorProto) -> Option<Self> {
        let dims = tensor
            .dims
            .iter()
            .map(|dim| usize::try_from(*dim).ok())
            .collect::<Option<Vec<usize>>>()?;
        let raw = !tensor.raw_data.is_empty();
        let values = match DataType::try_from(tensor.data_type).ok()? {
            DataType::Float if raw => {
                let (chunks, _) = tensor.raw_data.as_chunks::<4>();
                Values::Floats(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect())
            }
            DataType::Float => Values::Floats(tensor.float_data.clone()),
            DataType::Int64 if raw => {
                let (chunks, _) = tensor.raw_data.as_chunks::<8>();
                Values::Integers(chunks.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect())
            }
            DataType::Int64 => Values::Integers(tensor.int64_data.clone()),
            DataType::Int32 if raw => {
                let (chunks, _) = tensor.raw_data.as_chunks::<4>();
                let values = chunks.iter().map(|chunk| i32::from_le_bytes(*chunk).into());
                Values::ShortIntegers(values.collect())
            }
            DataType::Int32 => Values::ShortIntegers(
                tensor.int32_data.iter().map(|value| (*value).into()).collect(),
            ),
            DataType::String => Values::Strings(
                tensor
                    .string_data
                    .iter()
                    .map(|bytes| String::from_utf8(bytes.clone()).ok())
                    .collect::<Option<_>>()?,
            ),
            _ => return None,
        };
        Some(Self { dims, values })
    }

    pub(super) fn floats(&self) -> Option<&[f32]> {
        match &self.values {
            Values::Floats(values) => Some(values),
            _ => None,
        }
    }

    pub(super) fn integers(&self) -> Option<&[i64]> {
        match &self.values {
            Values::Integers(values) | Values::ShortIntegers(values) => Some(values),
            _ => None,
        }
    }

    /// Its floats as one row of `width` values that is the same for every customer.
    pub(super) fn per_column(&self, width: usize) -> Option<Vec<f32>> {
        let values = self.floats()?;
        match self.dims[..] {
            [] | [1] | [1, 1] => Some(vec![*values.first()?; width]),
            [count] | [1, count] if count == width => Some(values.to_vec()),
            _ => None,
        }
    }

    /// Values per row when it is added to rows: 1 for a scalar.
    pub(super) fn width(&self) -> Option<usize> {
        match self.dims[..] {
            [] => Some(1),
            [count] | [1, count] => Some(count),
            _ => None,
        }
    }
}
