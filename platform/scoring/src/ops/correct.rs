//! Puts operators of this crate in place of those that tract computes otherwise than ONNX Runtime.
//!
//! Whether tract errs depends on the type of the values, which is known only once its front end has
//! settled the graph; so this runs between that and the optimiser.

use tract_onnx::prelude::TypedModel;
use tract_onnx::tract_core::ops::TypedOp;
use tract_onnx::tract_core::ops::array::{CumSum, MultiBroadcastTo};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::nn::{LeakyRelu, Reduce, Reducer};
use tract_onnx::tract_hir::internal::{
    Datum, DatumType, InletId, OutletId, SpecialOps, Symbol, ToDim, TractResult, TypedFact,
};

use super::elementwise::Elementwise;
use super::integer_einsum::IntegerEinsum;
use super::kernel::{typed, values};
use super::pairs::Pair;
use super::reduce::{Extreme, LogSumExp, Place, RunningSum};
use super::text::TextCast;

/// Replaces every operator that errs and turns outputs of shape `[1, N]` into `[N]`.
pub(crate) fn correct(mut model: TypedModel, rows: &Symbol) -> TractResult<TypedModel> {
    let replacements: Vec<(usize, Box<dyn TypedOp>)> = model
        .nodes()
        .iter()
        .filter_map(|node| {
            let inputs: Vec<&TypedFact> = node
                .inputs
                .iter()
                .map(|input| model.outlet_fact(*input).ok())
                .collect::<Option<_>>()?;
            replacement(node.op.as_ref(), &inputs).map(|op| (node.id, op))
        })
        .collect();
    for (node, op) in replacements {
        model.node_mut(node).op = op;
    }
    stable_log_sum_exp(&mut model)?;
    same_rank_before_broadcast(&mut model)?;
    rows_first(&mut model, rows)?;
    Ok(model)
}

fn replacement(op: &dyn TypedOp, inputs: &[&TypedFact]) -> Option<Box<dyn TypedOp>> {
    let kind = inputs.first()?.datum_type;
    if let Some(binary) = op.downcast_ref::<TypedBinOp>() {
        let name = binary.0.name();
        let float = matches!(kind, DatumType::F32 | DatumType::F64);
        // The optimiser takes a product with 0 for 0, which it is not when the other side is NaN.
        if name == "Mul" && float && inputs.iter().any(|input| is_zero(input)) {
            return Some(typed(Pair::Product, 2));
        }
        return Pair::instead_of(name, kind).map(|pair| typed(pair, 2));
    }
    if let Some(function) = op.downcast_ref::<ElementWiseOp>() {
        let own = match function.0.name().as_str() {
            "Sigmoid" => Elementwise::Sigmoid,
            "Tanh" => Elementwise::Tanh,
            "Erf" => Elementwise::Erf,
            "RoundHalfToEven" => Elementwise::RoundHalfToEven,
            "HardSwish" => Elementwise::HardSwish,
            "GeluApproximate" => Elementwise::GeluByTanh,
            "Square" => Elementwise::Square,
            "LeakyRelu" => {
                Elementwise::LeakyRelu(function.0.downcast_ref::<LeakyRelu>()?.alpha.to_bits())
            }
            _ => return None,
        };
        return own
            .replaces(kind)
            .then(|| -> Box<dyn TypedOp> { Box::new(ElementWiseOp(Box::new(own), None)) });
    }
    if let Some(reduce) = op.downcast_ref::<Reduce>() {
        let axes = reduce.axes.to_vec();
        let float = matches!(kind, DatumType::F32 | DatumType::F64);
        return match reduce.reducer {
            _ if !float => None,
            Reducer::Max => Some(typed(Extreme { axes, largest: true }, 1)),
            Reducer::Min => Some(typed(Extreme { axes, largest: false }, 1)),
            Reducer::ArgMax(last) => Some(typed(Place { axes, largest: true, last }, 1)),
            Reducer::ArgMin(last) => Some(typed(Place { axes, largest: false, last }, 1)),
            _ => None,
        };
    }
    if let Some(einsum) = op.downcast_ref::<EinSum>() {
        return matches!(kind, DatumType::I64 | DatumType::I32 | DatumType::TDim)
            .then(|| typed(IntegerEinsum { axes: einsum.axes.clone() }, inputs.len()));
    }
    if let Some(sum) = op.downcast_ref::<CumSum>() {
        let own = RunningSum { axis: sum.axis, exclusive: sum.exclusive, reverse: sum.reverse };
        return (kind == DatumType::TDim).then(|| typed(own, 1));
    }
    if let Some(cast) = op.downcast_ref::<Cast>() {
        let text = String::datum_type();
        return ((kind == text) != (cast.to == text)).then(|| typed(TextCast { to: cast.to }, 1));
    }
    None
}

/// Whether a value is a constant of zeros only.
fn is_zero(fact: &TypedFact) -> bool {
    let Some(constant) = &fact.konst else { return false };
    constant.len() > 0
        && constant.cast_to::<f64>().is_ok_and(|constant| {
            values::<f64>(&constant).is_ok_and(|found| found.iter().all(|value| *value == 0.0))
        })
}

/// tract writes `ReduceLogSumExp` as three nodes, whose exponentials overflow or vanish.
///
/// Only its own three are recognised, by their names: a logarithm of a sum of exponentials that the
/// author of a graph wrote out overflows in ONNX Runtime as well.
fn stable_log_sum_exp(model: &mut TypedModel) -> TractResult<()> {
    let is = |outlet: OutletId, name: &str, suffix: &str| {
        model.node(outlet.node).name == format!("{name}.{suffix}")
    };
    let mut found = Vec::new();
    for node in model.nodes() {
        let (Some(name), [sum]) = (node.name.strip_suffix(".ln"), &node.inputs[..]) else {
            continue;
        };
        let [exp] = &model.node(sum.node).inputs[..] else { continue };
        let [from] = &model.node(exp.node).inputs[..] else { continue };
        if let Some(reduce) = model.node(sum.node).op_as::<Reduce>()
            && is(*sum, name, "sum")
            && is(*exp, name, "exp")
        {
            found.push((node.id, *from, reduce.axes.to_vec()));
        }
    }
    for (node, from, axes) in found {
        model.node_mut(node).op = typed(LogSumExp { axes }, 1);
        model.add_edge(from, InletId::new(node, 0))?;
    }
    Ok(())
}

/// Gives what is broadcast the rank of the result: the optimiser drops a broadcast in front of a
/// product of matrices and forgets the axes that it added.
fn same_rank_before_broadcast(model: &mut TypedModel) -> TractResult<()> {
    let mut found = Vec::new();
    for node in model.nodes().iter().filter(|node| node.op_is::<MultiBroadcastTo>()) {
        let ([from], [to]) = (&node.inputs[..], &node.outputs[..]) else { continue };
        let missing = to.fact.rank().saturating_sub(model.outlet_fact(*from)?.rank());
        if missing > 0 {
            found.push((node.id, node.name.clone(), *from, missing));
        }
    }
    for (node, name, mut from, missing) in found {
        for axis in 0..missing {
            let name = format!("{name}.axis_{axis}");
            from = model.wire_node(name, AxisOp::Add(0), &[from])?[0];
        }
        model.add_edge(from, InletId::new(node, 0))?;
    }
    Ok(())
}

/// Takes the leading 1 off outputs of shape `[1, N]`: skl2onnx labels some classifiers so.
fn rows_first(model: &mut TypedModel, rows: &Symbol) -> TractResult<()> {
    let mut outputs: Vec<OutletId> = model.output_outlets()?.to_vec();
    for outlet in &mut outputs {
        let shape = &model.outlet_fact(*outlet)?.shape;
        if shape.rank() == 2 && shape[0] == 1.to_dim() && shape[1] == rows.to_dim() {
            let name = format!("{}.rows_first", model.node(outlet.node).name);
            *outlet = model.wire_node(name, AxisOp::Rm(0), &[*outlet])?[0];
        }
    }
    model.select_output_outlets(&outputs)
}
