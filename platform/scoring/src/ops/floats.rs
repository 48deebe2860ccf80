//! Functions of single floats that tract lacks, or has for 32 bits only.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{Datum, DatumType, Tensor, TractResult, bail, ensure};

use super::kernel::{Built, Kernel, ValueType, host, tensor, values};

/// A test of single floats.
#[derive(Debug)]
enum Test {
    IsNan,
    IsInfinite { positive: bool, negative: bool },
}

pub(super) fn is_nan(_: &ParsingContext, _: &NodeProto) -> Built {
    host(Test::IsNan, 1)
}

pub(super) fn is_infinite(_: &ParsingContext, node: &NodeProto) -> Built {
    let detects =
        |name: &str| -> TractResult<bool> { Ok(node.get_attr_opt::<i64>(name)?.unwrap_or(1) != 0) };
    let (positive, negative) = (detects("detect_positive")?, detects("detect_negative")?);
    host(Test::IsInfinite { positive, negative }, 1)
}

impl Test {
    fn of(&self, value: f64) -> bool {
        match self {
            Self::IsNan => value.is_nan(),
            Self::IsInfinite { positive, negative } => {
                (*positive && value == f64::INFINITY) || (*negative && value == f64::NEG_INFINITY)
            }
        }
    }
}

impl Kernel for Test {
    fn name(&self) -> &'static str {
        match self {
            Self::IsNan => "IsNaN",
            Self::IsInfinite { .. } => "IsInf",
        }
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        expect_float(&inputs[0])?;
        Ok(vec![(bool::datum_type(), inputs[0].1.clone())])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let shape = inputs[0].shape();
        Ok(vec![if inputs[0].datum_type() == DatumType::F32 {
            let found = values::<f32>(inputs[0])?.iter();
            tensor(shape, found.map(|value| self.of(f64::from(*value))).collect())?
        } else {
            let found = values::<f64>(inputs[0])?.iter();
            tensor(shape, found.map(|value| self.of(*value)).collect())?
        }])
    }
}

fn expect_float((kind, _): &ValueType) -> TractResult<()> {
    ensure!(
        matches!(kind, DatumType::F32 | DatumType::F64),
        "expected values of type float or double, found {kind:?}"
    );
    Ok(())
}

/// A smooth activation.
#[derive(Debug)]
enum Activation {
    /// `x * tanh(ln(1 + exp(x)))`.
    Mish,
    /// `x * sigmoid(alpha * x)`.
    Swish { alpha: f32 },
    /// `x` above 0, `alpha * (exp(x / alpha) - 1)` below.
    Celu { alpha: f32 },
}

pub(super) fn mish(_: &ParsingContext, _: &NodeProto) -> Built {
    host(Activation::Mish, 1)
}

pub(super) fn swish(_: &ParsingContext, node: &NodeProto) -> Built {
    host(Activation::Swish { alpha: node.get_attr_opt("alpha")?.unwrap_or(1.0) }, 1)
}

pub(super) fn celu(_: &ParsingContext, node: &NodeProto) -> Built {
    let alpha = node.get_attr_opt::<f32>("alpha")?.unwrap_or(1.0);
    ensure!(alpha != 0.0, "expected an alpha other than 0");
    host(Activation::Celu { alpha }, 1)
}

impl Activation {
    fn of(&self, x: f64) -> f64 {
        match self {
            // From here on the logarithm is x itself.
            Self::Mish if x > 30.0 => x,
            Self::Mish => x * x.exp().ln_1p().tanh(),
            Self::Swish { alpha } => x / (1.0 + (-f64::from(*alpha) * x).exp()),
            Self::Celu { alpha } => {
                let alpha = f64::from(*alpha);
                let below = alpha * (x / alpha).exp_m1();
                if x > 0.0 { x } else { below }
            }
        }
    }
}

impl Kernel for Activation {
    fn name(&self) -> &'static str {
        match self {
            Self::Mish => "Mish",
            Self::Swish { .. } => "Swish",
            Self::Celu { .. } => "Celu",
        }
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        expect_float(&inputs[0])?;
        Ok(vec![inputs[0].clone()])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let shape = inputs[0].shape();
        Ok(vec![match inputs[0].datum_type() {
            DatumType::F32 => {
                #[allow(clippy::cast_possible_truncation, reason = "the result is a 32-bit float")]
                let apply = |value: &f32| self.of(f64::from(*value)) as f32;
                tensor(shape, values::<f32>(inputs[0])?.iter().map(apply).collect())?
            }
            DatumType::F64 => {
                let found = values::<f64>(inputs[0])?.iter();
                tensor(shape, found.map(|value| self.of(*value)).collect())?
            }
            other => bail!("expected floats, found {other:?}"),
        }])
    }
}
