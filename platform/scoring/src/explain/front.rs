//! From a batch to the columns that a tree ensemble or linear model reads, and back to the feature
//! columns that they come from.

use std::collections::{HashMap, HashSet};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Schema;
use tract_onnx::pb::{ModelProto, ValueInfoProto};

use super::lineage::{self, Lineage};
use crate::accept::{Rejected, Strings, accept};
use crate::bind::{self, BoundColumn};
use crate::columns::FloatColumn;
use crate::defaults::NullDefaults;
use crate::error::{ModelError, ScoreError};
use crate::graph::Graph;
use crate::limits::ScoringLimits;
use crate::plan::Plan;
use crate::scorer::Scorer;
use crate::signature::{Port, PortKind};

/// Background rows on which the lineage of the model's columns is checked.
const CHECKED_ROWS: usize = 32;

/// What stands before the explained node.
#[derive(Debug)]
pub(super) struct Front {
    source: Source,
    /// The feature column behind each column that the node reads, `None` where it is constant.
    pub(super) players: Vec<Option<usize>>,
}

#[derive(Debug)]
enum Source {
    /// The feature columns themselves.
    Columns(Vec<BoundColumn>),
    /// A part of the model, or the preprocess model.
    Part(Box<Scorer>),
}

/// Columns of the accepted rows of a batch.
pub(super) struct Read {
    pub(super) columns: Vec<FloatColumn>,
    pub(super) rows: usize,
    pub(super) rejected: Vec<Rejected>,
}

/// The graphs of a model with its feature columns.
pub(super) struct Parts<'a> {
    pub(super) graph: &'a Graph,
    pub(super) first: Option<&'a Graph>,
    pub(super) features: &'a Schema,
    pub(super) limits: &'a ScoringLimits,
    /// What stands for nulls; checked against the whole model.
    pub(super) null_defaults: &'a NullDefaults,
    /// Feature columns that contributions are for.
    pub(super) columns: &'a [String],
}

impl Front {
    /// Takes off what stands before a tensor of the model. The error says in words why it cannot be.
    pub(super) fn of(
        parts: &Parts<'_>,
        tensor: &str,
        background: &RecordBatch,
    ) -> Result<Self, String> {
        let words = |error: ModelError| error.to_string();
        let entry = parts.first.unwrap_or(parts.graph);
        let mut bound = bind::inputs(&entry.inputs, entry.feature_names.as_deref(), parts.features)
            .map_err(words)?;
        bind::defaults_of_part(&mut bound, parts.null_defaults).map_err(words)?;
        let lineage = parts.lineage(&bound, tensor)?;
        let direct = parts.first.is_none()
            && matches!(&bound[..], [input] if input.port.name == tensor && input.port.kind.is_float());
        let source = match bound.into_iter().next() {
            Some(input) if direct => Source::Columns(input.columns),
            _ => Source::Part(Box::new(parts.before(tensor).map_err(words)?)),
        };
        let width = match &source {
            Source::Columns(columns) => columns.len(),
            Source::Part(scorer) => scorer.output_schema().fields().len(),
        };
        let players = lineage
            .columns(width)
            .ok_or("its preprocessing makes one value of several feature columns")?;
        let front = Self { source, players };
        front.check(background, parts.columns)?;
        Ok(front)
    }

    /// Whether the node reads doubles.
    pub(super) fn is_double(&self) -> bool {
        match &self.source {
            Source::Columns(columns) => {
                columns.first().is_some_and(|column| column.kind == PortKind::Float64)
            }
            Source::Part(scorer) => {
                scorer.output_ports().first().is_some_and(|port| port.kind == PortKind::Float64)
            }
        }
    }

    pub(super) fn read(&self, features: &RecordBatch) -> Result<Read, ScoreError> {
        let (columns, rows, rejected): (Vec<ArrayRef>, _, _) = match &self.source {
            Source::Columns(columns) => {
                let (columns, rejected) = accept(columns.iter(), features, Strings::Plain)?;
                (columns, features.num_rows() - rejected.len(), rejected)
            }
            Source::Part(part) => {
                let scored = part.score(features)?;
                let rows = scored.outputs.num_rows();
                (scored.outputs.columns().to_vec(), rows, scored.rejected)
            }
        };
        let columns = columns.iter().map(FloatColumn::of).collect::<Result<Vec<_>, _>>()?;
        Ok(Read { columns, rows, rejected })
    }

    /// Changes one feature column of the background at a time; only what is said to come from it may
    /// change.
    fn check(&self, background: &RecordBatch, columns: &[String]) -> Result<(), String> {
        if let Source::Columns(_) = self.source {
            return Ok(());
        }
        let rows = background.num_rows().min(CHECKED_ROWS);
        let last = u32::try_from(background.num_rows().saturating_sub(1)).unwrap_or(u32::MAX);
        let sample = background.slice(0, rows);
        let words = |error: ScoreError| error.to_string();
        let before = self.bits(&sample).map_err(words)?;
        for (player, name) in columns.iter().enumerate() {
            let Some((at, _)) = background.schema_ref().column_with_name(name) else { continue };
            let mut changed = sample.columns().to_vec();
            let other: UInt32Array =
                (0..rows).map(|row| last - u32::try_from(row).unwrap_or(0).min(last)).collect();
            changed[at] =
                take(background.column(at), &other, None).map_err(|error| error.to_string())?;
            let changed = RecordBatch::try_new(sample.schema(), changed)
                .map_err(|error| error.to_string())?;
            let after = self.bits(&changed).map_err(words)?;
            let differs = |(value, source): (usize, &Option<usize>)| {
                before[value] != after[value] && *source != Some(player)
            };
            // Rows that are rejected now would shift the others.
            let comparable =
                before.iter().zip(&after).all(|(before, after)| before.len() == after.len());
            if comparable && self.players.iter().enumerate().any(differs) {
                return Err(format!("its preprocessing spreads feature column `{name}`"));
            }
        }
        Ok(())
    }

    fn bits(&self, batch: &RecordBatch) -> Result<Vec<Vec<u64>>, ScoreError> {
        let read = self.read(batch)?;
        Ok(values(&read).into_iter().map(|column| column.into_iter().map(bits).collect()).collect())
    }
}

fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

/// All values, by column.
pub(super) fn values(read: &Read) -> Vec<Vec<f64>> {
    let column = |column: &FloatColumn| {
        let mut values = vec![0f64; read.rows];
        column.fill(0, &mut values);
        values
    };
    read.columns.iter().map(column).collect()
}

impl Parts<'_> {
    /// The lineage of a tensor of the model.
    fn lineage(&self, bound: &[bind::BoundInput], tensor: &str) -> Result<Lineage, String> {
        let player =
            |column: &BoundColumn| self.columns.iter().position(|name| *name == column.name);
        let inputs = bound.iter().map(|input| {
            let columns = input.columns.iter().map(player).collect();
            (input.port.name.clone(), Lineage::of_columns(columns))
        });
        let mut inputs: HashMap<String, Lineage> = inputs.collect();
        let mut ports: Vec<Port> = bound.iter().map(|input| input.port.clone()).collect();
        if let Some(first) = self.first {
            let outputs: Vec<String> = first.outputs.iter().map(|port| port.name.clone()).collect();
            let widths = self.widths(first, &ports, outputs)?;
            let known = lineage::trace(first, inputs, &widths);
            inputs = HashMap::new();
            ports = Vec::new();
            for input in &self.graph.inputs {
                let output = self.feeds(first, input).ok_or("its input is fed by no output")?;
                let lineage = known.get(&output).cloned().unwrap_or(Lineage::Mixed);
                inputs.insert(input.name.clone(), lineage);
                let width = widths.get(&output).copied();
                ports.push(Port { width, ..input.clone() });
            }
        }
        let widths = self.widths(self.graph, &ports, Vec::new())?;
        let known = lineage::trace(self.graph, inputs, &widths);
        Ok(known.get(tensor).cloned().unwrap_or(Lineage::Mixed))
    }

    /// The output of the preprocess model that feeds an input, as the scorer links them.
    fn feeds(&self, first: &Graph, input: &Port) -> Option<String> {
        let found = |same: &dyn Fn(&str) -> bool| {
            first.outputs.iter().find(|output| same(&output.name)).map(|output| output.name.clone())
        };
        found(&|name| name == input.name)
            .or_else(|| found(&|name| name.eq_ignore_ascii_case(&input.name)))
            .or_else(|| match (&self.graph.inputs[..], &first.outputs[..]) {
                ([_], [output]) => Some(output.name.clone()),
                _ => None,
            })
    }

    /// Widths of the tensors that tracing asks for, and of some more.
    fn widths(
        &self,
        graph: &Graph,
        ports: &[Port],
        more: Vec<String>,
    ) -> Result<HashMap<String, usize>, String> {
        let mut names = lineage::asks_width(graph);
        names.extend(more);
        names.sort_unstable();
        names.dedup();
        let mut widths: HashMap<String, usize> =
            ports.iter().filter_map(|port| Some((port.name.clone(), port.width?))).collect();
        names.retain(|name| !widths.contains_key(name));
        if names.is_empty() {
            return Ok(widths);
        }
        let cut = ending_in(graph, &names);
        let plan = Graph::of(cut, self.limits)
            .and_then(|cut| Plan::compile(&cut, ports, self.limits))
            .map_err(|error| error.to_string())?;
        widths
            .extend(plan.outputs.iter().filter_map(|port| Some((port.name.clone(), port.width?))));
        Ok(widths)
    }

    /// What stands before a tensor of the model, as a scorer.
    fn before(&self, tensor: &str) -> Result<Scorer, ModelError> {
        if let (Some(first), Some(input)) =
            (self.first, self.graph.inputs.iter().find(|input| input.name == tensor))
        {
            let output = self.feeds(first, input).unwrap_or_default();
            let cut = Graph::of(ending_in(first, &[output]), self.limits)?;
            return Scorer::of(&cut, None, self.features, self.limits)?
                .with_null_defaults_of_part(self.null_defaults);
        }
        let cut = Graph::of(ending_in(self.graph, &[tensor.to_owned()]), self.limits)?;
        Scorer::of(&cut, self.first, self.features, self.limits)?
            .with_null_defaults_of_part(self.null_defaults)
    }
}

/// The part of a graph that some tensors need, with these as its outputs.
fn ending_in(graph: &Graph, tensors: &[String]) -> ModelProto {
    let mut proto = graph.proto.clone();
    let Some(body) = &mut proto.graph else { return proto };
    let mut needed: HashSet<String> = tensors.iter().cloned().collect();
    let mut nodes = Vec::new();
    for node in std::mem::take(&mut body.node).into_iter().rev() {
        if node.output.iter().any(|output| needed.contains(output)) {
            needed.extend(node.input.iter().cloned());
            nodes.push(node);
        }
    }
    nodes.reverse();
    body.node = nodes;
    body.initializer.retain(|constant| needed.contains(&constant.name));
    body.input.retain(|input| needed.contains(&input.name));
    body.output = tensors
        .iter()
        .map(|name| ValueInfoProto { name: name.clone(), ..ValueInfoProto::default() })
        .collect();
    proto
}
