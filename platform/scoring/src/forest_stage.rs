//! The short way: a graph that is one tree ensemble between casts runs without tract.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array, Int64Array, StringArray};
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType as TensorType;

use crate::columns::Float;
use crate::error::ModelError;
use crate::fused::{self, RowOutput};
use crate::graph::{Graph, node_error};
use crate::scores::Labels;
use crate::signature::{Port, PortKind};
use crate::trees::{self, Features, Matrix, Model};

/// What an output of the graph is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Label,
    Scores,
}

/// A lone tree ensemble.
#[derive(Debug)]
pub(crate) struct Forest {
    model: Box<Model>,
    /// Whether its input is a tensor of doubles.
    pub(crate) reads_doubles: bool,
    /// What each output is, and the type that a cast may have made of it.
    sources: Vec<(Source, PortKind)>,
    pub(crate) outputs: Vec<Port>,
}

impl Forest {
    /// Recognises a graph `float or double matrix → (cast) → ensemble → (cast, ZipMap)`; `None` for
    /// any other.
    pub(crate) fn recognise(graph: &Graph, width: usize) -> Result<Option<Self>, ModelError> {
        let [input] = &graph.inputs[..] else { return Ok(None) };
        let mut ensembles = graph.nodes().iter().filter(|node| trees::is_ensemble(&node.op_type));
        let (Some(ensemble), None) = (ensembles.next(), ensembles.next()) else { return Ok(None) };
        if input.vector || !input.kind.is_float() {
            return Ok(None);
        }
        let entry = Value { name: &input.name, source: None, kind: input.kind };
        let mut values = vec![entry];
        let mut model = None;
        for node in graph.nodes() {
            let [from] = &node.input[..] else { return Ok(None) };
            let Some(from) = values.iter().find(|value| value.name == from).copied() else {
                return Ok(None);
            };
            if std::ptr::eq(node, ensemble) {
                if from.source.is_some() {
                    return Ok(None);
                }
                let read = trees::read(ensemble)?;
                let read = model.insert(match from.kind {
                    PortKind::Float64 => read.for_double_input(),
                    _ => read,
                });
                let given = node.output.iter().zip(sources(ensemble));
                values.extend(given.map(|(name, source)| Value {
                    name,
                    source: Some(*source),
                    kind: kind_of(*source, read),
                }));
            } else if let Some(kind) = passed_on(node, from) {
                let [to] = &node.output[..] else { return Ok(None) };
                values.push(Value { name: to, kind, ..from });
            } else {
                return Ok(None);
            }
        }
        let sources: Option<Vec<(Source, PortKind)>> = graph
            .outputs
            .iter()
            .map(|output| {
                let value = values.iter().find(|value| value.name == output.name)?;
                value.source.map(|source| (source, value.kind))
            })
            .collect();
        let (Some(sources), Some(model)) = (sources, model) else { return Ok(None) };
        let reads_doubles = input.kind == PortKind::Float64;
        Self::over(ensemble, model, width, &graph.outputs, sources)
            .map(|forest| Some(Self { reads_doubles, ..forest }))
    }

    /// An ensemble over `width` features, with what each declared output of the graph is and the type
    /// that a cast may have made of it.
    pub(crate) fn over(
        ensemble: &NodeProto,
        model: Model,
        width: usize,
        declared: &[Port],
        sources: Vec<(Source, PortKind)>,
    ) -> Result<Self, ModelError> {
        if model.feature_count() > width {
            return Err(node_error(
                ensemble,
                format!(
                    "its trees read feature {} and its input has {width} columns",
                    model.feature_count() - 1
                ),
            ));
        }
        let outputs = declared
            .iter()
            .zip(&sources)
            .map(|(declared, (source, kind))| output_port(declared, *source, *kind, &model))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { model: Box::new(model), reads_doubles: false, sources, outputs })
    }

    /// How it is evaluated, in words.
    pub(crate) fn describe(&self) -> String {
        format!("trees straight over the columns ({})", self.model.kernel())
    }

    /// Output columns of `rows` rows.
    pub(crate) fn score(&self, features: &impl Features, rows: usize) -> Vec<ArrayRef> {
        let mut chosen = vec![0u32; if self.model.labels().is_some() { rows } else { 0 }];
        let values = rows * self.model.width();
        if self.model.gives_double() {
            let mut scores = vec![0f64; values];
            self.model.score_double(features, rows, &mut scores, &mut chosen);
            self.columns(&scores, &chosen)
        } else {
            let mut scores = vec![0f32; values];
            self.model.score(features, rows, &mut scores, &mut chosen);
            self.columns(&scores, &chosen)
        }
    }

    fn columns<T: Float>(&self, scores: &[T], chosen: &[u32]) -> Vec<ArrayRef> {
        let width = self.model.width();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (source, kind) in &self.sources {
            match (source, self.model.labels()) {
                (Source::Label, Some(Labels::Integers(labels))) => {
                    let column = chosen.iter().map(|index| labels[*index as usize]);
                    columns.push(Arc::new(Int64Array::from_iter_values(column)));
                }
                (Source::Label, Some(Labels::Strings(labels))) => {
                    let column = chosen.iter().map(|index| &labels[*index as usize]);
                    columns.push(Arc::new(StringArray::from_iter_values(column)));
                }
                (_, _) => columns.extend((0..width).map(|index| -> ArrayRef {
                    let column = scores.iter().skip(index).step_by(width);
                    if *kind == PortKind::Float64 {
                        Arc::new(Float64Array::from_iter_values(column.map(|score| score.double())))
                    } else {
                        Arc::new(Float32Array::from_iter_values(column.map(|score| score.single())))
                    }
                })),
            }
        }
        columns
    }
}

/// Scores and class of one row.
#[derive(Debug)]
pub(crate) struct ForestRow {
    scores: Vec<f32>,
    chosen: Vec<u32>,
}

impl Forest {
    /// Memory for [`Forest::score_row`].
    pub(crate) fn row(&self) -> ForestRow {
        let labels = usize::from(self.model.labels().is_some());
        ForestRow { scores: vec![0.0; self.model.width()], chosen: vec![0; labels] }
    }

    /// Scores one row of features, as many as the ensemble was made for.
    pub(crate) fn score_row(&self, values: &[f32], row: &mut ForestRow) {
        let matrix = Matrix { values, width: values.len() };
        self.model.score(&matrix, 1, &mut row.scores, &mut row.chosen);
    }

    /// The outputs of a scored row, in the order of the columns.
    pub(crate) fn row_outputs<'s>(&'s self, row: &ForestRow, mut each: impl FnMut(RowOutput<'s>)) {
        for (source, _) in &self.sources {
            match (source, self.model.labels(), &row.chosen[..]) {
                (Source::Label, Some(labels), [class]) => {
                    each(fused::label(labels, *class as usize));
                }
                _ => row.scores.iter().for_each(|score| each(RowOutput::Float(*score))),
            }
        }
    }
}

/// A value of the graph on the way.
#[derive(Debug, Clone, Copy)]
struct Value<'a> {
    name: &'a str,
    /// `None` for the features.
    source: Option<Source>,
    kind: PortKind,
}

/// What the outputs of an ensemble are, in order.
pub(crate) fn sources(ensemble: &NodeProto) -> &'static [Source] {
    if ensemble.op_type == "TreeEnsembleClassifier" {
        &[Source::Label, Source::Scores]
    } else {
        &[Source::Scores]
    }
}

/// Type of an output of an ensemble.
pub(crate) fn kind_of(source: Source, model: &Model) -> PortKind {
    match (source, model.labels()) {
        (Source::Label, Some(Labels::Integers(_))) => PortKind::Int64,
        (Source::Label, _) => PortKind::String,
        (Source::Scores, _) if model.gives_double() => PortKind::Float64,
        (Source::Scores, _) => PortKind::Float32,
    }
}

/// The type of what a node passes on of its input, when it does no more than cast.
fn passed_on(node: &NodeProto, from: Value) -> Option<PortKind> {
    match node.op_type.as_str() {
        "Identity" => Some(from.kind),
        "Cast" => {
            let to = node.get_attr_opt::<i64>("to").ok().flatten()?;
            let to = [
                (TensorType::Float, PortKind::Float32),
                (TensorType::Double, PortKind::Float64),
                (TensorType::Int64, PortKind::Int64),
                (TensorType::String, PortKind::String),
            ]
            .into_iter()
            .find_map(|(code, kind)| (i64::from(code as i32) == to).then_some(kind))?;
            match (from.source, from.kind, to) {
                (_, from, to) if from == to => Some(to),
                // Features are rounded when they are read, scores are cast when they are written.
                (None, PortKind::Float64, PortKind::Float32)
                | (Some(Source::Scores), PortKind::Float32, PortKind::Float64) => Some(to),
                _ => None,
            }
        }
        _ => None,
    }
}

fn output_port(
    declared: &Port,
    source: Source,
    kind: PortKind,
    model: &Model,
) -> Result<Port, ModelError> {
    let width = if source == Source::Scores { model.width() } else { 1 };
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
