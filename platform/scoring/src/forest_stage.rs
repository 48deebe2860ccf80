//! The short way: a graph that is one tree ensemble between casts runs without tract.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int64Array, StringArray};
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType as TensorType;

use crate::error::ModelError;
use crate::graph::{Graph, node_error};
use crate::scores::Labels;
use crate::signature::{Port, PortKind};
use crate::trees::{self, Features, Model};

/// What an output of the graph is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Label,
    Scores,
}

/// A lone tree ensemble.
#[derive(Debug)]
pub(crate) struct Forest {
    model: Model,
    sources: Vec<Source>,
    pub(crate) outputs: Vec<Port>,
}

impl Forest {
    /// Recognises a graph `float matrix → (cast) → ensemble → (cast, ZipMap)`; `None` for any other.
    pub(crate) fn recognise(graph: &Graph, width: usize) -> Result<Option<Self>, ModelError> {
        let [input] = &graph.inputs[..] else { return Ok(None) };
        let mut ensembles = graph.nodes().iter().filter(|node| trees::is_ensemble(&node.op_type));
        let (Some(ensemble), None) = (ensembles.next(), ensembles.next()) else { return Ok(None) };
        if input.vector || input.kind != PortKind::Float32 {
            return Ok(None);
        }
        let mut names: Vec<(&str, Option<Source>)> = vec![(&input.name, None)];
        for node in graph.nodes() {
            let [from] = &node.input[..] else { return Ok(None) };
            let Some((_, source)) = names.iter().find(|(name, _)| name == from).copied() else {
                return Ok(None);
            };
            if std::ptr::eq(node, ensemble) {
                if source.is_some() {
                    return Ok(None);
                }
                let sources = if node.op_type == "TreeEnsembleClassifier" {
                    &[Source::Label, Source::Scores][..]
                } else {
                    &[Source::Scores]
                };
                names.extend(
                    node.output.iter().map(String::as_str).zip(sources.iter().copied().map(Some)),
                );
            } else if keeps_value(node, source, ensemble) {
                let [to] = &node.output[..] else { return Ok(None) };
                names.push((to, source));
            } else {
                return Ok(None);
            }
        }
        let sources: Option<Vec<Source>> = graph
            .outputs
            .iter()
            .map(|output| {
                names.iter().find(|(name, _)| *name == output.name).and_then(|(_, source)| *source)
            })
            .collect();
        let Some(sources) = sources else { return Ok(None) };
        let model = trees::read(ensemble)?;
        if model.feature_count() > width {
            return Err(node_error(
                ensemble,
                format!(
                    "its trees read feature {} and its input has {width} columns",
                    model.feature_count() - 1
                ),
            ));
        }
        let outputs = graph
            .outputs
            .iter()
            .zip(&sources)
            .map(|(declared, source)| output_port(declared, *source, &model))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Self { model, sources, outputs }))
    }

    /// How it is evaluated, in words.
    pub(crate) fn describe(&self) -> String {
        format!("trees straight over the columns ({})", self.model.kernel())
    }

    /// Output columns of `rows` rows.
    pub(crate) fn score(&self, features: &impl Features, rows: usize) -> Vec<ArrayRef> {
        let width = self.model.width();
        let mut scores = vec![0f32; rows * width];
        let mut chosen = vec![0u32; if self.model.labels().is_some() { rows } else { 0 }];
        self.model.score(features, rows, &mut scores, &mut chosen);
        let mut columns: Vec<ArrayRef> = Vec::new();
        for source in &self.sources {
            match (source, self.model.labels()) {
                (Source::Label, Some(Labels::Integers(labels))) => {
                    let column = chosen.iter().map(|index| labels[*index as usize]);
                    columns.push(Arc::new(Int64Array::from_iter_values(column)));
                }
                (Source::Label, Some(Labels::Strings(labels))) => {
                    let column = chosen.iter().map(|index| &labels[*index as usize]);
                    columns.push(Arc::new(StringArray::from_iter_values(column)));
                }
                // A vector of scores is the column already.
                (_, _) if width == 1 => columns.push(Arc::new(Float32Array::from(scores.clone()))),
                (_, _) => columns.extend((0..width).map(|index| -> ArrayRef {
                    let column = scores.iter().skip(index).step_by(width).copied();
                    Arc::new(Float32Array::from_iter_values(column))
                })),
            }
        }
        columns
    }
}

/// Whether a node passes its input on unchanged.
fn keeps_value(node: &NodeProto, source: Option<Source>, ensemble: &NodeProto) -> bool {
    match node.op_type.as_str() {
        "Identity" => true,
        "Cast" => {
            let to = node.get_attr_opt::<i64>("to").ok().flatten();
            let is = |kind: TensorType| to == Some(i64::from(kind as i32));
            match source {
                None | Some(Source::Scores) => is(TensorType::Float),
                Some(Source::Label) => {
                    let strings = ensemble.attribute.iter().any(|attribute| {
                        attribute.name == "classlabels_strings" && !attribute.strings.is_empty()
                    });
                    is(if strings { TensorType::String } else { TensorType::Int64 })
                }
            }
        }
        _ => false,
    }
}

fn output_port(declared: &Port, source: Source, model: &Model) -> Result<Port, ModelError> {
    let (kind, width) = match (source, model.labels()) {
        (Source::Label, Some(Labels::Integers(_))) => (PortKind::Int64, 1),
        (Source::Label, _) => (PortKind::String, 1),
        (Source::Scores, _) => (PortKind::Float32, model.width()),
    };
    if let Some(classes) = declared.classes.as_ref().filter(|classes| classes.len() != width) {
        return Err(ModelError::Graph {
            problem: format!(
                "output `{}`: its ZipMap names {} classes and it has {width} scores per row",
                declared.name,
                classes.len()
            ),
        });
    }
    Ok(Port {
        name: declared.name.clone(),
        kind,
        width: Some(width),
        vector: source == Source::Label,
        classes: declared.classes.clone(),
    })
}
