//! Reductions that tract lets overflow or in which it drops NaN.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{
    Datum, DatumType, IntoTensor, Tensor, ToDim, TractResult, bail, format_err, tract_ndarray::Axis,
};

use super::kernel::{Built, Kernel, ValueType, host, integers, tensor};
use super::pairs::largest;

/// Largest or smallest value along axes, which stay as 1; NaN when any is.
#[derive(Debug)]
pub(super) struct Extreme {
    pub(super) axes: Vec<usize>,
    pub(super) largest: bool,
}

impl Kernel for Extreme {
    fn name(&self) -> &'static str {
        if self.largest { "ReduceMax" } else { "ReduceMin" }
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        let (kind, mut shape) = inputs[0].clone();
        for axis in &self.axes {
            shape[*axis] = 1.to_dim();
        }
        Ok(vec![(kind, shape)])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        Ok(vec![match (inputs[0].datum_type(), self.largest) {
            (DatumType::F32, true) => lanes::<f32, _>(inputs[0], &self.axes, |lane| {
                lane.iter().copied().fold(f32::NEG_INFINITY, largest)
            }),
            (DatumType::F32, false) => lanes::<f32, _>(inputs[0], &self.axes, |lane| {
                -lane.iter().map(|value| -value).fold(f32::NEG_INFINITY, largest)
            }),
            (DatumType::F64, true) => lanes::<f64, _>(inputs[0], &self.axes, |lane| {
                lane.iter().copied().fold(f64::NEG_INFINITY, largest)
            }),
            (DatumType::F64, false) => lanes::<f64, _>(inputs[0], &self.axes, |lane| {
                -lane.iter().map(|value| -value).fold(f64::NEG_INFINITY, largest)
            }),
            (other, _) => bail!("expected floats, found {other:?}"),
        }?])
    }
}

/// Place of the largest or smallest value along an axis, which stays as 1.
///
/// As in ONNX Runtime, NaN counts as nothing, unless it comes first: then nothing beats it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) axes: Vec<usize>,
    pub(super) largest: bool,
    /// Of equal values the last one counts, else the first.
    pub(super) last: bool,
}

impl Kernel for Place {
    fn name(&self) -> &'static str {
        if self.largest { "ArgMax" } else { "ArgMin" }
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        let (_, shape) =
            Extreme { axes: self.axes.clone(), largest: true }.infer(inputs)?.remove(0);
        Ok(vec![(i64::datum_type(), shape)])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        Ok(vec![match inputs[0].datum_type() {
            DatumType::F32 => lanes::<f32, _>(inputs[0], &self.axes, |lane| self.of(lane)),
            DatumType::F64 => lanes::<f64, _>(inputs[0], &self.axes, |lane| self.of(lane)),
            other => bail!("expected floats, found {other:?}"),
        }?])
    }
}

impl Place {
    fn of<T: PartialOrd + Copy>(&self, lane: &[T]) -> i64 {
        let mut best = 0;
        for (index, value) in lane.iter().enumerate().skip(1) {
            let (value, held) = (*value, lane[best]);
            let beats = if self.largest { value > held } else { value < held };
            if beats || (self.last && value == held) {
                best = index;
            }
        }
        i64::try_from(best).unwrap_or(i64::MAX)
    }
}

/// Running sums of integers that tract holds as symbolic dimensions.
#[derive(Debug)]
pub(super) struct RunningSum {
    pub(super) axis: usize,
    /// Without the value itself.
    pub(super) exclusive: bool,
    /// From the end.
    pub(super) reverse: bool,
}

impl Kernel for RunningSum {
    fn name(&self) -> &'static str {
        "CumSum"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        Ok(vec![inputs[0].clone()])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let found = tensor(inputs[0].shape(), integers(inputs[0])?)?;
        let mut sums = found.to_plain_array_view::<i64>()?.to_owned();
        for mut lane in sums.lanes_mut(Axis(self.axis)) {
            let count = lane.len();
            let mut sum = 0i64;
            for step in 0..count {
                let value = &mut lane[if self.reverse { count - 1 - step } else { step }];
                let (before, after) = (sum, sum.wrapping_add(*value));
                *value = if self.exclusive { before } else { after };
                sum = after;
            }
        }
        Ok(vec![sums.into_tensor().cast_to_dt(inputs[0].datum_type())?.into_owned()])
    }
}

/// Gathers the values along `axes` for each place of the other axes and reduces them to one.
fn lanes<T: Datum + Copy, U: Datum + Copy>(
    input: &Tensor,
    axes: &[usize],
    reduce: impl Fn(&[T]) -> U,
) -> TractResult<Tensor> {
    let view = input.to_plain_array_view::<T>()?;
    let kept = (0..view.ndim()).filter(|axis| !axes.contains(axis));
    let order: Vec<usize> = kept.chain(axes.iter().copied()).collect();
    let length: usize = axes.iter().map(|axis| view.shape()[*axis]).product();
    let mut shape = view.shape().to_vec();
    for axis in axes {
        shape[*axis] = 1;
    }
    let ordered = view.permuted_axes(order);
    let values: Vec<T> = ordered.iter().copied().collect();
    let reduced = if length == 0 {
        vec![reduce(&[]); shape.iter().product()]
    } else {
        values.chunks_exact(length).map(reduce).collect()
    };
    tensor(&shape, reduced)
}

/// Logarithm of the sum of exponentials along axes, which stay as 1; computed around the largest value.
#[derive(Debug)]
pub(super) struct LogSumExp {
    pub(super) axes: Vec<usize>,
}

impl Kernel for LogSumExp {
    fn name(&self) -> &'static str {
        "ReduceLogSumExp"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        Extreme { axes: self.axes.clone(), largest: true }.infer(inputs)
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        Ok(vec![match inputs[0].datum_type() {
            DatumType::F32 => lanes::<f32, _>(inputs[0], &self.axes, |lane| {
                let top = finite_top(lane.iter().copied().fold(f32::NEG_INFINITY, largest));
                lane.iter().map(|value| (value - top).exp()).sum::<f32>().ln() + top
            }),
            DatumType::F64 => lanes::<f64, _>(inputs[0], &self.axes, |lane| {
                let top = finite_top(lane.iter().copied().fold(f64::NEG_INFINITY, largest));
                lane.iter().map(|value| (value - top).exp()).sum::<f64>().ln() + top
            }),
            other => bail!("expected floats, found {other:?}"),
        }?])
    }
}

/// An infinite largest value would only give infinity minus infinity.
fn finite_top<T: PartialEq + Copy + std::ops::Sub<Output = T> + Default>(top: T) -> T {
    #[allow(clippy::eq_op, reason = "infinity minus itself is no number")]
    if top - top == T::default() { top } else { T::default() }
}

/// Logarithm of softmax, computed around the largest value so that it stays finite.
#[derive(Debug)]
struct LogSoftmax {
    axis: i64,
    /// Before operator set 13 all axes from `axis` on are one.
    to_matrix: bool,
}

pub(super) fn log_softmax(context: &ParsingContext, node: &NodeProto) -> Built {
    let to_matrix = context.onnx_operator_set_version < 13;
    let axis = node.get_attr_opt::<i64>("axis")?.unwrap_or(if to_matrix { 1 } else { -1 });
    host(LogSoftmax { axis, to_matrix }, 1)
}

impl Kernel for LogSoftmax {
    fn name(&self) -> &'static str {
        "LogSoftmax"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        self.axes(inputs[0].1.len())?;
        Ok(vec![inputs[0].clone()])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let sums = LogSumExp { axes: self.axes(inputs[0].rank())? }.eval(inputs)?;
        Ok(vec![if inputs[0].datum_type() == DatumType::F32 {
            let sums = sums[0].to_plain_array_view::<f32>()?;
            (&inputs[0].to_plain_array_view::<f32>()? - &sums).into_tensor()
        } else {
            let sums = sums[0].to_plain_array_view::<f64>()?;
            (&inputs[0].to_plain_array_view::<f64>()? - &sums).into_tensor()
        }])
    }
}

impl LogSoftmax {
    fn axes(&self, rank: usize) -> TractResult<Vec<usize>> {
        let found = if self.axis < 0 { self.axis + i64::try_from(rank)? } else { self.axis };
        let axis = usize::try_from(found).ok().filter(|axis| *axis < rank).ok_or_else(|| {
            format_err!("expected an axis of a value of rank {rank}, found {}", self.axis)
        })?;
        Ok(if self.to_matrix { (axis..rank).collect() } else { vec![axis] })
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::tract_hir::internal::tensor2;

    use super::{Extreme, LogSumExp};
    use crate::ops::kernel::{Kernel, values};

    #[test]
    fn a_log_of_a_sum_of_exponentials_overflows_for_no_finite_value() {
        let input = tensor2(&[[900.0f64, 900.0], [-900.0, -900.0], [f64::NEG_INFINITY; 2]]);
        let found = LogSumExp { axes: vec![1] }.eval(&[&input]).expect("floats").remove(0);
        let found = values::<f64>(&found).expect("floats").to_vec();
        assert!((found[0] - 900.0 - 2f64.ln()).abs() < 1e-12, "{found:?}");
        assert!((found[1] + 900.0 - 2f64.ln()).abs() < 1e-12, "{found:?}");
        assert!(found[2].is_infinite() && found[2] < 0.0, "{found:?}");
    }

    #[test]
    fn an_extreme_keeps_nan_and_the_reduced_axes() {
        let input = tensor2(&[[1.0f32, f32::NAN], [3.0, -2.0]]);
        let found = Extreme { axes: vec![0], largest: false }.eval(&[&input]).expect("floats");
        assert_eq!(found[0].shape(), [1, 2]);
        let found = values::<f32>(&found[0]).expect("floats").to_vec();
        assert!((found[0] - 1.0).abs() < f32::EPSILON && found[1].is_nan(), "{found:?}");
    }
}
