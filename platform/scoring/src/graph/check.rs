//! Checks that need no evaluation. What passes here can be handed to the runtime.

use std::collections::HashSet;

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use super::growth::Growth;
use super::{node_error, node_name, tensor};
use crate::error::ModelError;
use crate::limits::ScoringLimits;
use crate::ops;
use crate::trees;

/// Operator-set versions of the default domain that this crate has been run on.
const OPSET_RANGE: std::ops::RangeInclusive<i64> = 1..=24;
/// Operators whose meaning in early operator sets was another, and since when it is today's.
const MEANING_SINCE: [(&str, i64); 30] = [
    ("Add", 7),
    ("And", 7),
    ("BatchNormalization", 7),
    ("Cast", 6),
    ("Clip", 6),
    ("Concat", 4),
    ("Div", 7),
    ("Dropout", 7),
    ("Equal", 7),
    ("GRU", 7),
    ("Gemm", 7),
    ("Greater", 7),
    ("InstanceNormalization", 6),
    ("LSTM", 7),
    ("Less", 7),
    ("Max", 6),
    ("Mean", 6),
    ("Min", 6),
    ("Mul", 7),
    ("Or", 7),
    ("PRelu", 7),
    ("Pad", 2),
    ("Pow", 7),
    ("RNN", 7),
    ("Reshape", 5),
    ("Split", 2),
    ("Sub", 7),
    ("Sum", 6),
    ("Tile", 6),
    ("Xor", 7),
];
/// The one operator of `com.microsoft` that converters write for estimators.
const VENDOR_OPERATORS: [(&str, &str); 1] = [("com.microsoft", "CDist")];
/// Operator-set versions of `ai.onnx.ml`.
const ML_OPSET_RANGE: std::ops::RangeInclusive<i64> = 1..=5;
/// A comparison in a tree waits for memory; it takes as long as this many multiply-adds.
const COMPARISON_STEPS: usize = 16;
/// Domain of the classical machine-learning operators.
const ML_DOMAIN: &str = "ai.onnx.ml";
/// Its operators. The runtime looks operators up without their domain.
const ML_OPERATORS: [&str; 19] = [
    "ArrayFeatureExtractor",
    "Binarizer",
    "CastMap",
    "CategoryMapper",
    "DictVectorizer",
    "FeatureVectorizer",
    "Imputer",
    "LabelEncoder",
    "LinearClassifier",
    "LinearRegressor",
    "Normalizer",
    "OneHotEncoder",
    "SVMClassifier",
    "SVMRegressor",
    "Scaler",
    "TreeEnsemble",
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
    "ZipMap",
];

pub(super) fn model(proto: &ModelProto, limits: &ScoringLimits) -> Result<(), ModelError> {
    for import in &proto.opset_import {
        let range = match import.domain.as_str() {
            "" | "ai.onnx" => OPSET_RANGE,
            ML_DOMAIN => ML_OPSET_RANGE,
            // A domain may be imported without being used; its nodes are refused one by one.
            _ => continue,
        };
        if !range.contains(&import.version) {
            return Err(ModelError::Graph {
                problem: format!(
                    "operator set {} of domain `{}` is not supported; export with target_opset {} to {}",
                    import.version,
                    if import.domain.is_empty() { "ai.onnx" } else { &import.domain },
                    range.start(),
                    range.end()
                ),
            });
        }
    }
    meaning(proto)?;
    if let Some(function) = proto.functions.first() {
        return Err(ModelError::Graph {
            problem: format!(
                "the model defines its own function `{}`; inline it (`onnx.inliner.inline_local_functions`), \
                 or, if a KNNImputer made it, impute in features.sql or with a SimpleImputer",
                function.name.as_deref().unwrap_or("(unnamed)")
            ),
        });
    }
    let count = |count: fn(&GraphProto) -> usize| proto.graph.as_ref().map_or(0, count);
    for (what, found, limit) in [
        ("nodes in the graph", count(|graph| graph.node.len()), limits.nodes_max),
        ("constants in the graph", count(|graph| graph.initializer.len()), limits.constants_max),
        ("inputs of the graph", count(|graph| graph.input.len()), limits.constants_max),
    ] {
        if found > limit {
            return Err(ModelError::Limit {
                what: format!("the number of {what}"),
                found: found as u64,
                limit: limit as u64,
            });
        }
    }
    Ok(())
}

/// Reads the trees of a node, which checks them, and bounds the way through them.
fn ensemble(node: &NodeProto, limits: &ScoringLimits) -> Result<(), ModelError> {
    let comparisons = trees::read(node)?.comparisons_max();
    let comparisons_max = limits.row_steps_max / COMPARISON_STEPS;
    if comparisons > comparisons_max {
        return Err(ModelError::Limit {
            what: format!(
                "the number of comparisons on the longest ways through the trees of node `{}`",
                node_name(node)
            ),
            found: comparisons as u64,
            limit: comparisons_max as u64,
        });
    }
    Ok(())
}

/// Converters write the lowest operator set that their nodes need; it must mean what it means today.
fn meaning(proto: &ModelProto) -> Result<(), ModelError> {
    let version = proto
        .opset_import
        .iter()
        .filter(|import| matches!(import.domain.as_str(), "" | "ai.onnx"))
        .map(|import| import.version)
        .max()
        .unwrap_or(*OPSET_RANGE.end());
    for node in proto.graph.iter().flat_map(|graph| &graph.node) {
        let since = MEANING_SINCE.iter().find(|(operator, _)| *operator == node.op_type);
        if let Some((_, since)) = since.filter(|(_, since)| version < *since) {
            return Err(node_error(
                node,
                format!(
                    "in operator set {version} it has another meaning than today; export with target_opset {since} or higher"
                ),
            ));
        }
    }
    Ok(())
}

pub(super) fn graph(graph: &GraphProto, limits: &ScoringLimits) -> Result<(), ModelError> {
    if let Some(sparse) = graph.sparse_initializer.first() {
        let name = sparse.values.as_ref().map_or("(unnamed)", |values| values.name.as_str());
        return Err(ModelError::Graph {
            problem: format!("constant `{name}` is sparse; export with dense constants"),
        });
    }
    for constant in &graph.initializer {
        tensor::check(constant, &format!("constant `{}`", constant.name), limits)?;
    }
    let mut growth = Growth::new(graph, limits);
    let mut known: HashSet<&str> =
        graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    known.extend(graph.input.iter().map(|input| input.name.as_str()));
    let operators = ops::register();
    for node in &graph.node {
        operator(node, &operators)?;
        wiring(node, &mut known)?;
        for attribute in &node.attribute {
            if let Some(value) = &attribute.t {
                let place = format!("node `{}`, attribute `{}`", node_name(node), attribute.name);
                tensor::check(value, &place, limits)?;
            }
        }
        growth.node(node)?;
        if trees::is_ensemble(&node.op_type) {
            ensemble(node, limits)?;
        }
    }
    if graph.output.is_empty() {
        return Err(ModelError::Graph {
            problem: "the graph has no output; mark at least one".to_owned(),
        });
    }
    for output in &graph.output {
        if !known.contains(output.name.as_str()) {
            return Err(ModelError::Graph {
                problem: format!(
                    "no node computes the output `{}`; the file is damaged or not an export",
                    output.name
                ),
            });
        }
    }
    Ok(())
}

fn operator(
    node: &NodeProto,
    operators: &tract_onnx::model::OnnxOpRegister,
) -> Result<(), ModelError> {
    let refused = |cure: &str| ModelError::Operator {
        operator: match node.domain.as_str() {
            "" => node.op_type.clone(),
            domain => format!("{domain}.{}", node.op_type),
        },
        node: node_name(node),
        cure: cure.to_owned(),
    };
    let vendor = VENDOR_OPERATORS.contains(&(&node.domain, &node.op_type));
    if !matches!(node.domain.as_str(), "" | "ai.onnx" | ML_DOMAIN) && !vendor {
        return Err(refused(
            "only the domains ai.onnx and ai.onnx.ml are; export without custom or vendor operators",
        ));
    }
    if node.domain == ML_DOMAIN && !ML_OPERATORS.contains(&node.op_type.as_str()) {
        return Err(refused(
            "it is not an operator of that domain; the file is damaged or not an export",
        ));
    }
    if node.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty())
    {
        return Err(refused(
            "it runs a graph inside a graph, whose cost cannot be bounded, and is no loop over distances \
             as skl2onnx writes it; export the estimator without loops or branches",
        ));
    }
    if operators.0.contains_key(&node.op_type) {
        return Ok(());
    }
    Err(refused(match node.op_type.as_str() {
        "DictVectorizer" | "CastMap" => {
            "it takes one dictionary per row and features are columns: train on a table with \
             OneHotEncoder(handle_unknown='ignore') for words and the numbers as they are, and export that"
        }
        "FeatureHasher" | "Tokenizer" | "Unique" | "RegexFullMatch" | "StringSplit" => {
            "text is split before a model sees it: make one column per word or token in features.sql"
        }
        "Loop" | "If" | "SequenceMap" => "export the estimator without loops or branches",
        _ => "move this step to features.sql or export it with other operators",
    }))
}

fn wiring<'a>(node: &'a NodeProto, known: &mut HashSet<&'a str>) -> Result<(), ModelError> {
    if node.output.iter().all(String::is_empty) {
        return Err(node_error(node, "it has no output; the file is damaged or not an export"));
    }
    if let Some(missing) =
        node.input.iter().find(|input| !input.is_empty() && !known.contains(input.as_str()))
    {
        return Err(node_error(
            node,
            format!("it reads `{missing}`, which no input, constant or earlier node gives"),
        ));
    }
    for output in node.output.iter().filter(|output| !output.is_empty()) {
        if !known.insert(output) {
            return Err(node_error(
                node,
                format!("its output `{output}` is already defined; names must be unique"),
            ));
        }
    }
    Ok(())
}
