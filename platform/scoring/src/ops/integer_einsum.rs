//! Products of integer matrices, for which tract has no kernel.

use tract_onnx::tract_core::axes::AxesMapping;
use tract_onnx::tract_core::ops::TypedOp;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_hir::internal::{
    DatumType, DatumTypeExt, InOut, Tensor, TractResult, TypedFact, bail, ensure,
};

use super::kernel::{Kernel, ValueType, integers, tensor};

/// An Einstein sum over integers, by definition: every combination of axes once.
#[derive(Debug)]
pub(super) struct IntegerEinsum {
    pub(super) axes: AxesMapping,
}

impl Kernel for IntegerEinsum {
    fn name(&self) -> &'static str {
        "IntegerEinsum"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        let facts: Vec<TypedFact> =
            inputs.iter().map(|(kind, shape)| kind.fact(&**shape)).collect();
        let facts: Vec<&TypedFact> = facts.iter().collect();
        let found = EinSum::new(self.axes.clone(), inputs[0].0).output_facts(&facts)?;
        Ok(found
            .iter()
            .map(|fact| (fact.datum_type, fact.shape.iter().cloned().collect()))
            .collect())
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let plan = Plan::new(&self.axes, inputs)?;
        let values: Vec<Vec<i64>> =
            inputs.iter().map(|input| integers(input)).collect::<TractResult<_>>()?;
        let sums = plan.run(&values);
        let kind = inputs[0].datum_type();
        Ok(vec![match kind {
            DatumType::I64 => tensor(&plan.shape, sums)?,
            DatumType::I32 | DatumType::TDim => {
                tensor(&plan.shape, sums)?.cast_to_dt(kind)?.into_owned()
            }
            other => bail!("expected integers, found {other:?}"),
        }])
    }
}

/// Sizes of all axes and how far a step along each moves in every value.
struct Plan {
    sizes: Vec<usize>,
    /// For each axis, the step in each input and, last, in the output.
    steps: Vec<Vec<usize>>,
    shape: Vec<usize>,
}

impl Plan {
    fn new(axes: &AxesMapping, inputs: &[&Tensor]) -> TractResult<Self> {
        let mut shape = vec![1; axes.rank(InOut::Out(0))];
        let mut sizes = Vec::new();
        for axis in axes.iter_all_axes() {
            let mut size = 1;
            for (input, places) in inputs.iter().zip(&axis.inputs) {
                for place in places {
                    let found = input.shape()[*place];
                    ensure!(
                        found == size || size == 1 || found == 1,
                        "axes of {size} and {found} values do not fit"
                    );
                    size = size.max(found);
                }
            }
            axis.outputs[0].iter().for_each(|place| shape[*place] = size);
            sizes.push(size);
        }
        let step_of = |shape: &[usize], places: &[usize]| -> usize {
            let steps = places.iter().filter(|place| shape[**place] > 1);
            steps.map(|place| shape[place + 1..].iter().product::<usize>()).sum()
        };
        let steps = axes
            .iter_all_axes()
            .map(|axis| {
                let inputs = inputs.iter().zip(&axis.inputs);
                let mut steps: Vec<usize> =
                    inputs.map(|(input, places)| step_of(input.shape(), places)).collect();
                steps.push(step_of(&shape, &axis.outputs[0]));
                steps
            })
            .collect();
        Ok(Self { sizes, steps, shape })
    }

    fn run(&self, values: &[Vec<i64>]) -> Vec<i64> {
        let mut sums = vec![0i64; self.shape.iter().product()];
        if self.sizes.contains(&0) {
            return sums;
        }
        let mut at = vec![0usize; self.sizes.len()];
        loop {
            let offset = |of: usize| -> usize {
                at.iter().zip(&self.steps).map(|(index, steps)| index * steps[of]).sum()
            };
            let product = values
                .iter()
                .enumerate()
                .fold(1i64, |product, (of, values)| product.wrapping_mul(values[offset(of)]));
            let sum = &mut sums[offset(values.len())];
            *sum = sum.wrapping_add(product);
            let Some(axis) = (0..at.len()).find(|axis| at[*axis] + 1 < self.sizes[*axis]) else {
                return sums;
            };
            at[axis] += 1;
            at[..axis].fill(0);
        }
    }
}
