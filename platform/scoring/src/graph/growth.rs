//! How large the results of nodes can become before any data is there.
//!
//! The runtime evaluates what depends on constants alone while it compiles, so a few bytes of a file can
//! ask for more memory than a machine has. This walk bounds every such result first. What depends on the
//! data has its bound per row once the graph is compiled (`crate::cost`), provided that its size does
//! not depend on the *values* of the data, which this walk refuses.

use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::{node_error, node_name, tensor};
use crate::error::ModelError;
use crate::limits::ScoringLimits;

/// Integers of a constant that are looked at; shapes have few.
const CONTENT_MAX: usize = 64;
/// Multiply-adds on constants per value that a constant may have: some seconds.
const CONSTANT_WORK_FACTOR: usize = 64;
/// Operators whose result is as large as the values of some inputs say, and the places of these.
const SIZED_BY: [(&str, &[usize]); 8] = [
    ("ConstantOfShape", &[0]),
    ("Expand", &[1]),
    ("OneHot", &[1]),
    ("Pad", &[1]),
    ("Range", &[0, 1, 2]),
    ("Resize", &[2, 3]),
    ("Tile", &[1]),
    ("Upsample", &[1]),
];
/// Operators that no trained model applies to constants and whose size would be hard to bound.
const NOT_ON_CONSTANTS: [&str; 10] = [
    "BlackmanWindow",
    "Col2Im",
    "ConvTranspose",
    "DFT",
    "HammingWindow",
    "HannWindow",
    "MaxUnpool",
    "MelWeightMatrix",
    "Resize",
    "Upsample",
];
/// Operators that draw at random, so that one customer would get another score each time.
const RANDOM: [&str; 6] = [
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
];
/// Operators whose result is no larger than their first input.
const NO_LARGER: [&str; 18] = [
    "ArgMax",
    "ArgMin",
    "Compress",
    "CumSum",
    "Flatten",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Slice",
    "Split",
    "TopK",
];
/// Operators that keep the values of their first input and change its shape.
const RESHAPING: [&str; 3] = ["Reshape", "Squeeze", "Unsqueeze"];
/// Operators on sizes that keep them sizes.
const ON_SIZES: [&str; 14] = [
    "Add",
    "Cast",
    "Concat",
    "ConstantOfShape",
    "Div",
    "Equal",
    "Gather",
    "Identity",
    "Max",
    "Min",
    "Mul",
    "Slice",
    "Sub",
    "Where",
];

/// What is known of a value.
#[derive(Debug, Clone)]
enum Origin {
    /// It depends on constants alone.
    Constant { count: usize, dims: Option<Vec<usize>>, content: Option<Vec<i64>> },
    /// It depends on the shapes of data, scaled by constants of this product at most.
    Size { scale: usize },
    /// It depends on the values of the data.
    Data,
}

/// The walk over a graph.
pub(super) struct Growth<'a> {
    limits: &'a ScoringLimits,
    origins: HashMap<&'a str, Origin>,
    /// Values that evaluating constants makes, and multiply-adds that this takes.
    values: usize,
    work: usize,
}

impl<'a> Growth<'a> {
    pub(super) fn new(graph: &'a GraphProto, limits: &'a ScoringLimits) -> Self {
        let inputs = graph.input.iter().map(|input| (input.name.as_str(), Origin::Data));
        let constants =
            graph.initializer.iter().map(|tensor| (tensor.name.as_str(), of_tensor(tensor)));
        // An input may have a constant as its default; then it is that constant.
        Self { limits, origins: inputs.chain(constants).collect(), values: 0, work: 0 }
    }

    /// Checks a node whose inputs were seen before.
    pub(super) fn node(&mut self, node: &'a NodeProto) -> Result<(), ModelError> {
        if RANDOM.contains(&node.op_type.as_str()) {
            return Err(node_error(
                node,
                "it draws at random, so that a repeated run would not repeat its predictions; export the model \
                 for inference, without sampling or dropout",
            ));
        }
        let inputs: Vec<Option<Origin>> =
            node.input.iter().map(|name| self.origins.get(name.as_str()).cloned()).collect();
        let constant = node.op_type != "Constant"
            && inputs.iter().zip(&node.input).all(|(origin, name)| {
                name.is_empty() || matches!(origin, Some(Origin::Constant { .. }))
            });
        let origin = if node.op_type == "Constant" {
            of_constant_node(node)
        } else if constant {
            self.constant(node, &inputs)?
        } else {
            self.sizes(node, &inputs)?;
            derived(node, &inputs)
        };
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            self.origins.insert(output, origin.clone());
        }
        Ok(())
    }

    /// A node that the compiler evaluates.
    fn constant(
        &mut self,
        node: &NodeProto,
        inputs: &[Option<Origin>],
    ) -> Result<Origin, ModelError> {
        if NOT_ON_CONSTANTS.contains(&node.op_type.as_str()) {
            return Err(node_error(
                node,
                "it is applied to constants alone, where its size cannot be foreseen; fold the constants before \
                 the export (onnxsim)",
            ));
        }
        let made = shape::of(node, inputs).map_err(|problem| node_error(node, problem))?;
        let sized = SIZED_BY.iter().any(|(operator, _)| *operator == node.op_type);
        let limit = if sized { self.limits.row_values_max } else { self.limits.tensor_values_max };
        self.values = self.values.saturating_add(made.count);
        self.work = self.work.saturating_add(made.work);
        let work_max = self.limits.tensor_values_max.saturating_mul(CONSTANT_WORK_FACTOR);
        for (what, found, limit) in [
            ("the number of values that node `{}` makes of constants", made.count, limit),
            (
                "the number of values that nodes up to `{}` make of constants",
                self.values,
                self.limits.tensor_values_max,
            ),
            ("the work on constants up to node `{}`", self.work, work_max),
        ] {
            if found > limit {
                return Err(ModelError::Limit {
                    what: what.replace("{}", &node_name(node)),
                    found: found as u64,
                    limit: limit as u64,
                });
            }
        }
        let content = made.content.filter(|content| content.len() <= CONTENT_MAX);
        Ok(Origin::Constant { count: made.count, dims: made.dims, content })
    }

    /// A node over data: its size must not depend on the data's values, nor explode with its shape.
    fn sizes(&self, node: &NodeProto, inputs: &[Option<Origin>]) -> Result<(), ModelError> {
        let Some((_, places)) = SIZED_BY.iter().find(|(operator, _)| *operator == node.op_type)
        else {
            return Ok(());
        };
        for place in *places {
            match inputs.get(*place) {
                Some(Some(Origin::Data)) => {
                    return Err(node_error(
                        node,
                        "how many values it makes depends on the values of the data, so that one row could ask for \
                         any amount of memory; write the size as a constant in the export",
                    ));
                }
                Some(Some(Origin::Size { scale })) if *scale > self.limits.row_values_max => {
                    return Err(self.too_many(node, *scale));
                }
                Some(Some(Origin::Constant { content: Some(content), .. })) => {
                    let values = tensor::values(content).ok_or_else(|| {
                        node_error(node, format!("its shape {content:?} is negative or overflows"))
                    });
                    // Paddings may be negative, and are bounded with the compiled graph.
                    if matches!(node.op_type.as_str(), "ConstantOfShape" | "Expand" | "Tile")
                        && values
                            .as_ref()
                            .map_or(true, |values| *values > self.limits.row_values_max)
                    {
                        return Err(self.too_many(node, values?));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn too_many(&self, node: &NodeProto, found: usize) -> ModelError {
        ModelError::Limit {
            what: format!(
                "the number of values that node `{}` ({}) makes",
                node_name(node),
                node.op_type
            ),
            found: found as u64,
            limit: self.limits.row_values_max as u64,
        }
    }
}

/// What a node makes of data and sizes.
fn derived(node: &NodeProto, inputs: &[Option<Origin>]) -> Origin {
    let operator = node.op_type.as_str();
    if matches!(operator, "Shape" | "Size") {
        return Origin::Size { scale: 1 };
    }
    if !ON_SIZES.contains(&operator) && !RESHAPING.contains(&operator) {
        return Origin::Data;
    }
    let mut product = 1usize;
    for input in inputs.iter().flatten() {
        let scale = match input {
            Origin::Data | Origin::Constant { content: None, .. } => return Origin::Data,
            Origin::Size { scale } => *scale,
            Origin::Constant { content: Some(content), .. } => content
                .iter()
                .map(|value| usize::try_from(value.unsigned_abs()).unwrap_or(usize::MAX))
                .max()
                .unwrap_or(1)
                .max(1),
        };
        product = product.saturating_mul(scale);
    }
    Origin::Size { scale: product }
}

fn of_tensor(tensor: &TensorProto) -> Origin {
    let dims: Option<Vec<usize>> =
        tensor.dims.iter().map(|dim| usize::try_from(*dim).ok()).collect();
    let count = tensor::values(&tensor.dims).unwrap_or(usize::MAX);
    let content = if count <= CONTENT_MAX { tensor::integers(tensor) } else { None };
    Origin::Constant { count, dims, content }
}

/// A `Constant` node: its tensor, or the few numbers or texts of another attribute.
fn of_constant_node(node: &NodeProto) -> Origin {
    if let Some(tensor) = node.attribute.iter().find_map(|attribute| attribute.t.as_ref()) {
        return of_tensor(tensor);
    }
    let Some(attribute) = node.attribute.first() else { return Origin::Data };
    let count = attribute.ints.len() + attribute.floats.len() + attribute.strings.len();
    let content = match attribute.name.as_str() {
        "value_int" => Some(vec![attribute.i]),
        "value_ints" if count <= CONTENT_MAX => Some(attribute.ints.clone()),
        _ => None,
    };
    Origin::Constant { count: count.max(1), dims: None, content }
}

/// The size of what a node makes of constants.
mod shape {
    use super::{NO_LARGER, NodeProto, Origin, RESHAPING};

    /// A result before it is made.
    pub(super) struct Made {
        pub(super) count: usize,
        pub(super) dims: Option<Vec<usize>>,
        pub(super) content: Option<Vec<i64>>,
        /// Multiply-adds.
        pub(super) work: usize,
    }

    type Dims = Option<Vec<usize>>;

    /// Bounds the result; the error says what is wrong with the node.
    pub(super) fn of(node: &NodeProto, inputs: &[Option<Origin>]) -> Result<Made, String> {
        let given: Vec<(usize, &Dims, Option<&[i64]>)> = inputs
            .iter()
            .flatten()
            .filter_map(|origin| match origin {
                Origin::Constant { count, dims, content } => {
                    Some((*count, dims, content.as_deref()))
                }
                _ => None,
            })
            .collect();
        let count = |place: usize| given.get(place).map_or(1, |(count, ..)| *count);
        let dims = |place: usize| given.get(place).and_then(|(_, dims, _)| Option::clone(dims));
        let content = |place: usize| {
            given.get(place).and_then(|(.., content)| *content).ok_or_else(|| {
                "its size is computed from constants in the graph; fold the constants before the export (onnxsim)"
                    .to_owned()
            })
        };
        Ok(match node.op_type.as_str() {
            "ConstantOfShape" => plain(Some(positive(content(0)?)?)),
            "Expand" => {
                let to = positive(content(1)?)?;
                sized(
                    dims(0).and_then(|dims| broadcast(&dims, &to)),
                    count(0).saturating_mul(product(&to)),
                )
            }
            // The repeats of each axis, or the depth of each index.
            "Tile" | "OneHot" => {
                let times = product(&positive(content(1)?)?);
                sized(None, count(0).saturating_mul(times))
            }
            "Pad" => {
                let pads = match content(1) {
                    Ok(pads) => pads.to_vec(),
                    Err(problem) => node
                        .attribute
                        .iter()
                        .find(|attribute| attribute.name == "pads")
                        .map(|attribute| attribute.ints.clone())
                        .ok_or(problem)?,
                };
                padded(&dims(0), count(0), &pads)
            }
            "Range" => sized(None, range(content(0)?, content(1)?, content(2)?)?),
            "Concat" => {
                let total =
                    given.iter().fold(0usize, |sum, (count, ..)| sum.saturating_add(*count));
                let parts: Option<Vec<&[i64]>> =
                    given.iter().map(|(.., content)| *content).collect();
                Made { content: parts.map(|parts| parts.concat()), ..sized(None, total) }
            }
            "MatMul" | "Gemm" => product_of_matrices(node, &dims(0), &dims(1), count(0), count(1)),
            "Gather" => {
                let axis = node.attribute.iter().find(|attribute| attribute.name == "axis");
                let axis = axis.map_or(0, |attribute| attribute.i);
                let slices = dims(0).and_then(|dims| {
                    let at = if axis < 0 { axis + i64::try_from(dims.len()).ok()? } else { axis };
                    count(0).checked_div(*dims.get(usize::try_from(at).ok()?)?)
                });
                let total = slices.unwrap_or(count(0)).saturating_mul(count(1));
                let picked = content(0).ok().zip(content(1).ok()).and_then(|(from, places)| {
                    places
                        .iter()
                        .map(|place| from.get(usize::try_from(*place).ok()?).copied())
                        .collect::<Option<Vec<i64>>>()
                });
                Made { content: picked, ..sized(None, total) }
            }
            "Transpose" => sized(None, count(0)),
            "Shape" => {
                let found = dims(0).map(|dims| {
                    dims.iter().map(|dim| i64::try_from(*dim).unwrap_or(i64::MAX)).collect()
                });
                Made { content: found, ..sized(None, count(0).min(64)) }
            }
            "Cast" | "Identity" => {
                Made { content: content(0).ok().map(<[i64]>::to_vec), ..sized(dims(0), count(0)) }
            }
            operator if RESHAPING.contains(&operator) => {
                Made { content: content(0).ok().map(<[i64]>::to_vec), ..sized(None, count(0)) }
            }
            operator if NO_LARGER.contains(&operator) => sized(None, count(0)),
            _ => {
                let all: Option<Vec<usize>> = given
                    .iter()
                    .try_fold(Vec::new(), |dims, (_, next, _)| broadcast(&dims, next.as_deref()?));
                let most = given
                    .iter()
                    .fold(1usize, |product, (count, ..)| product.saturating_mul(*count));
                sized(all, most)
            }
        })
    }

    fn plain(dims: Dims) -> Made {
        sized(dims, usize::MAX)
    }

    /// Of known dimensions, or at most so many values.
    fn sized(dims: Dims, at_most: usize) -> Made {
        let count = dims.as_deref().map_or(at_most, product);
        Made { count, dims, content: None, work: count }
    }

    fn product(dims: &[usize]) -> usize {
        dims.iter().fold(1, |product, dim| product.saturating_mul(*dim))
    }

    fn positive(shape: &[i64]) -> Result<Vec<usize>, String> {
        shape
            .iter()
            .map(|dim| usize::try_from(*dim))
            .collect::<Result<_, _>>()
            .map_err(|_| format!("its shape {shape:?} is negative; export the model again"))
    }

    /// Dimensions of an element-wise result; `None` when the two do not fit.
    fn broadcast(a: &[usize], b: &[usize]) -> Dims {
        let rank = a.len().max(b.len());
        let at = |dims: &[usize], index: usize| {
            (index + dims.len()).checked_sub(rank).map_or(1, |index| dims[index])
        };
        (0..rank)
            .map(|index| match (at(a, index), at(b, index)) {
                (1, other) | (other, 1) => Some(other),
                (one, other) if one == other => Some(one),
                _ => None,
            })
            .collect()
    }

    fn padded(dims: &Dims, count: usize, pads: &[i64]) -> Made {
        let added =
            |index: usize| usize::try_from(pads.get(index).copied().unwrap_or(0)).unwrap_or(0);
        if let Some(dims) = dims
            && pads.len() == 2 * dims.len()
        {
            let grown = dims.iter().enumerate().map(|(index, dim)| {
                dim.saturating_add(added(index)).saturating_add(added(index + dims.len()))
            });
            return sized(Some(grown.collect()), 0);
        }
        let most = (0..pads.len())
            .fold(count, |product, index| product.saturating_mul(added(index).saturating_add(1)));
        sized(None, most)
    }

    fn range(start: &[i64], end: &[i64], step: &[i64]) -> Result<usize, String> {
        let ([start], [end], [step]) = (start, end, step) else {
            return Err("a range takes three single numbers; export the model again".to_owned());
        };
        let span = i128::from(*end) - i128::from(*start);
        match i128::from(*step) {
            0 => {
                Err("its step is 0, so that it would never end; export the model again".to_owned())
            }
            step => Ok(usize::try_from((span / step + 1).max(0)).unwrap_or(usize::MAX)),
        }
    }

    fn product_of_matrices(
        node: &NodeProto,
        a: &Dims,
        b: &Dims,
        a_count: usize,
        b_count: usize,
    ) -> Made {
        let transposed = |name: &str| {
            node.attribute.iter().any(|attribute| attribute.name == name && attribute.i != 0)
        };
        let (Some([rows, inner]), Some([b_rows, b_columns])) = (a.as_deref(), b.as_deref()) else {
            return Made {
                work: a_count.saturating_mul(b_count),
                ..sized(None, a_count.saturating_mul(b_count))
            };
        };
        let (rows, inner) = if transposed("transA") { (*inner, *rows) } else { (*rows, *inner) };
        let columns = if transposed("transB") { *b_rows } else { *b_columns };
        let made = sized(Some(vec![rows, columns]), 0);
        Made { work: made.count.saturating_mul(inner.max(1)), ..made }
    }
}
