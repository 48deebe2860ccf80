//! A model that takes much time and space for every row, and does nothing.
//!
//! Written by hand in ONNX's format, because nobody would want its weights in the repository: the outputs of
//! `tests/models/level.onnx`, plus the input through a square matrix of [`WIDTH`] by [`WIDTH`], times nothing.

/// Rows and columns of the matrix: 16 MiB of weights, and four million multiplications a row.
const WIDTH: u64 = 2_048;
const FLOAT: u64 = 1;
const INT64: u64 = 7;

/// The model's file.
pub(crate) fn model() -> Vec<u8> {
    let weights = |name: &str, rows: u64, columns: u64, value: f32| {
        let count = usize::try_from(rows * columns).expect("it fits");
        tensor(name, &[rows, columns], &value.to_le_bytes().repeat(count))
    };
    let graph = [
        node("Cast", &["visits"], "visits_float", Some(("to", FLOAT))),
        node("Add", &["level", "visits_float"], "plain", None),
        node("MatMul", &["plain", "widening"], "wide", None),
        node("MatMul", &["wide", "square"], "squared", None),
        node("MatMul", &["squared", "narrowing"], "nothing", None),
        node("Add", &["plain", "nothing"], "score", None),
        node("Mul", &["score", "two"], "twin", None),
        message(2, b"giant"),
        message(5, &weights("widening", 1, WIDTH, 0.5)),
        message(5, &weights("square", WIDTH, WIDTH, 0.25)),
        message(5, &weights("narrowing", WIDTH, 1, 0.0)),
        message(5, &tensor("two", &[1], &2.0_f32.to_le_bytes())),
        message(11, &value("level", FLOAT)),
        message(11, &value("visits", INT64)),
        message(12, &value("score", FLOAT)),
        message(12, &value("twin", FLOAT)),
    ]
    .concat();
    let operators = [message(1, b""), number(2, 17)].concat();
    [number(1, 8), message(7, &graph), message(8, &operators)].concat()
}

fn node(operator: &str, inputs: &[&str], output: &str, attribute: Option<(&str, u64)>) -> Vec<u8> {
    let mut node: Vec<u8> = inputs.iter().flat_map(|input| message(1, input.as_bytes())).collect();
    node.extend(message(2, output.as_bytes()));
    node.extend(message(4, operator.as_bytes()));
    if let Some((name, value)) = attribute {
        // Of the type INT.
        let attribute = [message(1, name.as_bytes()), number(3, value), number(20, 2)].concat();
        node.extend(message(5, &attribute));
    }
    message(1, &node)
}

fn tensor(name: &str, shape: &[u64], values: &[u8]) -> Vec<u8> {
    let mut tensor: Vec<u8> = shape.iter().flat_map(|length| number(1, *length)).collect();
    tensor.extend(number(2, FLOAT));
    tensor.extend(message(8, name.as_bytes()));
    tensor.extend(message(9, values));
    tensor
}

/// An input or output of N rows and one column.
fn value(name: &str, data_type: u64) -> Vec<u8> {
    let shape = [message(1, &message(2, b"N")), message(1, &number(1, 1))].concat();
    let described = [number(1, data_type), message(2, &shape)].concat();
    [message(1, name.as_bytes()), message(2, &message(1, &described))].concat()
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn message(field: u64, bytes: &[u8]) -> Vec<u8> {
    [&varint(field << 3 | 2), &varint(bytes.len() as u64), bytes].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).expect("seven bits"));
    bytes
}
