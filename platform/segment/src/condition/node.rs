//! A condition that was read: typed, with every name found.

use cameo_domain::{ColumnName, DataType, NameError, ServiceName};
use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

/// A prediction column of one of the tenant's services.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ColumnRef {
    /// The service.
    pub service: ServiceName,
    /// Its column, as the service declares it.
    pub column: ColumnName,
}

impl fmt::Display for ColumnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.column)
    }
}

impl From<ColumnRef> for String {
    fn from(column: ColumnRef) -> Self {
        column.to_string()
    }
}

impl TryFrom<String> for ColumnRef {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        // Without a point the service is missing, which is no name.
        let (service, column) = text.split_once('.').unwrap_or(("", &text));
        Ok(Self { service: service.parse()?, column: column.parse()? })
    }
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Int(i64),
    Float(f64),
    Text(String),
    Bool(bool),
    Date(NaiveDate),
    Timestamp(DateTime<Utc>),
}

impl Literal {
    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Self::Int(_) => DataType::Int,
            Self::Float(_) => DataType::Float64,
            Self::Text(_) => DataType::String,
            Self::Bool(_) => DataType::Bool,
            Self::Date(_) => DataType::Date,
            Self::Timestamp(_) => DataType::Timestamp,
        }
    }
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// Arithmetic over two numbers of one type; a division is always of `FLOAT64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Operation {
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
        }
    }
}

/// What `IS` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    Null,
    True,
    False,
}

/// A piece of a `LIKE` pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// This very character.
    Just(char),
    /// `_`: any one character.
    One,
    /// `%`: any characters, also none.
    Any,
}

/// An expression. Operands of comparisons, lists and arithmetic have one type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// Position in the condition's columns.
    Column(usize),
    Literal(Literal),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    Between {
        value: Box<Node>,
        low: Box<Node>,
        high: Box<Node>,
        negated: bool,
    },
    In {
        value: Box<Node>,
        list: Vec<Literal>,
        negated: bool,
    },
    Like {
        value: Box<Node>,
        pattern: Vec<Piece>,
        negated: bool,
    },
    Is {
        value: Box<Node>,
        test: Test,
        negated: bool,
    },
    Arithmetic(Operation, Box<Node>, Box<Node>),
    Negative(Box<Node>),
    Coalesce(Vec<Node>),
    Lower(Box<Node>),
    Upper(Box<Node>),
    Cast(Box<Node>, DataType),
    /// An `INT` where a `FLOAT64` is needed: what SQL does of itself, so it is not shown.
    Widen(Box<Node>),
}

impl Node {
    /// The operands.
    pub(crate) fn operands(&self) -> Vec<&Node> {
        match self {
            Self::Column(_) | Self::Literal(_) => Vec::new(),
            Self::And(nodes) | Self::Or(nodes) | Self::Coalesce(nodes) => nodes.iter().collect(),
            Self::Compare(_, left, right) | Self::Arithmetic(_, left, right) => vec![left, right],
            Self::Between { value, low, high, .. } => vec![value, low, high],
            Self::Not(value)
            | Self::In { value, .. }
            | Self::Like { value, .. }
            | Self::Is { value, .. }
            | Self::Negative(value)
            | Self::Lower(value)
            | Self::Upper(value)
            | Self::Cast(value, _)
            | Self::Widen(value) => vec![value],
        }
    }

    /// Calls `visit` with the position of every column below.
    pub(crate) fn visit_columns(&self, visit: &mut impl FnMut(usize)) {
        if let Self::Column(at) = self {
            visit(*at);
        }
        for operand in self.operands() {
            operand.visit_columns(visit);
        }
    }
}
