//! Just enough of a writer of ONNX files, independent of the reader under test.

/// A message of the protocol-buffer wire format.
#[derive(Debug, Default, Clone)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                self.0.push(low & 0x7f);
                return;
            }
            self.0.push(low | 0x80);
        }
    }

    pub(crate) fn integer(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value.cast_unsigned());
        self
    }

    pub(crate) fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    pub(crate) fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }
}

/// An attribute of a node.
#[derive(Debug, Clone)]
pub(crate) enum Attribute {
    Float(f32),
    Integer(i64),
    Text(&'static str),
    Floats(Vec<f32>),
    Integers(Vec<i64>),
    Texts(Vec<String>),
}

impl Attribute {
    fn encode(&self, name: &str) -> Message {
        let start = Message::default().bytes(1, name.as_bytes());
        match self {
            Self::Float(value) => start.float(2, *value).integer(20, 1),
            Self::Integer(value) => start.integer(3, *value).integer(20, 2),
            Self::Text(value) => start.bytes(4, value.as_bytes()).integer(20, 3),
            Self::Floats(values) => {
                values.iter().fold(start, |all, value| all.float(7, *value)).integer(20, 6)
            }
            Self::Integers(values) => {
                values.iter().fold(start, |all, value| all.integer(8, *value)).integer(20, 7)
            }
            Self::Texts(values) => values
                .iter()
                .fold(start, |all, value| all.bytes(9, value.as_bytes()))
                .integer(20, 8),
        }
    }
}

/// A chain of nodes, each of which reads what the one before gave.
#[derive(Debug)]
pub(crate) struct Chain {
    graph: Message,
    current: String,
    count: usize,
    width: i64,
    element: i64,
}

/// Element types of the format.
pub(crate) const FLOAT: i64 = 1;
pub(crate) const INT64: i64 = 7;

impl Chain {
    pub(crate) fn new(width: usize, element: i64) -> Self {
        let width = i64::try_from(width).expect("small");
        Self { graph: Message::default(), current: "x".to_owned(), count: 0, width, element }
    }

    /// Name of the value that the next node will read.
    pub(crate) fn current(&self) -> String {
        self.current.clone()
    }

    pub(crate) fn floats(&mut self, shape: &[usize], values: &[f32]) -> String {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(shape, FLOAT, &raw)
    }

    pub(crate) fn integers(&mut self, shape: &[usize], values: &[i64]) -> String {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(shape, INT64, &raw)
    }

    fn constant(&mut self, shape: &[usize], element: i64, raw: &[u8]) -> String {
        self.count += 1;
        let name = format!("c{}", self.count);
        let dims = shape.iter().fold(Message::default(), |all, dim| {
            all.integer(1, i64::try_from(*dim).expect("small"))
        });
        let tensor = dims.integer(2, element).bytes(8, name.as_bytes()).bytes(9, raw);
        self.graph = std::mem::take(&mut self.graph).message(5, &tensor);
        name
    }

    /// Adds a node over the current value and further inputs; its first output becomes current.
    pub(crate) fn node(
        &mut self,
        operator: &str,
        further: &[String],
        attributes: &[(&str, Attribute)],
    ) {
        let outputs = self.outputs(operator, further, attributes, 1);
        self.current.clone_from(&outputs[0]);
    }

    pub(crate) fn outputs(
        &mut self,
        operator: &str,
        further: &[String],
        attributes: &[(&str, Attribute)],
        count: usize,
    ) -> Vec<String> {
        const OF_MACHINE_LEARNING: [&str; 11] = [
            "ArrayFeatureExtractor",
            "Binarizer",
            "FeatureVectorizer",
            "Imputer",
            "LabelEncoder",
            "LinearClassifier",
            "LinearRegressor",
            "Normalizer",
            "OneHotEncoder",
            "SVMClassifier",
            "SVMRegressor",
        ];
        self.count += 1;
        let outputs: Vec<String> =
            (0..count).map(|index| format!("v{}_{index}", self.count)).collect();
        let mut node = Message::default().bytes(1, self.current.as_bytes());
        node = further.iter().fold(node, |node, name| node.bytes(1, name.as_bytes()));
        node = outputs.iter().fold(node, |node, name| node.bytes(2, name.as_bytes()));
        node = node.bytes(4, operator.as_bytes());
        for (name, value) in attributes {
            node = node.message(5, &value.encode(name));
        }
        if OF_MACHINE_LEARNING.contains(&operator) || operator == "Scaler" {
            node = node.bytes(7, b"ai.onnx.ml");
        }
        self.graph = std::mem::take(&mut self.graph).message(1, &node);
        outputs
    }

    /// The file, with the named values as outputs.
    pub(crate) fn finish(self, outputs: &[String]) -> Vec<u8> {
        let shape = Message::default()
            .message(1, &Message::default().bytes(2, b"N"))
            .message(1, &Message::default().integer(1, self.width));
        let tensor = Message::default().integer(1, self.element).message(2, &shape);
        let input =
            Message::default().bytes(1, b"x").message(2, &Message::default().message(1, &tensor));
        let graph = outputs
            .iter()
            .fold(self.graph.bytes(2, b"random").message(11, &input), |graph, name| {
                graph.message(12, &Message::default().bytes(1, name.as_bytes()))
            });
        let opset = |domain: &str, version| {
            Message::default().bytes(1, domain.as_bytes()).integer(2, version)
        };
        Message::default()
            .integer(1, 8)
            .message(7, &graph)
            .message(8, &opset("", 17))
            .message(8, &opset("ai.onnx.ml", 3))
            .0
    }
}
