//! The value of an expression for many rows at once.

use std::collections::HashSet;

use arrow::array::ArrayRef;
use cameo_domain::DataType;

use super::{
    like::is_like,
    truth::Truth,
    vector::{Vector, days, floats, integers},
};
use crate::condition::node::{Comparison, Literal, Node, Test};

/// Longer lists are looked up by hash.
const LIST_SCANNED_MAX: usize = 8;
const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// The truth of a condition. `column` gives the array of a column by its position in the condition.
///
/// # Panics
/// Types were matched when the condition was read and the sources prepared; what does not fit here
/// is a defect of this crate.
pub(crate) fn truth(node: &Node, column: &dyn Fn(usize) -> ArrayRef, rows: usize) -> Truth {
    match vector(node, column, rows) {
        Vector::Truth(truth) => truth,
        other => unreachable!("a condition is true or false, found {other:?}"),
    }
}

// One arm for each expression.
#[allow(clippy::too_many_lines)]
fn vector(node: &Node, column: &dyn Fn(usize) -> ArrayRef, rows: usize) -> Vector {
    let value = |node: &Node| vector(node, column, rows);
    let truth_of = |node: &Node| truth(node, column, rows);
    match node {
        Node::Column(at) => Vector::of_array(&column(*at))
            .unwrap_or_else(|| unreachable!("columns were checked as sources were prepared")),
        Node::Literal(literal) => Vector::of_literal(literal, rows),
        Node::Not(inner) => Vector::Truth(truth_of(inner).not()),
        Node::And(nodes) => Vector::Truth(
            nodes
                .iter()
                .map(truth_of)
                .reduce(|left, right| left.and(&right))
                .unwrap_or_else(|| Truth::all(true, rows)),
        ),
        Node::Or(nodes) => Vector::Truth(
            nodes
                .iter()
                .map(truth_of)
                .reduce(|left, right| left.or(&right))
                .unwrap_or_else(|| Truth::all(false, rows)),
        ),
        Node::Compare(how, left, right) => {
            Vector::Truth(compare(*how, &value(left), &value(right), rows))
        }
        Node::Between { value: inner, low, high, negated } => {
            let inner = value(inner);
            let above = compare(Comparison::GreaterOrEqual, &inner, &value(low), rows);
            let below = compare(Comparison::LessOrEqual, &inner, &value(high), rows);
            Vector::Truth(above.and(&below).negate_if(*negated))
        }
        Node::In { value: inner, list, negated } => {
            Vector::Truth(is_in(&value(inner), list, rows).negate_if(*negated))
        }
        Node::Like { value: inner, pattern, negated } => match value(inner) {
            Vector::Text(texts) => {
                Vector::Truth(texts.test(rows, |text| is_like(text, pattern)).negate_if(*negated))
            }
            other => mismatch("LIKE", &other),
        },
        Node::Is { value: inner, test, negated } => {
            let bits = match test {
                Test::Null => !&value(inner).known(rows),
                Test::True => truth_of(inner).yes,
                Test::False => truth_of(inner).no,
            };
            Vector::Truth(Truth::new(bits, None).negate_if(*negated))
        }
        Node::Arithmetic(op, left, right) => match (value(left), value(right)) {
            (Vector::Int(left), Vector::Int(right)) => {
                Vector::Int(integers(*op, &left, &right, rows))
            }
            (Vector::Float(left), Vector::Float(right)) => {
                Vector::Float(floats(*op, &left, &right, rows))
            }
            (left, _) => mismatch(op.sign(), &left),
        },
        Node::Negative(inner) => match value(inner) {
            Vector::Int(lane) => Vector::Int(lane.map(rows, i64::checked_neg)),
            Vector::Float(lane) => Vector::Float(lane.map(rows, |value: f64| Some(-value))),
            other => mismatch("-", &other),
        },
        Node::Coalesce(nodes) => {
            let all = nodes.iter().map(value);
            all.reduce(|first, second| or_else(first, &second, rows))
                .unwrap_or_else(|| unreachable!("COALESCE has an argument"))
        }
        Node::Lower(inner) => match value(inner) {
            Vector::Text(texts) => Vector::Text(texts.map(str::to_lowercase)),
            other => mismatch("LOWER", &other),
        },
        Node::Upper(inner) => match value(inner) {
            Vector::Text(texts) => Vector::Text(texts.map(str::to_uppercase)),
            other => mismatch("UPPER", &other),
        },
        Node::Cast(inner, to) => cast(value(inner), *to, rows),
        Node::Widen(inner) => cast(value(inner), DataType::Float64, rows),
    }
}

fn mismatch(operation: &str, found: &Vector) -> ! {
    unreachable!("types were matched when the condition was read: {operation} of {found:?}")
}

fn compare(how: Comparison, left: &Vector, right: &Vector, rows: usize) -> Truth {
    match (left, right) {
        (Vector::Int(left), Vector::Int(right))
        | (Vector::Timestamp(left), Vector::Timestamp(right)) => left.compare(how, right, rows),
        (Vector::Float(left), Vector::Float(right)) => left.compare(how, right, rows),
        (Vector::Date(left), Vector::Date(right)) => left.compare(how, right, rows),
        (Vector::Text(left), Vector::Text(right)) => left.compare(how, right, rows),
        (Vector::Truth(left), Vector::Truth(right)) => {
            let equal = Truth {
                yes: &(&left.yes & &right.yes) | &(&left.no & &right.no),
                no: &(&left.yes & &right.no) | &(&left.no & &right.yes),
            };
            equal.negate_if(how == Comparison::NotEqual)
        }
        (left, _) => mismatch(how.sign(), left),
    }
}

fn is_in(value: &Vector, list: &[Literal], rows: usize) -> Truth {
    match value {
        Vector::Int(lane) => {
            let wanted = picked(list, |literal| match literal {
                Literal::Int(value) => Some(*value),
                _ => None,
            });
            lane.test(rows, member(&wanted))
        }
        Vector::Timestamp(lane) => {
            let wanted = picked(list, |literal| match literal {
                Literal::Timestamp(at) => Some(at.timestamp_micros()),
                _ => None,
            });
            lane.test(rows, member(&wanted))
        }
        Vector::Date(lane) => {
            let wanted = picked(list, |literal| match literal {
                Literal::Date(day) => Some(days(*day)),
                _ => None,
            });
            lane.test(rows, member(&wanted))
        }
        Vector::Float(lane) => {
            let wanted = picked(list, |literal| match literal {
                Literal::Float(value) => Some(*value),
                _ => None,
            });
            lane.test(rows, |value| wanted.contains(&value))
        }
        Vector::Text(texts) => {
            let wanted = picked(list, |literal| match literal {
                Literal::Text(text) => Some(text.as_str()),
                _ => None,
            });
            if wanted.len() <= LIST_SCANNED_MAX {
                return texts.test(rows, |text| wanted.contains(&text));
            }
            let wanted: HashSet<&str> = wanted.into_iter().collect();
            texts.test(rows, |text| wanted.contains(text))
        }
        Vector::Truth(_) => mismatch("IN", value),
    }
}

fn picked<'a, T>(list: &'a [Literal], pick: impl Fn(&'a Literal) -> Option<T>) -> Vec<T> {
    list.iter().filter_map(pick).collect()
}

fn member<T: Copy + Eq + std::hash::Hash>(wanted: &[T]) -> impl Fn(T) -> bool {
    let hashed: HashSet<T> = if wanted.len() > LIST_SCANNED_MAX {
        wanted.iter().copied().collect()
    } else {
        HashSet::new()
    };
    move |value| if hashed.is_empty() { wanted.contains(&value) } else { hashed.contains(&value) }
}

fn or_else(first: Vector, second: &Vector, rows: usize) -> Vector {
    match (first, second) {
        (Vector::Truth(first), Vector::Truth(second)) => Vector::Truth(first.or_else(second)),
        (Vector::Int(first), Vector::Int(second)) => Vector::Int(first.or_else(second, rows)),
        (Vector::Float(first), Vector::Float(second)) => Vector::Float(first.or_else(second, rows)),
        (Vector::Date(first), Vector::Date(second)) => Vector::Date(first.or_else(second, rows)),
        (Vector::Timestamp(first), Vector::Timestamp(second)) => {
            Vector::Timestamp(first.or_else(second, rows))
        }
        (Vector::Text(first), Vector::Text(second)) => Vector::Text(first.or_else(second)),
        (first, _) => mismatch("COALESCE", &first),
    }
}

fn cast(value: Vector, to: DataType, rows: usize) -> Vector {
    match (value, to) {
        (Vector::Int(lane), DataType::Float64) => {
            Vector::Float(lane.map(rows, |value| Some(value as f64)))
        }
        (Vector::Int(lane), DataType::String) => Vector::Text(lane.to_text(rows)),
        (Vector::Truth(truth), DataType::Int) => Vector::Int(truth.to_int(rows)),
        (Vector::Date(lane), DataType::Timestamp) => Vector::Timestamp(
            lane.map(rows, |day| i64::from(day).checked_mul(MICROSECONDS_PER_DAY)),
        ),
        (other, _) => mismatch("CAST", &other),
    }
}
