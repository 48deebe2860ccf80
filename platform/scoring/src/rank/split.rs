//! Taking a graph apart: what depends on the customer alone, on the item alone, and on both.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::bind::{Entry, Side};
use super::part::{Body, PartInput, node};

/// Operators that are moved behind the cut where their result would be cut: what they give is no
/// row of values per customer or item.
const NEVER_CUT: [&str; 3] = ["Unsqueeze", "Transpose", "Shape"];

/// What a tensor depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Constant,
    One(Side),
    Joint,
}

impl Class {
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Constant, class) | (class, Self::Constant) => class,
            (Self::One(a), Self::One(b)) if a == b => self,
            _ => Self::Joint,
        }
    }
}

/// A tensor that one side computes and the joint part reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) side: Side,
    pub(super) tensor: String,
}

/// Where the graph is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// As late as possible: each side computes all that it can by itself.
    Deep,
    /// At the inputs: the joint part is the whole model.
    Inputs,
}

/// A graph that was taken apart.
pub(super) struct Split<'a> {
    graph: &'a GraphProto,
    entries: &'a [Entry],
    classes: HashMap<&'a str, Class>,
    pub(super) cuts: Vec<Cut>,
}

impl<'a> Split<'a> {
    pub(super) fn new(graph: &'a GraphProto, entries: &'a [Entry], depth: Depth) -> Self {
        let mut split = Self { graph, entries, classes: HashMap::new(), cuts: Vec::new() };
        split.classify(depth);
        if depth == Depth::Deep {
            while split.move_behind_the_cut() {}
        }
        split.find_cuts();
        split
    }

    pub(super) fn class(&self, tensor: &str) -> Class {
        self.classes.get(tensor).copied().unwrap_or(Class::Joint)
    }

    /// Position of a tensor among the cuts.
    pub(super) fn cut(&self, tensor: &str) -> Option<usize> {
        self.cuts.iter().position(|cut| cut.tensor == tensor)
    }

    /// The node that gives a tensor.
    pub(super) fn producer(&self, tensor: &str) -> Option<&'a NodeProto> {
        self.graph.node.iter().find(|node| node.output.iter().any(|output| output == tensor))
    }

    /// A constant by its name: a tensor of the graph, or the value of a `Constant` node.
    pub(super) fn constant(&self, name: &str) -> Option<&'a TensorProto> {
        self.graph.initializer.iter().find(|tensor| tensor.name == name).or_else(|| {
            let node = self.producer(name).filter(|node| node.op_type == "Constant")?;
            node.attribute.iter().find_map(|attribute| attribute.t.as_ref())
        })
    }

    pub(super) fn outputs(&self) -> impl Iterator<Item = &'a str> {
        self.graph.output.iter().map(|output| output.name.as_str())
    }

    fn classify(&mut self, depth: Depth) {
        for tensor in &self.graph.initializer {
            self.classes.insert(&tensor.name, Class::Constant);
        }
        for entry in self.entries {
            self.classes.insert(&entry.name, entry.side().map_or(Class::Joint, Class::One));
        }
        for node in &self.graph.node {
            let inputs = node.input.iter().filter(|input| !input.is_empty());
            let class = inputs.fold(Class::Constant, |class, input| class.with(self.class(input)));
            let class = match (class, depth) {
                (Class::One(_), Depth::Inputs) => Class::Joint,
                (class, _) => class,
            };
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                self.classes.insert(output, class);
            }
        }
    }

    /// Moves nodes that must not be cut off from one side to the joint part; `false` when none is left.
    fn move_behind_the_cut(&mut self) -> bool {
        let read_jointly: HashSet<&str> = self
            .graph
            .node
            .iter()
            .filter(|node| self.class(&node.output[0]) == Class::Joint)
            .flat_map(|node| node.input.iter().map(String::as_str))
            .collect();
        let mut moved = false;
        for node in &self.graph.node {
            let cut = node.output.iter().any(|output| read_jointly.contains(output.as_str()));
            let never = NEVER_CUT.contains(&node.op_type.as_str()) || self.raises_rank(node);
            if cut && never && matches!(self.class(&node.output[0]), Class::One(_)) {
                for output in &node.output {
                    self.classes.insert(output, Class::Joint);
                }
                moved = true;
            }
        }
        moved
    }

    /// Whether a node reshapes rows into something else than rows.
    fn raises_rank(&self, node: &NodeProto) -> bool {
        node.op_type == "Reshape"
            && node
                .input
                .get(1)
                .and_then(|shape| self.constant(shape))
                .is_some_and(|shape| shape.dims != [2])
    }

    fn find_cuts(&mut self) {
        let mut cuts: Vec<Cut> = Vec::new();
        let mut add = |tensor: &str, class: Class| {
            if let Class::One(side) = class
                && !cuts.iter().any(|cut| cut.tensor == tensor)
            {
                cuts.push(Cut { side, tensor: tensor.to_owned() });
            }
        };
        for node in &self.graph.node {
            if node.output.iter().any(|output| self.class(output) == Class::Joint) {
                for input in node.input.iter().filter(|input| !input.is_empty()) {
                    add(input, self.class(input));
                }
            }
        }
        for output in self.outputs() {
            add(output, self.class(output));
        }
        // A matrix of columns of both sides: its columns are cut, and put together again.
        for entry in self.entries.iter().filter(|entry| entry.side().is_none()) {
            for side in [Side::Customer, Side::Item] {
                cuts.push(Cut { side, tensor: mixed(side, &entry.name) });
            }
        }
        self.cuts = cuts;
    }

    /// The part of one side: from columns to its cuts. Output `i` is called as [`cut_name`] says.
    pub(super) fn side(&self, side: Side) -> (Vec<PartInput>, Body) {
        let own = |entry: &&Entry| entry.side() == Some(side);
        let mut inputs: Vec<PartInput> = self.entries.iter().filter(own).map(input).collect();
        for entry in self.entries.iter().filter(|entry| entry.side().is_none()) {
            let sources = entry.sources.iter().filter(|source| source.side == side);
            inputs.push(PartInput {
                tensor: mixed(side, &entry.name),
                columns: sources.map(|source| source.column.clone()).collect(),
                kind: entry.kind,
                vector: false,
            });
        }
        let cuts: Vec<&str> = self.own_cuts(side).map(|cut| cut.tensor.as_str()).collect();
        let mut body = self.body(&cuts, |class| class != Class::Joint);
        for (at, cut) in cuts.iter().enumerate() {
            let name = cut_name(side, at);
            body.nodes.push(node("Identity", vec![(*cut).to_owned()], &name));
            body.outputs.push(name);
        }
        let read: HashSet<&str> =
            body.nodes.iter().flat_map(|node| node.input.iter().map(String::as_str)).collect();
        inputs.retain(|input| read.contains(input.tensor.as_str()));
        (inputs, body)
    }

    /// The cuts of one side, in the order of its part's outputs.
    pub(super) fn own_cuts(&self, side: Side) -> impl Iterator<Item = &Cut> {
        self.cuts.iter().filter(move |cut| cut.side == side)
    }

    /// The joint part, given what columns each cut has become.
    pub(super) fn joint(&self, cut_inputs: impl Fn(&Cut) -> PartInput) -> (Vec<PartInput>, Body) {
        let outputs: Vec<&str> = self.outputs().collect();
        let mut body = self.body(&outputs, |class| !matches!(class, Class::One(_)));
        let mut inputs = Vec::new();
        for cut in self.cuts.iter().filter(|cut| self.classes.contains_key(cut.tensor.as_str())) {
            let mut input = cut_inputs(cut);
            input.tensor.clone_from(&cut.tensor);
            if outputs.contains(&cut.tensor.as_str()) {
                // An output needs a node that gives it.
                input.tensor = format!("cameo.cut.{}", cut.tensor);
                body.nodes.insert(0, node("Identity", vec![input.tensor.clone()], &cut.tensor));
            }
            inputs.push(input);
        }
        for entry in self.entries.iter().filter(|entry| entry.side().is_none()) {
            let parts = [Side::Customer, Side::Item].map(|side| {
                let cut = Cut { side, tensor: mixed(side, &entry.name) };
                cut_inputs(&cut).columns.into_iter()
            });
            let [mut customer, mut item] = parts;
            let columns = entry.sources.iter().filter_map(|source| match source.side {
                Side::Customer => customer.next(),
                Side::Item => item.next(),
            });
            inputs.push(PartInput {
                tensor: entry.name.clone(),
                columns: columns.collect(),
                kind: entry.kind,
                vector: false,
            });
        }
        body.outputs = outputs.into_iter().map(str::to_owned).collect();
        (inputs, body)
    }

    /// The nodes that lead to `targets` and are of the wanted classes, with their constants.
    fn body(&self, targets: &[&str], wanted: impl Fn(Class) -> bool) -> Body {
        let mut needed: HashSet<&str> = targets.iter().copied().collect();
        let mut nodes = Vec::new();
        for node in self.graph.node.iter().rev() {
            let mut outputs = node.output.iter().filter(|output| !output.is_empty());
            let used = outputs
                .any(|output| needed.contains(output.as_str()) && wanted(self.class(output)));
            if used {
                needed.extend(node.input.iter().map(String::as_str));
                nodes.push(node.clone());
            }
        }
        nodes.reverse();
        let constants = self.graph.initializer.iter();
        let constants = constants.filter(|tensor| needed.contains(tensor.name.as_str())).cloned();
        Body { nodes, constants: constants.collect(), outputs: Vec::new() }
    }
}

/// Name of an output of a side's part.
pub(super) fn cut_name(side: Side, at: usize) -> String {
    match side {
        Side::Customer => format!("customer_cut_{at}"),
        Side::Item => format!("item_cut_{at}"),
    }
}

fn mixed(side: Side, entry: &str) -> String {
    match side {
        Side::Customer => format!("cameo.customer.{entry}"),
        Side::Item => format!("cameo.item.{entry}"),
    }
}

fn input(entry: &Entry) -> PartInput {
    PartInput {
        tensor: entry.name.clone(),
        columns: entry.sources.iter().map(|source| source.column.clone()).collect(),
        kind: entry.kind,
        vector: entry.vector,
    }
}
