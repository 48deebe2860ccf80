//! How an operator of this crate plugs into tract: it implements [`Kernel`], and [`host`] makes it
//! an inference rule and a typed operator.

use std::borrow::Cow;
use std::fmt::Debug;

use tract_onnx::tract_core::ops::{EvalOp, Op, TypedOp};
use tract_onnx::tract_hir::internal::{
    Arc, Datum, DatumType, DatumTypeExt, DimLike, EvalContext, Expansion, InferenceOp,
    InferenceResult, IntoTValue, IntoTensor, OutletId, Solver, SpecialOps, StaticName, TDim,
    TValue, TVec, Tensor, TensorProxy, ToDim, TractResult, TypedFact, TypedModel, as_op, bail,
    check_input_arity, check_output_arity, ensure, expand, op_as_typed_op, op_out_of_plan,
    tract_ndarray,
};

/// What the parser of an operator returns to tract.
pub(super) type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// Type and symbolic shape of a value.
pub(super) type ValueType = (DatumType, Vec<TDim>);

/// An operator that is a plain function over tensors.
pub(super) trait Kernel: Debug + Send + Sync + 'static {
    fn name(&self) -> &'static str;

    fn output_count(&self) -> usize {
        1
    }

    /// Types and shapes of the outputs. Called with symbolic shapes when the graph is compiled.
    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>>;

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>>;
}

/// Wraps a kernel for tract.
#[allow(clippy::unnecessary_wraps, reason = "the last line of parsers, which may fail")]
pub(super) fn host(kernel: impl Kernel, input_count: usize) -> Built {
    Ok((expand(Host { kernel: Arc::new(kernel), input_count }), vec![]))
}

/// A kernel as an operator of a graph whose types are settled.
pub(super) fn typed(kernel: impl Kernel, input_count: usize) -> Box<dyn TypedOp> {
    Box::new(Host { kernel: Arc::new(kernel), input_count })
}

#[derive(Clone, Debug)]
struct Host {
    kernel: Arc<dyn Kernel>,
    input_count: usize,
}

impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.kernel, &other.kernel)
    }
}

impl Eq for Host {}

impl Op for Host {
    fn name(&self) -> StaticName {
        self.kernel.name().into()
    }

    op_as_typed_op!();
}

impl EvalOp for Host {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let inputs: Vec<&Tensor> = inputs.iter().map(|value| &**value).collect();
        Ok(self.kernel.eval(&inputs)?.into_iter().map(IntoTValue::into_tvalue).collect())
    }
}

impl TypedOp for Host {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let inputs: Vec<ValueType> = inputs
            .iter()
            .map(|fact| (fact.datum_type, fact.shape.iter().cloned().collect()))
            .collect();
        Ok(self
            .kernel
            .infer(&inputs)?
            .into_iter()
            .map(|(kind, shape)| kind.fact(&*shape))
            .collect())
    }
}

impl Expansion for Host {
    fn name(&self) -> StaticName {
        self.kernel.name().into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.kernel.output_count())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.input_count)?;
        check_output_arity(outputs, self.kernel.output_count())?;
        let count = self.input_count;
        solver.given_all((0..count).map(|index| &inputs[index].shape), move |solver, shapes| {
            solver.given_all(
                (0..count).map(|index| &inputs[index].datum_type),
                move |solver, kinds| {
                    let types: Vec<ValueType> = kinds
                        .iter()
                        .zip(&shapes)
                        .map(|(kind, shape)| (*kind, shape.iter().cloned().collect()))
                        .collect();
                    for (output, (kind, shape)) in outputs.iter().zip(self.kernel.infer(&types)?) {
                        solver.equals(&output.datum_type, kind)?;
                        solver.equals(&output.shape, shape.into_iter().collect::<TVec<TDim>>())?;
                    }
                    Ok(())
                },
            )
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

/// Values of a numeric tensor as `f32`, without a copy when they are.
pub(super) fn floats(tensor: &Tensor) -> TractResult<Cow<'_, [f32]>> {
    if tensor.datum_type() == f32::datum_type() {
        return Ok(Cow::Borrowed(tensor.try_as_plain_ram()?.as_slice::<f32>()?));
    }
    let cast = tensor.cast_to::<f32>()?;
    Ok(Cow::Owned(cast.try_as_plain_ram()?.as_slice::<f32>()?.to_vec()))
}

/// Values of a `[N, features]` tensor as `f32`, row by row.
pub(super) fn float_rows(tensor: &Tensor, features: usize) -> TractResult<Cow<'_, [f32]>> {
    let found = width(tensor)?;
    ensure!(found == features, "expected rows of {features} features, found {found}");
    floats(tensor)
}

/// Refuses an input whose rows are known to have another width.
pub(super) fn expect_width((_, shape): &ValueType, features: usize) -> TractResult<()> {
    if let Some(found) = shape.last().and_then(|width| width.to_usize().ok()) {
        ensure!(
            found == features,
            "it was trained on {features} features and its input has {found} columns"
        );
    }
    Ok(())
}

/// Dot product in eight partial sums, which the compiler keeps in one vector register.
pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let (left_chunks, left_rest) = left.as_chunks::<8>();
    let (right_chunks, right_rest) = right.as_chunks::<8>();
    let mut partial = [0f32; 8];
    for (left, right) in left_chunks.iter().zip(right_chunks) {
        for lane in 0..8 {
            partial[lane] += left[lane] * right[lane];
        }
    }
    for (lane, (left, right)) in left_rest.iter().zip(right_rest).enumerate() {
        partial[lane] += left * right;
    }
    // Neighbours first: the order in which ONNX Runtime adds up the product of a single row.
    let pairs: [f32; 4] = std::array::from_fn(|at| partial[2 * at] + partial[2 * at + 1]);
    (pairs[0] + pairs[1]) + (pairs[2] + pairs[3])
}

/// Values of an integer tensor.
pub(super) fn integers(tensor: &Tensor) -> TractResult<Vec<i64>> {
    let cast = tensor.cast_to::<i64>()?;
    Ok(cast.try_as_plain_ram()?.as_slice::<i64>()?.to_vec())
}

/// Values of a tensor of a known type.
pub(super) fn values<T: Datum>(tensor: &Tensor) -> TractResult<&[T]> {
    tensor.try_as_plain_ram()?.as_slice::<T>()
}

pub(super) fn tensor<T: Datum>(shape: &[usize], values: Vec<T>) -> TractResult<Tensor> {
    Ok(tract_ndarray::ArrayD::from_shape_vec(shape.to_vec(), values)?.into_tensor())
}

/// The batch dimension of a value: one row when it has a single dimension.
pub(super) fn batch((_, shape): &ValueType) -> TDim {
    if shape.len() < 2 { 1.to_dim() } else { shape[0].clone() }
}

/// Number of values per row of a `[N, F]` (or `[F]`) tensor.
pub(super) fn width(tensor: &Tensor) -> TractResult<usize> {
    match tensor.shape().last() {
        Some(&width) if width > 0 => Ok(width),
        _ => bail!("expected rows of at least one value, found shape {:?}", tensor.shape()),
    }
}
