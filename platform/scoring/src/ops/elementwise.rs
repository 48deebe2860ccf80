//! Functions of single values that tract lacks for 64-bit floats, or that lose NaN there.

use tract_onnx::tract_core::ops::element_wise::ElementWiseMiniOp;
use tract_onnx::tract_core::ops::math::tanh;
use tract_onnx::tract_core::ops::nn::sigmoid;
use tract_onnx::tract_hir::internal::{DatumType, Tensor, TractResult, bail};

use super::error_function::{erf, erf_single};

/// A function that is applied in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Elementwise {
    Sigmoid,
    Tanh,
    Erf,
    RoundHalfToEven,
    /// With the bits of its slope, so that it has an equality.
    LeakyRelu(u32),
    HardSwish,
    GeluByTanh,
    Square,
}

impl Elementwise {
    /// Whether tract gives something else for values of this type.
    pub(super) fn replaces(self, kind: DatumType) -> bool {
        match self {
            // Vectorised there with bounds that turn NaN into a number, or to fewer digits.
            Self::Sigmoid | Self::Tanh | Self::GeluByTanh | Self::Erf => {
                matches!(kind, DatumType::F32 | DatumType::F64)
            }
            Self::Square => matches!(kind, DatumType::I32 | DatumType::I64),
            Self::RoundHalfToEven | Self::LeakyRelu(_) | Self::HardSwish => kind == DatumType::F64,
        }
    }

    fn of(self, x: f64) -> f64 {
        match self {
            Self::Sigmoid => {
                let upper = 1.0 / (1.0 + (-x.abs()).exp());
                if x < 0.0 { 1.0 - upper } else { upper }
            }
            Self::Tanh => x.tanh(),
            Self::Erf => erf(x),
            Self::RoundHalfToEven => x.round_ties_even(),
            Self::LeakyRelu(slope) => {
                if x < 0.0 {
                    x * f64::from(f32::from_bits(slope))
                } else {
                    x
                }
            }
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::GeluByTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Self::Square => x * x,
        }
    }
}

impl ElementWiseMiniOp for Elementwise {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn eval_in_place(&self, tensor: &mut Tensor, out: Option<DatumType>) -> TractResult<()> {
        match (self, tensor.datum_type()) {
            (Self::Sigmoid, DatumType::F32) => {
                keep_nan(tensor, |tensor| sigmoid().0.eval_in_place(tensor, out))
            }
            (Self::Tanh, DatumType::F32) => {
                keep_nan(tensor, |tensor| tanh().0.eval_in_place(tensor, out))
            }
            (Self::Erf, DatumType::F32) => {
                let apply = |value: &mut f32| *value = erf_single(*value);
                tensor.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?.iter_mut().for_each(apply);
                Ok(())
            }
            (_, DatumType::F32) => {
                #[allow(clippy::cast_possible_truncation, reason = "the result is a 32-bit float")]
                let apply = |value: &mut f32| *value = self.of(f64::from(*value)) as f32;
                tensor.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?.iter_mut().for_each(apply);
                Ok(())
            }
            (_, DatumType::F64) => {
                let apply = |value: &mut f64| *value = self.of(*value);
                tensor.try_as_plain_ram_mut()?.as_slice_mut::<f64>()?.iter_mut().for_each(apply);
                Ok(())
            }
            (Self::Square, DatumType::I64) => {
                let apply = |value: &mut i64| *value = value.wrapping_mul(*value);
                tensor.try_as_plain_ram_mut()?.as_slice_mut::<i64>()?.iter_mut().for_each(apply);
                Ok(())
            }
            (Self::Square, DatumType::I32) => {
                let apply = |value: &mut i32| *value = value.wrapping_mul(*value);
                tensor.try_as_plain_ram_mut()?.as_slice_mut::<i32>()?.iter_mut().for_each(apply);
                Ok(())
            }
            (_, other) => bail!("{self:?} has no rule for values of type {other:?}"),
        }
    }
}

/// Runs a vectorised function that knows no NaN and puts NaN back where it was.
fn keep_nan(tensor: &mut Tensor, run: impl Fn(&mut Tensor) -> TractResult<()>) -> TractResult<()> {
    let missing: Vec<usize> = {
        let values = tensor.try_as_plain_ram()?.as_slice::<f32>()?;
        values.iter().enumerate().filter(|(_, value)| value.is_nan()).map(|(at, _)| at).collect()
    };
    run(tensor)?;
    let mut view = tensor.try_as_plain_ram_mut()?;
    let values = view.as_slice_mut::<f32>()?;
    for at in missing {
        values[at] = f32::NAN;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Elementwise;

    #[test]
    fn a_sigmoid_is_symmetric_and_finite_at_both_ends() {
        assert!((Elementwise::Sigmoid.of(0.0) - 0.5).abs() < f64::EPSILON);
        for x in [0.1, 3.0, 40.0, 800.0] {
            let sum = Elementwise::Sigmoid.of(x) + Elementwise::Sigmoid.of(-x);
            assert!((sum - 1.0).abs() < 1e-15, "{x}");
        }
        assert!(Elementwise::Sigmoid.of(f64::NAN).is_nan());
    }

    #[test]
    fn halves_round_to_even() {
        for (x, expected) in [(0.5, 0.0), (1.5, 2.0), (2.5, 2.0), (-0.5, 0.0), (-1.5, -2.0)] {
            assert!((Elementwise::RoundHalfToEven.of(x) - expected).abs() < f64::EPSILON, "{x}");
        }
    }
}
