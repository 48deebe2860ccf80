//! Hostile models that are too large to be kept as files: written as they are needed.

/// A message of the protocol-buffer wire format.
#[derive(Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    fn integer(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }
}

fn node(operator: &str, inputs: &[&str], output: &str) -> Message {
    let inputs = inputs.iter().fold(Message::default(), |all, name| all.bytes(1, name.as_bytes()));
    inputs.bytes(2, output.as_bytes()).bytes(3, output.as_bytes()).bytes(4, operator.as_bytes())
}

/// A matrix of floats with four columns and any number of rows.
fn port(name: &str) -> Message {
    let rows = Message::default().bytes(2, b"N");
    let columns = Message::default().integer(1, 4);
    let shape = Message::default().message(1, &rows).message(1, &columns);
    let tensor = Message::default().integer(1, 1).message(2, &shape);
    Message::default().bytes(1, name.as_bytes()).message(2, &Message::default().message(1, &tensor))
}

fn model(graph: Message, last: &str) -> Vec<u8> {
    let graph = graph.bytes(2, b"g").message(11, &port("X")).message(12, &port(last));
    let operators = Message::default().bytes(1, b"").integer(2, 13);
    Message::default().integer(1, 8).message(7, &graph).message(8, &operators).0
}

/// A chain of as many nodes, each of which reads the one before.
fn chain(operator: &str, length: usize) -> Vec<u8> {
    let (mut graph, mut last) = (Message::default(), "X".to_owned());
    for at in 0..length {
        let next = format!("n{at}");
        graph = graph.message(1, &node(operator, &[&last], &next));
        last = next;
    }
    model(graph, &last)
}

/// Functions, each of which calls the one below twice: a file of kilobytes that unfolds to 2^40 nodes.
fn laughs() -> Vec<u8> {
    let graph = Message::default().message(1, &node("F40", &["X"], "y"));
    let mut model = Message(model(graph, "y"));
    for level in 1..=40 {
        let below = format!("F{}", level - 1);
        let function = Message::default()
            .bytes(1, format!("F{level}").as_bytes())
            .bytes(4, b"a")
            .bytes(5, b"c")
            .message(7, &node(&below, &["a"], "b"))
            .message(7, &node(&below, &["b"], "c"));
        model = model.message(25, &function);
    }
    model.0
}

/// An `If` within an `If` within an `If`.
fn graphs_in_graphs(depth: usize) -> Vec<u8> {
    let mut inner = Message::default().message(1, &node("Neg", &["X"], "y")).bytes(2, b"inner");
    for _ in 0..depth {
        let branch = |name: &str| {
            Message::default().bytes(1, name.as_bytes()).message(6, &inner).integer(20, 5)
        };
        // One branch holds the next level, the other is short: the file grows with the depth alone.
        let condition = node("If", &["X"], "y").message(5, &branch("then_branch"));
        inner = Message::default().message(1, &condition).bytes(2, b"inner");
    }
    let graph = Message(inner.0);
    model(graph, "y")
}

/// A constant whose dimensions say more than any machine has.
fn constant(dimensions: &[u64]) -> Vec<u8> {
    let tensor = dimensions.iter().fold(Message::default(), |all, dim| all.integer(1, *dim));
    let tensor = tensor.integer(2, 1).bytes(8, b"w").bytes(9, &[0; 16]);
    let graph = Message::default().message(1, &node("Add", &["X", "w"], "y")).message(5, &tensor);
    model(graph, "y")
}

/// A sparse constant of few values in a space of 2^60.
fn sparse() -> Vec<u8> {
    let values = Message::default().integer(1, 1).integer(2, 1).bytes(8, b"w").bytes(9, &[0; 4]);
    let indices = Message::default().integer(1, 1).integer(2, 7).bytes(9, &[0; 8]);
    let sparse = Message::default()
        .message(1, &values)
        .message(2, &indices)
        .integer(3, 1 << 30)
        .integer(3, 1 << 30);
    let graph = Message::default().message(1, &node("Add", &["X", "w"], "y")).message(15, &sparse);
    model(graph, "y")
}

pub(super) fn corpus() -> Vec<(String, Vec<u8>)> {
    let ring = Message::default()
        .message(1, &node("Add", &["X", "b"], "a"))
        .message(1, &node("Neg", &["a"], "b"));
    let many = (0..60_000).fold(Message::default(), |graph, at| {
        let tensor = Message::default().integer(1, 1).integer(2, 1);
        graph.message(5, &tensor.bytes(8, format!("w{at}").as_bytes()).bytes(9, &[0; 4]))
    });
    let many = many.message(1, &node("Neg", &["X"], "y"));
    let name = "n".repeat(4 << 20);
    let named = Message::default().message(1, &node(&name, &["X"], "y"));
    [
        ("a chain of 30,000 nodes", chain("Neg", 30_000)),
        ("functions that unfold to 2^40 nodes", laughs()),
        ("graphs in graphs, 1,000 deep", graphs_in_graphs(1_000)),
        ("dimensions whose product wraps around", constant(&[1 << 32, 1 << 32, 4])),
        ("a dimension of 2^63", constant(&[1 << 63])),
        ("16 dimensions of 2^16", constant(&[1 << 16; 16])),
        ("a sparse constant of 2^60 values", sparse()),
        ("two nodes in a ring", model(ring, "b")),
        ("60,000 constants", model(many, "y")),
        ("an operator with a name of 4 MB", model(named, "y")),
        ("a length of 2^62 in the first field", [vec![0x3a], vec![0xff; 8], vec![0x3f]].concat()),
        ("a varint that never ends", vec![0xff; 1 << 20]),
        ("16 MB of zeros", vec![0; 16 << 20]),
    ]
    .map(|(name, model)| (name.to_owned(), model))
    .into()
}
