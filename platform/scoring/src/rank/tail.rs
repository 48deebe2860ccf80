//! What a two-tower model does with the dot product: biases, a scale, a squashing function.

use tract_onnx::pb::tensor_proto::DataType as TensorType;
use tract_onnx::pb::{NodeProto, TensorProto};

use super::bind::Side;
use super::split::{Class, Split};

/// A step that keeps the order of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    Add(f32),
    Multiply(f32),
    /// Adds what the customer's part gives as this cut.
    AddCustomer(usize),
    Sigmoid,
    Tanh,
}

/// A graph whose score is a dot product of two cuts and steps that keep the order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DotProduct {
    /// Cut with the customers' vectors.
    pub(super) customer: usize,
    /// Cut with the items' vectors.
    pub(super) item: usize,
    /// Cut that is added per item.
    pub(super) item_bias: Option<usize>,
    /// What follows, in order.
    pub(super) steps: Vec<Step>,
}

impl DotProduct {
    /// Recognises the graph; `None` for any other.
    pub(super) fn recognise(split: &Split<'_>) -> Option<Self> {
        let mut outputs = split.outputs();
        let (mut tensor, None) = (outputs.next()?, outputs.next()) else { return None };
        // The cut, and how many of the steps lie outside of it.
        let mut item_bias: Option<(usize, usize)> = None;
        let mut steps: Vec<Step> = Vec::new();
        // The graph is finite and without cycles, so this ends.
        loop {
            let node = split.producer(tensor)?;
            if let Some((customer, item)) = product(split, node) {
                // The kernel adds the bias to the product itself, so only sums may come before it.
                let sums = |step: &Step| matches!(step, Step::Add(_) | Step::AddCustomer(_));
                if item_bias.is_some_and(|(_, outside)| !steps[outside..].iter().all(sums)) {
                    return None;
                }
                steps.reverse();
                return Some(Self {
                    customer,
                    item,
                    item_bias: item_bias.map(|(cut, _)| cut),
                    steps,
                });
            }
            match node.op_type.as_str() {
                "Identity" | "Squeeze" | "Unsqueeze" | "Flatten" | "Reshape" => {
                    tensor = node.input.first()?;
                }
                "Cast" if cast_to_float(node) => {
                    tensor = node.input.first()?;
                }
                "Sigmoid" => {
                    steps.push(Step::Sigmoid);
                    tensor = node.input.first()?;
                }
                "Tanh" => {
                    steps.push(Step::Tanh);
                    tensor = node.input.first()?;
                }
                "Add" => {
                    let (rest, other) = operands(split, node)?;
                    match split.class(other) {
                        Class::Constant => steps.push(Step::Add(scalar(split, other)?)),
                        Class::One(Side::Customer) => {
                            steps.push(Step::AddCustomer(split.cut(other)?));
                        }
                        Class::One(Side::Item) if item_bias.is_none() => {
                            item_bias = Some((split.cut(other)?, steps.len()));
                        }
                        _ => return None,
                    }
                    tensor = rest;
                }
                "Sub" => {
                    let [rest, other] = &node.input[..] else { return None };
                    steps.push(Step::Add(-scalar(split, other)?));
                    tensor = rest;
                }
                "Mul" => {
                    let (rest, other) = operands(split, node)?;
                    steps.push(Step::Multiply(positive(scalar(split, other)?)?));
                    tensor = rest;
                }
                "Div" => {
                    let [rest, other] = &node.input[..] else { return None };
                    steps.push(Step::Multiply(positive(1.0 / scalar(split, other)?)?));
                    tensor = rest;
                }
                _ => return None,
            }
        }
    }
}

/// The cuts of the customers' and the items' vectors, where a node is their dot product.
fn product(split: &Split<'_>, node: &NodeProto) -> Option<(usize, usize)> {
    match node.op_type.as_str() {
        "ReduceSum" => {
            let multiply =
                split.producer(node.input.first()?).filter(|node| node.op_type == "Mul")?;
            pair(split, &multiply.input)
        }
        "MatMul" => {
            let operands: Option<Vec<&str>> =
                node.input.iter().map(|input| unshaped(split, input)).collect();
            pair(split, &operands?)
        }
        "Einsum" => {
            let equation = node.attribute.iter().find(|attribute| attribute.name == "equation")?;
            let equation: Vec<u8> =
                equation.s.iter().copied().filter(|letter| !letter.is_ascii_whitespace()).collect();
            let &[row, value, b',', same_row, same_value, b'-', b'>', kept] = &equation[..] else {
                return None;
            };
            let by_row = row == same_row && value == same_value && row == kept && row != value;
            by_row.then(|| pair(split, &node.input))?
        }
        _ => None,
    }
}

/// The cut behind nodes that only arrange values.
fn unshaped<'a>(split: &Split<'a>, mut tensor: &'a str) -> Option<&'a str> {
    loop {
        if split.cut(tensor).is_some() {
            return Some(tensor);
        }
        let node = split.producer(tensor)?;
        if !matches!(node.op_type.as_str(), "Unsqueeze" | "Reshape" | "Transpose" | "Identity") {
            return None;
        }
        tensor = node.input.first()?;
    }
}

fn pair<T: AsRef<str>>(split: &Split<'_>, operands: &[T]) -> Option<(usize, usize)> {
    let [a, b] = operands else { return None };
    let (a, b) = (split.cut(a.as_ref())?, split.cut(b.as_ref())?);
    match (split.cuts[a].side, split.cuts[b].side) {
        (Side::Customer, Side::Item) => Some((a, b)),
        (Side::Item, Side::Customer) => Some((b, a)),
        _ => None,
    }
}

/// The operand that depends on both sides, and the other one.
fn operands<'a>(split: &Split<'_>, node: &'a NodeProto) -> Option<(&'a str, &'a str)> {
    let [a, b] = &node.input[..] else { return None };
    match (split.class(a), split.class(b)) {
        (Class::Joint, Class::Joint) => None,
        (Class::Joint, _) => Some((a, b)),
        (_, Class::Joint) => Some((b, a)),
        _ => None,
    }
}

fn positive(factor: f32) -> Option<f32> {
    (factor.is_finite() && factor > 0.0).then_some(factor)
}

fn cast_to_float(node: &NodeProto) -> bool {
    let to = node.attribute.iter().find(|attribute| attribute.name == "to");
    to.is_some_and(|to| to.i == i64::from(TensorType::Float as i32))
}

/// The value of a constant that has one.
fn scalar(split: &Split<'_>, name: &str) -> Option<f32> {
    let tensor: &TensorProto = split.constant(name)?;
    if tensor.data_type != TensorType::Float as i32 {
        return None;
    }
    match (&tensor.raw_data[..], &tensor.float_data[..]) {
        (&[a, b, c, d], []) => Some(f32::from_le_bytes([a, b, c, d])),
        ([], [value]) => Some(*value),
        _ => None,
    }
}

/// Applies the steps after the dot product; `customer` gives the value of a cut.
pub(super) fn apply(steps: &[Step], product: f32, customer: impl Fn(usize) -> f32) -> f32 {
    steps.iter().fold(product, |score, step| match step {
        Step::Add(value) => score + value,
        Step::Multiply(factor) => score * factor,
        Step::AddCustomer(cut) => score + customer(*cut),
        Step::Sigmoid => sigmoid(score),
        Step::Tanh => score.tanh(),
    })
}

/// Computed on the side where the exponential cannot overflow.
fn sigmoid(score: f32) -> f32 {
    let upper = 1.0 / (1.0 + (-score.abs()).exp());
    if score < 0.0 { 1.0 - upper } else { upper }
}
