//! The canonical text of a condition: every column with its service, one spelling for each thing.

use std::fmt::{self, Write};

use chrono::SecondsFormat;

use super::{
    Condition,
    node::{Literal, Node, Piece, Test},
};

/// How tightly a node binds; an operand that binds less tightly than its place stands in brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tightness {
    Or,
    And,
    Not,
    Comparison,
    Sum,
    Product,
    Value,
}

fn tightness(node: &Node) -> Tightness {
    use super::node::Operation::{Add, Subtract};
    match node {
        Node::Or(_) => Tightness::Or,
        Node::And(_) => Tightness::And,
        Node::Not(_) => Tightness::Not,
        Node::Compare(..)
        | Node::Between { .. }
        | Node::In { .. }
        | Node::Like { .. }
        | Node::Is { .. } => Tightness::Comparison,
        Node::Arithmetic(Add | Subtract, ..) => Tightness::Sum,
        Node::Arithmetic(..) => Tightness::Product,
        Node::Widen(inner) => tightness(inner),
        _ => Tightness::Value,
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printer { condition: self }.node(f, &self.root)
    }
}

struct Printer<'a> {
    condition: &'a Condition,
}

impl Printer<'_> {
    fn within(&self, f: &mut fmt::Formatter<'_>, node: &Node, least: Tightness) -> fmt::Result {
        if tightness(node) >= least {
            return self.node(f, node);
        }
        f.write_char('(')?;
        self.node(f, node)?;
        f.write_char(')')
    }

    fn node(&self, f: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
        match node {
            Node::Column(at) => {
                let column = &self.condition.columns[*at];
                write!(f, "{}.{}", column.service, column.column)
            }
            Node::Literal(value) => literal(f, value),
            Node::Not(inner) => {
                f.write_str("NOT ")?;
                self.within(f, inner, Tightness::Not)
            }
            Node::And(nodes) => self.chain(f, nodes, " AND ", Tightness::Not),
            Node::Or(nodes) => self.chain(f, nodes, " OR ", Tightness::And),
            Node::Compare(comparison, left, right) => {
                self.within(f, left, Tightness::Sum)?;
                write!(f, " {} ", comparison.sign())?;
                self.within(f, right, Tightness::Sum)
            }
            Node::Between { value, low, high, negated } => {
                self.within(f, value, Tightness::Sum)?;
                write!(f, " {}BETWEEN ", not(*negated))?;
                self.within(f, low, Tightness::Sum)?;
                f.write_str(" AND ")?;
                self.within(f, high, Tightness::Sum)
            }
            Node::In { value, list, negated } => {
                self.within(f, value, Tightness::Sum)?;
                write!(f, " {}IN (", not(*negated))?;
                for (at, value) in list.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { ", " })?;
                    literal(f, value)?;
                }
                f.write_char(')')
            }
            Node::Like { value, pattern: pieces, negated } => {
                self.within(f, value, Tightness::Sum)?;
                write!(f, " {}LIKE ", not(*negated))?;
                text(f, &pattern(pieces))
            }
            Node::Is { value, test, negated } => {
                self.within(f, value, Tightness::Sum)?;
                let test = match test {
                    Test::Null => "NULL",
                    Test::True => "TRUE",
                    Test::False => "FALSE",
                };
                write!(f, " IS {}{test}", not(*negated))
            }
            Node::Arithmetic(operation, left, right) => {
                let own = tightness(node);
                self.within(f, left, own)?;
                write!(f, " {} ", operation.sign())?;
                // `a - (b - c)` is not `a - b - c`.
                let tighter =
                    if own == Tightness::Sum { Tightness::Product } else { Tightness::Value };
                self.within(f, right, tighter)
            }
            Node::Negative(inner) => {
                match **inner {
                    // Two signs without a space between them begin a comment.
                    Node::Negative(_) => {
                        f.write_str("- ")?;
                        self.node(f, inner)
                    }
                    // `-1` is a literal.
                    Node::Literal(_) => {
                        f.write_str("-(")?;
                        self.node(f, inner)?;
                        f.write_char(')')
                    }
                    _ => {
                        f.write_char('-')?;
                        self.within(f, inner, Tightness::Value)
                    }
                }
            }
            Node::Coalesce(nodes) => {
                f.write_str("COALESCE(")?;
                self.chain(f, nodes, ", ", Tightness::Or)?;
                f.write_char(')')
            }
            Node::Lower(inner) => self.call(f, "LOWER", inner, ""),
            Node::Upper(inner) => self.call(f, "UPPER", inner, ""),
            Node::Cast(inner, to) => self.call(f, "CAST", inner, cast_to(*to)),
            Node::Widen(inner) => self.node(f, inner),
        }
    }

    fn call(
        &self,
        f: &mut fmt::Formatter<'_>,
        function: &str,
        argument: &Node,
        rest: &str,
    ) -> fmt::Result {
        write!(f, "{function}(")?;
        self.node(f, argument)?;
        write!(f, "{rest})")
    }

    fn chain(
        &self,
        f: &mut fmt::Formatter<'_>,
        nodes: &[Node],
        between: &str,
        least: Tightness,
    ) -> fmt::Result {
        for (at, node) in nodes.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { between })?;
            self.within(f, node, least)?;
        }
        Ok(())
    }
}

fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}

fn cast_to(data_type: cameo_domain::DataType) -> &'static str {
    use cameo_domain::DataType;
    match data_type {
        DataType::Int => " AS INT64",
        DataType::Float64 => " AS FLOAT64",
        DataType::String | DataType::Json => " AS STRING",
        DataType::Bool => " AS BOOL",
        DataType::Date => " AS DATE",
        DataType::Timestamp => " AS TIMESTAMP",
    }
}

fn literal(f: &mut fmt::Formatter<'_>, value: &Literal) -> fmt::Result {
    match value {
        Literal::Int(value) => write!(f, "{value}"),
        // With a point or an exponent, so that it is read as FLOAT64 again.
        Literal::Float(value) => write!(f, "{value:?}"),
        Literal::Text(value) => text(f, value),
        Literal::Bool(value) => f.write_str(if *value { "TRUE" } else { "FALSE" }),
        Literal::Date(day) => write!(f, "DATE '{day}'"),
        Literal::Timestamp(at) => {
            write!(f, "TIMESTAMP '{}'", at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        }
    }
}

/// A text in quotes, with GoogleSQL's escapes.
fn text(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    f.write_char('\'')?;
    for character in value.chars() {
        match character {
            '\'' => f.write_str("\\'")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            other => f.write_char(other)?,
        }
    }
    f.write_char('\'')
}

fn pattern(pieces: &[Piece]) -> String {
    let mut pattern = String::new();
    for piece in pieces {
        match piece {
            Piece::Any => pattern.push('%'),
            Piece::One => pattern.push('_'),
            Piece::Just(character) => {
                if matches!(character, '%' | '_' | '\\') {
                    pattern.push('\\');
                }
                pattern.push(*character);
            }
        }
    }
    pattern
}
