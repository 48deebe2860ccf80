//! What one row costs in a compiled graph, held to the limits before anything runs.

use tract_onnx::prelude::TypedModel;
use tract_onnx::tract_hir::internal::{Symbol, SymbolValues, TDim, TractResult, tvec};

use crate::error::ModelError;
use crate::limits::ScoringLimits;

/// Checks every node; values per row of the widest intermediate result.
pub(crate) fn row_values(
    model: &TypedModel,
    rows: &Symbol,
    limits: &ScoringLimits,
) -> Result<usize, ModelError> {
    let one_row = SymbolValues::default().with(rows, 1);
    let mut widest = 1;
    let mut steps = 0usize;
    for node in model.nodes() {
        for output in &node.outputs {
            let constant = output.fact.konst.is_some();
            let limit = if constant { limits.tensor_values_max } else { limits.row_values_max };
            let volume = output.fact.shape.iter().try_fold(1usize, |volume, dim| {
                // Dimensions that depend on the data are those of selections, no larger than what they
                // select from: `graph::growth` refuses all others.
                volume.checked_mul(number(dim, &one_row).unwrap_or(1))
            });
            match volume {
                Some(volume) if volume <= limit => {
                    if !constant {
                        widest = widest.max(volume);
                        steps = steps.saturating_add(volume);
                    }
                }
                _ => {
                    return Err(ModelError::Limit {
                        what: format!(
                            "the number of values per row that node `{}` ({}) makes",
                            node.name,
                            node.op.name()
                        ),
                        found: volume.map_or(u64::MAX, |volume| volume as u64),
                        limit: limit as u64,
                    });
                }
            }
        }
        steps = steps.saturating_add(multiply_adds(model, node.id, &one_row).unwrap_or(0));
        if steps > limits.row_steps_max {
            return Err(ModelError::Limit {
                what: format!(
                    "the work per row (multiply-adds and values) up to node `{}` ({})",
                    node.name,
                    node.op.name()
                ),
                found: steps as u64,
                limit: limits.row_steps_max as u64,
            });
        }
    }
    Ok(widest)
}

fn multiply_adds(model: &TypedModel, node: usize, one_row: &SymbolValues) -> TractResult<usize> {
    let node = model.node(node);
    let mut inputs = tvec![];
    for input in &node.inputs {
        inputs.push(model.outlet_fact(*input)?);
    }
    let costs = node.op.cost(&inputs)?;
    Ok(costs
        .iter()
        .filter(|(kind, _)| kind.is_compute())
        .map(|(_, count)| number(count, one_row).unwrap_or(0))
        .fold(0, usize::saturating_add))
}

/// A dimension for one row, where it does not depend on the data.
fn number(dim: &TDim, one_row: &SymbolValues) -> Option<usize> {
    usize::try_from(dim.eval(one_row).to_i64().ok()?).ok()
}
