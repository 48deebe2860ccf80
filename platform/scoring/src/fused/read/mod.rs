//! Recognising graphs of the family that [`super`] runs, and turning them into leaves and operations.
//!
//! A value of the graph is followed as a list of columns. Operators that only pick, join or rename
//! columns cost nothing; those that work on one column at a time become steps of its leaf; the others
//! become operations over registers. Whatever is not understood to the last attribute gives `None`,
//! and the graph goes to the general runtime, which runs it or says what is wrong.

mod columns;
mod constant;
mod encoders;
mod models;
mod shape;

use std::collections::HashMap;
use std::rc::Rc;

use tract_onnx::pb::NodeProto;

use super::encode::Encoder;
use super::leaf::{Leaf, Source};
use super::program::{Operation, Program, Run};
use super::step::{Arithmetic, Step};
use crate::error::ModelError;
use crate::forest_stage::{self, Forest};
use crate::graph::Graph;
use crate::scores::Labels;
use crate::signature::{Port, PortKind};
use crate::trees::{self, Model, Precision};
use constant::Constant;

/// Columns that all values of a graph may have together, and steps of one column: bounds the work of
/// recognising a graph, whose nodes may each list many columns.
const ELEMENTS_MAX: usize = 1 << 20;
const STEPS_MAX: usize = 32;
/// Registers of a program; a wider graph goes to the general runtime.
const REGISTERS_MAX: usize = 1 << 14;

/// A graph of the family.
pub(super) struct Recognised {
    pub(super) encoders: Vec<Encoder>,
    pub(super) body: Body,
    pub(super) ports: Vec<Port>,
}

pub(super) enum Body {
    /// Registers that leaves fill, what happens then, and where the outputs are.
    Program { fills: Vec<(usize, Leaf)>, program: Program, outputs: Vec<Output> },
    /// An ensemble over leaves.
    Trees { leaves: Vec<Leaf>, forest: Forest },
}

/// Columns of the outputs, in order.
#[derive(Debug)]
pub(super) enum Output {
    Scores { register: usize },
    Labels { register: usize, labels: Labels, kind: PortKind },
}

/// What is known of a value of the graph.
#[derive(Clone)]
enum Value {
    Constant(Rc<Constant>),
    Matrix(Matrix),
    Choice(Choice),
    /// An output of the ensemble and its type.
    Forest(forest_stage::Source, PortKind),
}

/// Columns with one value per row.
#[derive(Clone)]
struct Matrix {
    elements: Rc<[Element]>,
    shape: Shape,
    kind: PortKind,
    /// Columns of the value that was one-hot encoded, 1 but for a [`Shape::Cube`].
    inner: usize,
    /// Whether its registers belong to this value alone.
    fresh: bool,
}

#[derive(Clone, PartialEq)]
enum Element {
    Leaf(Leaf),
    Register(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `[N]`
    Vector,
    /// `[N, W]`
    Matrix,
    /// `[N, W, K]`, flattened
    Cube,
    /// `[1, N]`
    Row,
}

/// A class index per row, and what it stands for.
#[derive(Clone)]
struct Choice {
    register: usize,
    labels: Rc<Labels>,
    kind: PortKind,
    shape: Shape,
}

struct Reader<'g> {
    values: HashMap<&'g str, Value>,
    /// How often each value is read, by nodes and as an output.
    uses: HashMap<&'g str, usize>,
    program: Program,
    fills: Vec<(usize, Leaf)>,
    encoders: Vec<Encoder>,
    ensemble: Option<(&'g NodeProto, Model, Vec<Leaf>)>,
    elements: usize,
}

/// Recognises a model with an optional preprocess model in front; `bound` are the inputs of the first
/// of the two with their widths settled, `links` the preprocess outputs that feed the model's inputs.
pub(super) fn recognise(
    graph: &Graph,
    first: Option<&Graph>,
    bound: &[Port],
) -> Result<Option<Recognised>, ModelError> {
    let Some(reader) = follow(graph, first, bound) else { return Ok(None) };
    reader.finish(graph)
}

fn follow<'g>(graph: &'g Graph, first: Option<&'g Graph>, bound: &[Port]) -> Option<Reader<'g>> {
    let mut reader = Reader {
        values: HashMap::new(),
        uses: HashMap::new(),
        program: Program::default(),
        fills: Vec::new(),
        encoders: Vec::new(),
        ensemble: None,
        elements: 0,
    };
    let entry = first.unwrap_or(graph);
    reader.bind(entry, bound)?;
    reader.graph(entry)?;
    if let Some(first) = first {
        reader.link(first, graph)?;
        reader.graph(graph)?;
    }
    Some(reader)
}

impl<'g> Reader<'g> {
    /// Makes the bound columns the values of the inputs.
    fn bind(&mut self, graph: &'g Graph, bound: &[Port]) -> Option<()> {
        let mut column = 0;
        for port in bound {
            let declared = graph.inputs.iter().find(|input| input.name == port.name)?;
            let width = port.width?;
            let elements = (column..column + width).map(|column| {
                Element::Leaf(Leaf { source: Source::Number { column }, steps: Vec::new() })
            });
            column += width;
            let shape = if declared.vector { Shape::Vector } else { Shape::Matrix };
            let matrix = self.matrix(elements.collect(), shape, port.kind)?;
            self.values.insert(&declared.name, Value::Matrix(matrix));
        }
        Some(())
    }

    /// Feeds the outputs of a preprocess model to the inputs of a model, by name or the only one.
    fn link(&mut self, first: &'g Graph, graph: &'g Graph) -> Option<()> {
        let mut fed: Vec<(&'g str, Value)> = Vec::new();
        for input in &graph.inputs {
            let named = |exact: bool| {
                first.outputs.iter().find(|output| {
                    output.name == input.name
                        || (!exact && output.name.eq_ignore_ascii_case(&input.name))
                })
            };
            let lone = graph.inputs.len() == 1 && first.outputs.len() == 1;
            let output = named(true)
                .or_else(|| named(false))
                .or_else(|| lone.then(|| first.outputs.first()).flatten())?;
            let Value::Matrix(matrix) = self.values.get(output.name.as_str())?.clone() else {
                return None;
            };
            let shape = if input.vector { Shape::Vector } else { Shape::Matrix };
            let fits = input.width.is_none_or(|width| width == matrix.elements.len());
            if output.classes.is_some() || matrix.kind != input.kind || !fits {
                return None;
            }
            let width_fits = shape == Shape::Matrix || matrix.elements.len() == 1;
            if !width_fits || matches!(matrix.shape, Shape::Cube | Shape::Row) {
                return None;
            }
            fed.push((&input.name, Value::Matrix(Matrix { shape, fresh: false, ..matrix })));
        }
        // The two graphs have their own names.
        self.values.clear();
        self.uses.clear();
        self.values.extend(fed);
        Some(())
    }

    fn graph(&mut self, graph: &'g Graph) -> Option<()> {
        let proto = graph.proto.graph.as_ref()?;
        for constant in &proto.initializer {
            if let Some(read) = Constant::read(constant) {
                self.values.insert(&constant.name, Value::Constant(Rc::new(read)));
            }
        }
        let read = proto.node.iter().flat_map(|node| &node.input).map(String::as_str);
        for name in read.chain(graph.outputs.iter().map(|output| output.name.as_str())) {
            *self.uses.entry(name).or_insert(0) += 1;
        }
        proto.node.iter().try_for_each(|node| self.node(node))
    }

    fn node(&mut self, node: &'g NodeProto) -> Option<()> {
        let value = match node.op_type.as_str() {
            "Identity" => self.alias(&node.input[..]).map(|(value, _)| value)?,
            "Constant" => {
                let tensor = node.attribute.iter().find(|attribute| attribute.name == "value")?;
                Value::Constant(Rc::new(Constant::read(tensor.t.as_ref()?)?))
            }
            "Cast" => self.cast(node)?,
            "Concat" => self.concat(node)?,
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.reshape(node)?,
            "Gather" | "ArrayFeatureExtractor" => self.pick(node)?,
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(node)?,
            "Scaler" => self.scaler(node)?,
            "Imputer" => self.imputer(node)?,
            "BatchNormalization" => self.batch_normalization(node)?,
            "OneHotEncoder" => self.one_hot_encoder(node)?,
            "LabelEncoder" => self.label_encoder(node)?,
            "Gemm" => self.gemm(node)?,
            "MatMul" => self.matrix_product(node)?,
            "LinearRegressor" => self.linear_regressor(node)?,
            "LinearClassifier" => return self.linear_classifier(node),
            "Softmax" => self.softmax(node)?,
            "Normalizer" => self.normalizer(node)?,
            "ArgMax" => self.largest(node)?,
            operator if trees::is_ensemble(operator) => return self.ensemble(node),
            _ => self.function(node)?,
        };
        self.define(node, 0, value)
    }

    /// Gives an output of a node its value; every other output must be unused.
    fn define(&mut self, node: &'g NodeProto, output: usize, value: Value) -> Option<()> {
        self.values.insert(node.output.get(output)?, value);
        Some(())
    }

    fn ensemble(&mut self, node: &'g NodeProto) -> Option<()> {
        let matrix = self.input(node, 0)?;
        if self.ensemble.is_some() || matrix.kind != PortKind::Float32 {
            return None;
        }
        let leaves = matrix
            .elements
            .iter()
            .map(|element| match element {
                Element::Leaf(leaf) => Some(leaf.clone()),
                Element::Register(_) => None,
            })
            .collect::<Option<Vec<_>>>()?;
        // The general way refuses what is wrong with it, and keeps what doubles have beyond floats.
        let model = trees::read(node).ok()?;
        if model.gives_double() || model.precision() == Precision::Double {
            return None;
        }
        for (index, source) in forest_stage::sources(node).iter().enumerate() {
            if index < node.output.len() {
                let kind = forest_stage::kind_of(*source, &model);
                self.define(node, index, Value::Forest(*source, kind))?;
            }
        }
        self.ensemble = Some((node, model, leaves));
        Some(())
    }

    fn finish(mut self, graph: &Graph) -> Result<Option<Recognised>, ModelError> {
        let values: Option<Vec<Value>> = graph
            .outputs
            .iter()
            .map(|output| self.values.get(output.name.as_str()).cloned())
            .collect();
        let Some(values) = values else { return Ok(None) };
        if let Some((node, model, leaves)) = self.ensemble.take() {
            let sources: Option<Vec<_>> = values
                .iter()
                .map(|value| match value {
                    Value::Forest(source, kind) => Some((*source, *kind)),
                    _ => None,
                })
                .collect();
            let Some(sources) = sources else { return Ok(None) };
            let forest = Forest::over(node, model, leaves.len(), &graph.outputs, sources)?;
            let ports = forest.outputs.clone();
            let body = Body::Trees { leaves, forest };
            return Ok(Some(Recognised { encoders: self.encoders, body, ports }));
        }
        Ok(self.program_over(graph, values))
    }

    fn program_over(mut self, graph: &Graph, values: Vec<Value>) -> Option<Recognised> {
        let mut outputs = Vec::new();
        let mut ports = Vec::new();
        for (declared, value) in graph.outputs.iter().zip(values) {
            let (kind, width, shape) = match value {
                Value::Matrix(matrix) if matrix.kind == PortKind::Float32 => {
                    let run = self.registers(&matrix)?;
                    outputs.extend(
                        (0..run.count).map(|index| Output::Scores { register: run.first + index }),
                    );
                    (PortKind::Float32, run.count, matrix.shape)
                }
                Value::Choice(choice) => {
                    outputs.push(Output::Labels {
                        register: choice.register,
                        labels: choice.labels.as_ref().clone(),
                        kind: choice.kind,
                    });
                    (choice.kind, 1, choice.shape)
                }
                _ => return None,
            };
            let named = declared.classes.as_ref().map_or(width, Vec::len);
            if named != width || !matches!(shape, Shape::Vector | Shape::Matrix) {
                return None;
            }
            ports.push(Port {
                name: declared.name.clone(),
                kind,
                width: Some(width),
                vector: shape == Shape::Vector,
                classes: declared.classes.clone(),
            });
        }
        let body = Body::Program { fills: self.fills, program: self.program, outputs };
        Some(Recognised { encoders: self.encoders, body, ports })
    }
}

/// What every reading of a node needs.
impl Reader<'_> {
    /// A value of columns, within the bound on all of them.
    fn matrix(&mut self, elements: Vec<Element>, shape: Shape, kind: PortKind) -> Option<Matrix> {
        self.elements += elements.len();
        if elements.is_empty() || self.elements > ELEMENTS_MAX {
            return None;
        }
        Some(Matrix { elements: elements.into(), shape, kind, inner: 1, fresh: false })
    }

    fn matrix_of(&mut self, run: Run, shape: Shape) -> Option<Value> {
        let elements = (run.first..run.first + run.count).map(Element::Register).collect();
        let matrix = self.matrix(elements, shape, PortKind::Float32)?;
        Some(Value::Matrix(Matrix { fresh: true, ..matrix }))
    }

    fn input(&self, node: &NodeProto, index: usize) -> Option<Matrix> {
        let name = node.input.get(index)?.as_str();
        match self.values.get(name)? {
            Value::Matrix(matrix) => {
                let alone = self.uses.get(name) == Some(&1);
                Some(Matrix { fresh: matrix.fresh && alone, ..matrix.clone() })
            }
            _ => None,
        }
    }

    fn constant(&self, node: &NodeProto, index: usize) -> Option<Rc<Constant>> {
        match self.values.get(node.input.get(index)?.as_str())? {
            Value::Constant(constant) => Some(Rc::clone(constant)),
            _ => None,
        }
    }

    /// The value of the only input, for an operator that keeps it, and whether it is read elsewhere.
    fn alias(&self, inputs: &[String]) -> Option<(Value, bool)> {
        let name = inputs.first()?.as_str();
        let alone = self.uses.get(name) == Some(&1);
        let value = match self.values.get(name)?.clone() {
            Value::Matrix(matrix) => {
                Value::Matrix(Matrix { fresh: matrix.fresh && alone, ..matrix })
            }
            other => other,
        };
        Some((value, alone))
    }

    fn allocate(&mut self, count: usize) -> Option<Run> {
        let first = self.program.registers;
        self.program.registers += count;
        (self.program.registers <= REGISTERS_MAX).then_some(Run { first, count })
    }

    /// The registers of a value, to be read.
    fn registers(&mut self, matrix: &Matrix) -> Option<Run> {
        match consecutive(&matrix.elements) {
            Some(run) => Some(run),
            None => self.copied(matrix),
        }
    }

    /// The registers of a value, to be overwritten.
    fn own(&mut self, matrix: &Matrix) -> Option<Run> {
        match consecutive(&matrix.elements) {
            Some(run) if matrix.fresh => Some(run),
            _ => self.copied(matrix),
        }
    }

    fn copied(&mut self, matrix: &Matrix) -> Option<Run> {
        let run = self.allocate(matrix.elements.len())?;
        for (element, register) in matrix.elements.iter().zip(run.first..) {
            match element {
                Element::Leaf(leaf) => self.fills.push((register, leaf.clone())),
                Element::Register(from) => {
                    self.program.operations.push(Operation::Copy { from: *from, to: register });
                }
            }
        }
        Some(run)
    }

    /// Applies a step to every column.
    fn apply(&mut self, matrix: &Matrix, step: Step) -> Option<Value> {
        let steps = vec![step; matrix.elements.len()];
        if let Some(leaves) = self.on_leaves(matrix, &steps) {
            return Some(leaves);
        }
        let run = self.own(matrix)?;
        self.program.operations.push(Operation::Step { step, run });
        self.matrix_of(run, matrix.shape)
    }

    /// Appends a step to the leaf of every column; `None` when a column is no leaf.
    fn on_leaves(&mut self, matrix: &Matrix, steps: &[Step]) -> Option<Value> {
        let elements = matrix
            .elements
            .iter()
            .zip(steps)
            .map(|(element, step)| match element {
                Element::Leaf(leaf) if leaf.steps.len() < STEPS_MAX => {
                    let mut leaf = leaf.clone();
                    leaf.steps.push(*step);
                    Some(Element::Leaf(leaf))
                }
                _ => None,
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Value::Matrix(self.matrix(elements, matrix.shape, PortKind::Float32)?))
    }

    /// Applies an operator with one constant per column.
    fn with_constants(
        &mut self,
        matrix: &Matrix,
        kind: Arithmetic,
        constants: Vec<f32>,
    ) -> Option<Value> {
        let steps: Vec<Step> =
            constants.iter().map(|constant| Step::Arithmetic(kind, *constant)).collect();
        if let Some(leaves) = self.on_leaves(matrix, &steps) {
            return Some(leaves);
        }
        let run = self.own(matrix)?;
        if !self.becomes_intercept(kind, run, &constants) {
            let operation = Operation::Arithmetic { kind, first: run.first, constants };
            self.program.operations.push(operation);
        }
        self.matrix_of(run, matrix.shape)
    }

    /// Adding to the sums of the last product is what its intercepts do.
    fn becomes_intercept(&mut self, kind: Arithmetic, run: Run, constants: &[f32]) -> bool {
        let Some(Operation::Dense { dense, to, .. }) = self.program.operations.last_mut() else {
            return false;
        };
        let without = dense.intercepts.iter().all(|value| value.to_bits() == (-0f32).to_bits());
        let same = *to == run.first && dense.outputs() == run.count;
        if kind != Arithmetic::Add || !without || !same {
            return false;
        }
        dense.intercepts.copy_from_slice(constants);
        true
    }
}

/// Whether a kind of values reads as the nearest `f32`.
fn is_number(kind: PortKind) -> bool {
    matches!(kind, PortKind::Float32 | PortKind::Int64 | PortKind::Int32)
}

fn consecutive(elements: &[Element]) -> Option<Run> {
    let Element::Register(first) = elements.first()? else { return None };
    let run = Run { first: *first, count: elements.len() };
    elements
        .iter()
        .zip(run.first..)
        .all(|(element, register)| *element == Element::Register(register))
        .then_some(run)
}
