//! `Gemm` whose factors have the type of its matrices; tract's are 32-bit floats always.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::math::{add, mul};
use tract_onnx::tract_hir::internal::{
    AxesMapping, AxisOp, Expansion, InferenceResult, OutletId, Solver, SpecialOps, StaticName,
    TVec, TensorProxy, TractResult, TypedModel, check_output_arity, ensure, expand, tensor0, tvec,
};

use super::kernel::Built;

/// `alpha * A * B + beta * C`, A and B transposed or not.
#[derive(Debug, Clone)]
struct Gemm {
    alpha: f32,
    beta: f32,
    transposed: (bool, bool),
}

pub(super) fn gemm(_: &ParsingContext, node: &NodeProto) -> Built {
    let flag =
        |name: &str| -> TractResult<bool> { Ok(node.get_attr_opt::<i64>(name)?.unwrap_or(0) != 0) };
    let gemm = Gemm {
        alpha: node.get_attr_opt("alpha")?.unwrap_or(1.0),
        beta: node.get_attr_opt("beta")?.unwrap_or(1.0),
        transposed: (flag("transA")?, flag("transB")?),
    };
    Ok((expand(gemm), vec![]))
}

impl Expansion for Gemm {
    fn name(&self) -> StaticName {
        "Gemm".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        ensure!((2..=3).contains(&inputs.len()), "expected 2 or 3 inputs, found {}", inputs.len());
        check_output_arity(outputs, 1)?;
        for input in inputs {
            solver.equals(&input.datum_type, &outputs[0].datum_type)?;
        }
        for matrix in [&inputs[0], &inputs[1], &outputs[0]] {
            solver.equals(&matrix.rank, 2)?;
        }
        let (inner_a, outer_a) = if self.transposed.0 { (0, 1) } else { (1, 0) };
        let (inner_b, outer_b) = if self.transposed.1 { (1, 0) } else { (0, 1) };
        solver.equals(&inputs[0].shape[outer_a], &outputs[0].shape[0])?;
        solver.equals(&inputs[0].shape[inner_a], &inputs[1].shape[inner_b])?;
        solver.equals(&inputs[1].shape[outer_b], &outputs[0].shape[1])
    }

    fn wire(
        &self,
        name: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let axes = AxesMapping::for_numpy_matmul(2, self.transposed.0, self.transposed.1, false)?;
        let kind = model.outlet_fact(inputs[0])?.datum_type;
        let product = model.wire_node(
            format!("{name}.product"),
            EinSum::new(axes, kind),
            &[inputs[0], inputs[1]],
        )?[0];
        let product = times(model, &format!("{name}.alpha"), product, self.alpha)?;
        let Some(mut shift) = inputs.get(2).copied().filter(|_| self.beta != 0.0) else {
            return Ok(tvec![product]);
        };
        while model.outlet_fact(shift)?.rank() < 2 {
            let step = format!("{name}.shift_{}", model.outlet_fact(shift)?.rank());
            shift = model.wire_node(step, AxisOp::Add(0), &[shift])?[0];
        }
        let shift = times(model, &format!("{name}.beta"), shift, self.beta)?;
        model.wire_node(name, add(), &[product, shift])
    }
}

/// Multiplies a matrix by a factor other than 1.
#[allow(clippy::float_cmp, reason = "1 is written exactly")]
fn times(
    model: &mut TypedModel,
    name: &str,
    outlet: OutletId,
    factor: f32,
) -> TractResult<OutletId> {
    if factor == 1.0 {
        return Ok(outlet);
    }
    let kind = model.outlet_fact(outlet)?.datum_type;
    let factor = tensor0(factor).cast_to_dt(kind)?.into_owned().broadcast_into_rank(2)?;
    let factor = model.add_const(format!("{name}.factor"), factor)?;
    Ok(model.wire_node(name, mul(), &[outlet, factor])?[0])
}
