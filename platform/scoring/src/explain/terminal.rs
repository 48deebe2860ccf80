//! The node that computes the explained score, when it is a tree ensemble or a linear model.

use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType as TensorType;

use crate::graph::{Graph, neutral, node_name};
use crate::scores::PostTransform;
use crate::trees::{self, Margin};

/// Operators behind the scores that keep each value and its place.
const KEEPS_VALUES: [&str; 5] = ["Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze"];

/// A node whose score is explained.
pub(super) struct Terminal<'a> {
    pub(super) node: &'a NodeProto,
    /// Position among the node's scores.
    pub(super) score: usize,
    /// Whether scores are divided by their sum afterwards.
    is_normalized: bool,
}

impl<'a> Terminal<'a> {
    /// Follows an output back to the node that computes it. The error says in words what is in the way.
    pub(super) fn find(graph: &'a Graph, output: &str, score: usize) -> Result<Self, String> {
        let mut tensor = output;
        let mut is_normalized = false;
        loop {
            let node = graph
                .nodes()
                .iter()
                .find(|node| node.output.iter().any(|name| name == tensor))
                .ok_or("its score comes from no tree ensemble or linear model")?;
            let operator = node.op_type.as_str();
            let is_classifier = matches!(operator, "TreeEnsembleClassifier" | "LinearClassifier");
            if trees::is_ensemble(operator) || is_linear(node) {
                let scores = node.output.get(usize::from(is_classifier));
                if scores.map(String::as_str) != Some(tensor) {
                    return Err("its label is made a number, which is no score".to_owned());
                }
                return Ok(Self { node, score, is_normalized });
            }
            let attribute = |name: &str| node.get_attr_opt::<i64>(name).ok().flatten();
            let is_float = |to: i64| {
                to == i64::from(TensorType::Float as i32)
                    || to == i64::from(TensorType::Double as i32)
            };
            let keeps = match operator {
                "Cast" => attribute("to").is_some_and(is_float),
                "Normalizer" => {
                    is_normalized = true;
                    node.get_attr_opt::<&str>("norm").ok().flatten() == Some("L1")
                }
                // LightGBM's converter multiplies probabilities by 1.
                "Mul" => node.input.get(1).is_some_and(|factor| is_one(graph, factor)),
                operator => KEEPS_VALUES.contains(&operator),
            };
            tensor = match node.input.first() {
                Some(input) if keeps => input,
                _ => {
                    return Err(format!(
                        "its score comes from node `{}` ({operator}), not from a tree ensemble or linear model alone",
                        node_name(node)
                    ));
                }
            };
        }
    }

    pub(super) fn is_trees(&self) -> bool {
        trees::is_ensemble(&self.node.op_type)
    }

    /// The tensor that the node reads.
    pub(super) fn input(&self) -> &'a str {
        self.node.input.first().map_or("", String::as_str)
    }

    /// Whether contributions are to a margin; an error where they would be to neither margin nor output.
    pub(super) fn is_margin(&self, is_transformed: bool) -> Result<bool, String> {
        if self.is_normalized && !is_transformed {
            return Err("its scores are divided by their sum, which is no sum itself".to_owned());
        }
        Ok(is_transformed)
    }

    /// Weights by feature, with the offset and whether a transform follows, of a linear model.
    pub(super) fn linear(&self) -> Result<Margin, String> {
        let list = |name: &str| {
            self.node.get_attr_opt_vec::<f32>(name).map_err(|error| format!("{error:#}"))
        };
        let coefficients = list("coefficients")?.unwrap_or_default();
        let intercepts = list("intercepts")?.unwrap_or_default();
        let name =
            self.node.get_attr_opt::<&str>("post_transform").ok().flatten().unwrap_or("NONE");
        let post = PostTransform::parse(name).ok_or("its post_transform is unknown")?;
        let targets = self.linear_targets(intercepts.len());
        if targets == 0 || !coefficients.len().is_multiple_of(targets) {
            return Err(format!("its {} coefficients are no {targets} rows", coefficients.len()));
        }
        let one_for_two = self.node.op_type == "LinearClassifier" && targets == 1;
        let target = if one_for_two { 0 } else { self.score };
        let width = coefficients.len() / targets;
        let row = coefficients
            .get(target * width..(target + 1) * width)
            .ok_or("it has fewer rows of coefficients than scores")?;
        let mut margin = Margin {
            weights: row.iter().copied().map(f64::from).collect(),
            offset: intercepts.get(target).copied().map_or(0.0, f64::from),
            is_transformed: post != PostTransform::None,
        };
        if one_for_two {
            if post == PostTransform::Probit {
                return Err("its probit has no score for two classes".to_owned());
            }
            margin.is_transformed = post == PostTransform::Logistic;
            if self.score == 0 {
                // The first of two scores is the complement of the second.
                margin.weights.iter_mut().for_each(|weight| *weight = -*weight);
                margin.offset = -margin.offset + if margin.is_transformed { 0.0 } else { 1.0 };
            }
        }
        Ok(margin)
    }

    fn linear_targets(&self, intercepts: usize) -> usize {
        if self.node.op_type == "LinearRegressor" {
            return self.node.get_attr_opt::<usize>("targets").ok().flatten().unwrap_or(1);
        }
        if intercepts > 0 {
            return intercepts;
        }
        let strings = self.node.get_attr_opt_vec::<String>("classlabels_strings").ok().flatten();
        let integers = self.node.get_attr_opt_vec::<i64>("classlabels_ints").ok().flatten();
        strings.map_or(0, |labels| labels.len()).max(integers.map_or(0, |labels| labels.len()))
    }
}

fn is_one(graph: &Graph, name: &str) -> bool {
    let constants = graph.proto.graph.as_ref().map_or(&[][..], |graph| &graph.initializer);
    constants.iter().any(|constant| constant.name == name && neutral::is_one(constant))
}

fn is_linear(node: &NodeProto) -> bool {
    matches!(node.op_type.as_str(), "LinearRegressor" | "LinearClassifier")
}
