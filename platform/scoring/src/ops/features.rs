//! Operators that change features value by value or row by row.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{
    Datum, DatumType, TDim, Tensor, ToDim, TractResult, bail, ensure, format_err,
};

use super::kernel::{
    Built, Kernel, ValueType, batch, floats, host, integers, tensor, values, width,
};

/// `(x - offset) * scale`, per column or with one pair for all; the result is float whatever the input.
#[derive(Debug)]
struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

pub(super) fn scaler(_: &ParsingContext, node: &NodeProto) -> Built {
    let offset = node.get_attr_opt_vec::<f32>("offset")?.unwrap_or_else(|| vec![0.0]);
    let scale = node.get_attr_opt_vec::<f32>("scale")?.unwrap_or_else(|| vec![1.0]);
    ensure!(!offset.is_empty() && !scale.is_empty(), "expected an offset and a scale, found none");
    host(Scaler { offset, scale }, 1)
}

impl Kernel for Scaler {
    fn name(&self) -> &'static str {
        "Scaler"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        Ok(vec![(f32::datum_type(), inputs[0].1.clone())])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let width = width(inputs[0])?;
        let (offset, scale) = (per_column(&self.offset, width)?, per_column(&self.scale, width)?);
        let mut scaled = floats(inputs[0])?.into_owned();
        for row in scaled.chunks_exact_mut(width) {
            for ((value, offset), scale) in row.iter_mut().zip(&offset).zip(&scale) {
                *value = (*value - offset) * scale;
            }
        }
        Ok(vec![tensor(inputs[0].shape(), scaled)?])
    }
}

fn per_column<T: Copy>(given: &[T], width: usize) -> TractResult<Vec<T>> {
    match given {
        [one] => Ok(vec![*one; width]),
        many if many.len() == width => Ok(many.to_vec()),
        many => bail!("expected 1 or {width} values (one per column), found {}", many.len()),
    }
}

/// Replaces a marker (often NaN) by a value per column.
#[derive(Debug)]
struct Imputer {
    floats: Vec<f32>,
    replaced_float: f32,
    integers: Vec<i64>,
    replaced_integer: i64,
}

pub(super) fn imputer(_: &ParsingContext, node: &NodeProto) -> Built {
    let imputer = Imputer {
        floats: node.get_attr_opt_vec("imputed_value_floats")?.unwrap_or_default(),
        replaced_float: node.get_attr_opt("replaced_value_float")?.unwrap_or(0.0),
        integers: node.get_attr_opt_vec("imputed_value_int64s")?.unwrap_or_default(),
        replaced_integer: node.get_attr_opt("replaced_value_int64")?.unwrap_or(0),
    };
    ensure!(
        imputer.floats.is_empty() != imputer.integers.is_empty(),
        "expected either imputed_value_floats or imputed_value_int64s"
    );
    host(imputer, 1)
}

impl Kernel for Imputer {
    fn name(&self) -> &'static str {
        "Imputer"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        let kind = if self.integers.is_empty() { f32::datum_type() } else { i64::datum_type() };
        Ok(vec![(kind, inputs[0].1.clone())])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let width = width(inputs[0])?;
        let shape = inputs[0].shape();
        if self.integers.is_empty() {
            let by_column = per_column(&self.floats, width)?;
            let mut imputed = floats(inputs[0])?.into_owned();
            let replaced = self.replaced_float;
            #[allow(clippy::float_cmp, reason = "the operator compares exactly")]
            replace(&mut imputed, &by_column, |value| {
                value == replaced || (replaced.is_nan() && value.is_nan())
            });
            Ok(vec![tensor(shape, imputed)?])
        } else {
            let by_column = per_column(&self.integers, width)?;
            let mut imputed = integers(inputs[0])?;
            replace(&mut imputed, &by_column, |value| value == self.replaced_integer);
            Ok(vec![tensor(shape, imputed)?])
        }
    }
}

fn replace<T: Copy>(rows: &mut [T], by_column: &[T], is_replaced: impl Fn(T) -> bool) {
    for row in rows.chunks_exact_mut(by_column.len()) {
        for (value, imputed) in row.iter_mut().zip(by_column) {
            if is_replaced(*value) {
                *value = *imputed;
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Norm {
    Max,
    L1,
    L2,
}

/// Divides each row by its norm; a row whose norm is 0 stays as it is.
#[derive(Debug)]
struct Normalizer {
    norm: Norm,
}

pub(super) fn normalizer(_: &ParsingContext, node: &NodeProto) -> Built {
    let norm = match node.get_attr_opt::<&str>("norm")?.unwrap_or("MAX") {
        "MAX" => Norm::Max,
        "L1" => Norm::L1,
        "L2" => Norm::L2,
        other => bail!("expected norm MAX, L1 or L2, found {other}"),
    };
    host(Normalizer { norm }, 1)
}

impl Kernel for Normalizer {
    fn name(&self) -> &'static str {
        "Normalizer"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        Ok(vec![(f32::datum_type(), inputs[0].1.clone())])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let width = width(inputs[0])?;
        let mut rows = floats(inputs[0])?.into_owned();
        for row in rows.chunks_exact_mut(width) {
            let norm = match self.norm {
                // The largest value, not the largest magnitude: so the specification and ONNX Runtime.
                Norm::Max => row.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                Norm::L1 => row.iter().map(|value| value.abs()).sum(),
                Norm::L2 => row.iter().map(|value| value * value).sum::<f32>().sqrt(),
            };
            if norm != 0.0 {
                for value in row {
                    *value /= norm;
                }
            }
        }
        Ok(vec![tensor(inputs[0].shape(), rows)?])
    }
}

/// 1 above the threshold, else 0.
#[derive(Debug)]
struct Binarizer {
    threshold: f32,
}

pub(super) fn binarizer(_: &ParsingContext, node: &NodeProto) -> Built {
    host(Binarizer { threshold: node.get_attr_opt("threshold")?.unwrap_or(0.0) }, 1)
}

impl Kernel for Binarizer {
    fn name(&self) -> &'static str {
        "Binarizer"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        Ok(vec![inputs[0].clone()])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let kind = inputs[0].datum_type();
        let binary: Vec<f32> = floats(inputs[0])?
            .iter()
            .map(|value| if *value > self.threshold { 1.0 } else { 0.0 })
            .collect();
        Ok(vec![tensor(inputs[0].shape(), binary)?.cast_to_dt(kind)?.into_owned()])
    }
}

/// Joins its inputs side by side as floats.
#[derive(Debug)]
struct FeatureVectorizer {
    widths: Vec<usize>,
}

pub(super) fn feature_vectorizer(_: &ParsingContext, node: &NodeProto) -> Built {
    let widths: Vec<usize> = node.get_attr_opt_vec("inputdimensions")?.unwrap_or_default();
    ensure!(
        widths.len() == node.input.len() && !widths.contains(&0),
        "expected one positive entry of inputdimensions per input ({}), found {widths:?}",
        node.input.len()
    );
    host(FeatureVectorizer { widths }, node.input.len())
}

impl Kernel for FeatureVectorizer {
    fn name(&self) -> &'static str {
        "FeatureVectorizer"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        let total: usize = self.widths.iter().sum();
        Ok(vec![(f32::datum_type(), vec![batch(&inputs[0]), total.to_dim()])])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let total: usize = self.widths.iter().sum();
        let rows = inputs[0].len() / width(inputs[0])?;
        // A declared width beyond the input's own is filled with 0, a smaller one cuts: so the specification.
        let mut joined = vec![0f32; rows * total];
        let mut start = 0;
        for (input, declared) in inputs.iter().zip(&self.widths) {
            let found = width(input)?;
            ensure!(input.len() == rows * found, "inputs have different numbers of rows");
            let used = found.min(*declared);
            for (row, from) in
                joined.chunks_exact_mut(total).zip(floats(input)?.chunks_exact(found))
            {
                row[start..start + used].copy_from_slice(&from[..used]);
            }
            start += declared;
        }
        Ok(vec![tensor(&[rows, total], joined)?])
    }
}

/// Picks columns of its first input by the indices in its second.
#[derive(Debug)]
struct ArrayFeatureExtractor;

pub(super) fn array_feature_extractor(_: &ParsingContext, _: &NodeProto) -> Built {
    host(ArrayFeatureExtractor, 2)
}

impl ArrayFeatureExtractor {
    /// The last dimension is replaced; a vector gains a leading 1, as in ONNX Runtime.
    fn shape<D: Clone>(shape: &[D], picked: D, one: D) -> Vec<D> {
        let mut shape = shape.to_vec();
        shape.pop();
        if shape.is_empty() {
            shape.push(one);
        }
        shape.push(picked);
        shape
    }
}

impl Kernel for ArrayFeatureExtractor {
    fn name(&self) -> &'static str {
        "ArrayFeatureExtractor"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        let picked: TDim = inputs[1].1.iter().product();
        Ok(vec![(inputs[0].0, Self::shape(&inputs[0].1, picked, 1.to_dim()))])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let width = width(inputs[0])?;
        let picked = integers(inputs[1])?
            .into_iter()
            .map(|index| match usize::try_from(index) {
                Ok(index) if index < width => Ok(index),
                _ => Err(format_err!(
                    "expected a column index from 0 to {}, found {index}",
                    width - 1
                )),
            })
            .collect::<TractResult<Vec<usize>>>()?;
        let shape = Self::shape(inputs[0].shape(), picked.len(), 1);
        let source = inputs[0];
        Ok(vec![match source.datum_type() {
            DatumType::String => tensor(&shape, pick(values::<String>(source)?, width, &picked))?,
            DatumType::I64 => tensor(&shape, pick(values::<i64>(source)?, width, &picked))?,
            DatumType::I32 => tensor(&shape, pick(values::<i32>(source)?, width, &picked))?,
            DatumType::F64 => tensor(&shape, pick(values::<f64>(source)?, width, &picked))?,
            DatumType::F32 => tensor(&shape, pick(values::<f32>(source)?, width, &picked))?,
            DatumType::TDim => tensor(&shape, pick(values::<TDim>(source)?, width, &picked))?,
            other => bail!("expected numbers or strings, found {other:?}"),
        }])
    }
}

fn pick<T: Clone>(values: &[T], width: usize, picked: &[usize]) -> Vec<T> {
    values
        .chunks_exact(width)
        .flat_map(|row| picked.iter().map(|&index| row[index].clone()))
        .collect()
}
