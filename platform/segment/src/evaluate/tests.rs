//! The walk held to an interpreter that takes one customer at a time.

use std::{cmp::Ordering, collections::BTreeMap, num::NonZeroUsize};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, StringArray},
    datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType},
    record_batch::RecordBatch,
};
use cameo_domain::{DataType, PredictionSchema, ServiceName};
use proptest::prelude::*;

use super::*;
use crate::{
    ColumnRef, arbitrary,
    condition::node::{Comparison, Literal, Node, Operation, Test},
};

/// One value; `None` where it is null.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Int(i64),
    Float(f64),
    Text(String),
    Bool(bool),
    Date(i32),
    Timestamp(i64),
}

type Row = Vec<Option<Value>>;

fn cell(array: &ArrayRef, row: usize, data_type: DataType) -> Option<Value> {
    if array.is_null(row) {
        return None;
    }
    Some(match data_type {
        DataType::Int => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::String | DataType::Json => {
            Value::Text(array.as_string::<i32>().value(row).into())
        }
        DataType::Bool => Value::Bool(array.as_boolean().value(row)),
        DataType::Date => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp => {
            Value::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
    })
}

/// The value of a node for one customer, in the plainest way.
// One arm for each expression.
#[allow(clippy::too_many_lines)]
fn naive(node: &Node, row: &Row) -> Option<Value> {
    let truth = |node: &Node| match naive(node, row) {
        None => None,
        Some(Value::Bool(value)) => Some(value),
        other => panic!("expected a truth, found {other:?}"),
    };
    let any = |nodes: &[Node], wanted: bool| {
        let truths: Vec<Option<bool>> = nodes.iter().map(truth).collect();
        if truths.contains(&Some(wanted)) {
            Some(Value::Bool(wanted))
        } else if truths.contains(&None) {
            None
        } else {
            Some(Value::Bool(!wanted))
        }
    };
    let compare = |how: Comparison, left: Option<Value>, right: Option<Value>| {
        let order = order(&left?, &right?);
        Some(match how {
            Comparison::Equal => order == Some(Ordering::Equal),
            Comparison::NotEqual => order != Some(Ordering::Equal),
            Comparison::Less => order == Some(Ordering::Less),
            Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Comparison::Greater => order == Some(Ordering::Greater),
            Comparison::GreaterOrEqual => {
                matches!(order, Some(Ordering::Greater | Ordering::Equal))
            }
        })
    };
    match node {
        Node::Column(at) => row[*at].clone(),
        Node::Literal(literal) => Some(constant(literal)),
        Node::Not(inner) => truth(inner).map(|value| Value::Bool(!value)),
        Node::And(nodes) => any(nodes, false),
        Node::Or(nodes) => any(nodes, true),
        Node::Compare(how, left, right) => {
            compare(*how, naive(left, row), naive(right, row)).map(Value::Bool)
        }
        Node::Between { value, low, high, negated } => {
            let value = naive(value, row);
            let above = compare(Comparison::GreaterOrEqual, value.clone(), naive(low, row));
            let below = compare(Comparison::LessOrEqual, value, naive(high, row));
            let within = match (above, below) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
            within.map(|within| Value::Bool(within != *negated))
        }
        Node::In { value, list, negated } => {
            let value = naive(value, row)?;
            let is_in =
                list.iter().any(|one| order(&value, &constant(one)) == Some(Ordering::Equal));
            Some(Value::Bool(is_in != *negated))
        }
        Node::Like { value, pattern, negated } => match naive(value, row)? {
            Value::Text(text) => {
                let characters: Vec<char> = text.chars().collect();
                Some(Value::Bool(fits(&characters, pattern) != *negated))
            }
            other => panic!("expected a text, found {other:?}"),
        },
        Node::Is { value, test, negated } => {
            let is = match test {
                Test::Null => naive(value, row).is_none(),
                Test::True => truth(value) == Some(true),
                Test::False => truth(value) == Some(false),
            };
            Some(Value::Bool(is != *negated))
        }
        Node::Arithmetic(op, left, right) => match (naive(left, row)?, naive(right, row)?, op) {
            (Value::Int(left), Value::Int(right), Operation::Add) => {
                left.checked_add(right).map(Value::Int)
            }
            (Value::Int(left), Value::Int(right), Operation::Subtract) => {
                left.checked_sub(right).map(Value::Int)
            }
            (Value::Int(left), Value::Int(right), _) => left.checked_mul(right).map(Value::Int),
            (Value::Float(left), Value::Float(right), op) => match op {
                Operation::Add => Some(Value::Float(left + right)),
                Operation::Subtract => Some(Value::Float(left - right)),
                Operation::Multiply => Some(Value::Float(left * right)),
                Operation::Divide => (right != 0.0).then(|| Value::Float(left / right)),
            },
            other => panic!("expected two numbers, found {other:?}"),
        },
        Node::Negative(inner) => match naive(inner, row)? {
            Value::Int(value) => value.checked_neg().map(Value::Int),
            Value::Float(value) => Some(Value::Float(-value)),
            other => panic!("expected a number, found {other:?}"),
        },
        Node::Coalesce(nodes) => nodes.iter().find_map(|node| naive(node, row)),
        Node::Lower(inner) | Node::Upper(inner) => match naive(inner, row)? {
            Value::Text(text) if matches!(node, Node::Lower(_)) => {
                Some(Value::Text(text.to_lowercase()))
            }
            Value::Text(text) => Some(Value::Text(text.to_uppercase())),
            other => panic!("expected a text, found {other:?}"),
        },
        Node::Widen(inner) => match naive(inner, row)? {
            Value::Int(value) => Some(Value::Float(value as f64)),
            other => panic!("expected an integer, found {other:?}"),
        },
        Node::Cast(inner, to) => Some(match (naive(inner, row)?, to) {
            (Value::Int(value), DataType::String) => Value::Text(value.to_string()),
            (Value::Int(value), _) => Value::Float(value as f64),
            (Value::Bool(value), _) => Value::Int(value.into()),
            (Value::Date(day), _) => Value::Timestamp(i64::from(day) * 86_400_000_000),
            other => panic!("expected a cast that is supported, found {other:?}"),
        }),
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right))
        | (Value::Timestamp(left), Value::Timestamp(right)) => left.partial_cmp(right),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Text(left), Value::Text(right)) => left.as_bytes().partial_cmp(right.as_bytes()),
        (Value::Bool(left), Value::Bool(right)) => left.partial_cmp(right),
        (Value::Date(left), Value::Date(right)) => left.partial_cmp(right),
        other => panic!("expected two of one type, found {other:?}"),
    }
}

fn constant(literal: &Literal) -> Value {
    match literal {
        Literal::Int(value) => Value::Int(*value),
        Literal::Float(value) => Value::Float(*value),
        Literal::Text(value) => Value::Text(value.clone()),
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Date(day) => Value::Date(day.to_epoch_days()),
        Literal::Timestamp(at) => Value::Timestamp(at.timestamp_micros()),
    }
}

fn fits(text: &[char], pattern: &[crate::condition::node::Piece]) -> bool {
    use crate::condition::node::Piece;
    match (pattern, text) {
        ([], text) => text.is_empty(),
        ([Piece::Any, rest @ ..], _) => (0..=text.len()).any(|skip| fits(&text[skip..], rest)),
        ([Piece::One, rest @ ..], [_, text @ ..]) => fits(text, rest),
        ([Piece::Just(wanted), rest @ ..], [found, text @ ..]) => {
            wanted == found && fits(text, rest)
        }
        (_, []) => false,
    }
}

type Predictions = BTreeMap<ServiceName, Vec<RecordBatch>>;

/// Every customer whom one of the services knows, with the condition's columns.
fn customers(condition: &Condition, predictions: &Predictions) -> BTreeMap<i64, Row> {
    let mut rows: BTreeMap<i64, Row> = BTreeMap::new();
    let width = condition.columns().len();
    for service in condition.services() {
        for batch in &predictions[service] {
            for row in 0..batch.num_rows() {
                let key = batch.column(0).as_primitive::<Int64Type>().value(row);
                let cells = rows.entry(key).or_insert_with(|| vec![None; width]);
                for (at, column) in condition.columns().iter().enumerate() {
                    if column.service == *service {
                        let array = batch.column_by_name(column.column.as_str()).expect("a column");
                        let data_type = condition.data_type(at).expect("a type");
                        cells[at] = cell(array, row, data_type);
                    }
                }
            }
        }
    }
    rows
}

fn sources<'a>(predictions: &'a Predictions, schema: &'a PredictionSchema) -> Vec<Source<'a>> {
    let source = |(service, batches): (&'a ServiceName, &'a Vec<RecordBatch>)| Source {
        service,
        schema,
        batches,
    };
    predictions.iter().map(source).collect()
}

fn predictions() -> impl Strategy<Value = Predictions> {
    (arbitrary::batches(), arbitrary::batches(), arbitrary::batches()).prop_map(|(a, b, c)| {
        [("a", a), ("b", b), ("c", c)]
            .into_iter()
            .map(|(name, batches)| (arbitrary::service(name), batches))
            .collect()
    })
}

fn threads(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("at least one")
}

fn all(condition: &Condition) -> Selection<'_> {
    Selection { condition, sample: None, hold_out: None }
}

fn keys_of(selection: &Selection<'_>, sources: &[Source<'_>]) -> Vec<i64> {
    let members = Members::prepare(selection, &[], sources).expect("members");
    let mut keys = Vec::new();
    members
        .each_batch(|batch| {
            keys.extend(batch.column(0).as_primitive::<Int64Type>().values());
            Ok::<_, EvaluateError>(())
        })
        .expect("members");
    keys
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_members_are_those_whom_a_plain_interpreter_chooses(
        text in arbitrary::condition(), predictions in predictions(), parts in 1_usize..5,
    ) {
        let condition = Condition::parse(&text, &arbitrary::catalog()).expect("a sound condition");
        let customers = customers(&condition, &predictions);
        let is_chosen =
            |row: &Row| naive(condition.root(), row) == Some(Value::Bool(true));
        let chosen = customers.iter().filter(|(_, row)| is_chosen(row));
        let expected: Vec<i64> = chosen.map(|(key, _)| *key).collect();
        let schema = arbitrary::schema();
        let sources = sources(&predictions, &schema);

        prop_assert_eq!(&keys_of(&all(&condition), &sources), &expected, "of {}", condition);
        // The same in ranges of keys, as several threads count.
        let layout = Layout::new(&condition, &[], &sources).expect("a layout");
        let selection = all(&condition);
        let mut sum = (0, 0);
        for range in &layout.partition(parts) {
            let count = Walk::new(&selection, &layout, range).count().expect("a count");
            sum = (sum.0 + count.members, sum.1 + count.profiles);
        }
        prop_assert_eq!(sum, (expected.len() as u64, customers.len() as u64), "of {}", condition);
    }
}

/// Keys from 0 on, every `step`th, with one prediction `x` that equals the key.
fn service_of(rows: i64, step: i64, batch_rows: usize) -> (PredictionSchema, Vec<RecordBatch>) {
    let column = |name: &str, data_type| cameo_domain::Column {
        name: name.parse().expect("a name"),
        data_type,
    };
    let schema =
        PredictionSchema::new(vec![column("id", DataType::Int), column("x", DataType::Int)])
            .expect("a schema");
    let keys: Vec<i64> = (0..rows).filter(|key| key % step == 0).collect();
    let batch = |keys: &[i64]| {
        let array: ArrayRef = std::sync::Arc::new(Int64Array::from(keys.to_vec()));
        RecordBatch::try_new(cameo_batch::arrow_schema(&schema), vec![array.clone(), array])
            .expect("a batch")
    };
    let batches = keys.chunks(batch_rows).map(batch).collect();
    (schema, batches)
}

#[test]
fn long_stretches_of_the_same_customers_and_gaps_are_joined_on_several_threads() {
    let (schema, whole) = service_of(500_000, 1, 65_536);
    let (_, gaps) = service_of(500_000, 3, 50_000);
    let (_, few) = service_of(500_000, 10_000, 7);
    let names: Vec<ServiceName> = ["whole", "gaps", "few"].map(arbitrary::service).to_vec();
    let services: Vec<_> = names.iter().zip([&whole, &gaps, &few]).collect();
    let catalog =
        crate::Catalog::new(names.iter().map(|name| (name.clone(), schema.clone())).collect());
    let sources: Vec<Source<'_>> = services
        .iter()
        .map(|(service, batches)| Source { service, schema: &schema, batches })
        .collect();
    let counted = |text: &str| {
        let condition = Condition::parse(text, &catalog).expect("a condition");
        let one = count(&all(&condition), &sources, threads(1)).expect("a count");
        let several = count(&all(&condition), &sources, threads(4)).expect("a count");
        assert_eq!(one, several, "of {text}");
        one.members
    };
    assert_eq!(counted("whole.x >= 250000"), 250_000);
    assert_eq!(counted("whole.x = gaps.x"), 166_667);
    assert_eq!(counted("gaps.x is null and few.x is not null"), 33);
    assert_eq!(counted("gaps.x >= 0 and few.x >= 0 and whole.x < 100000"), 4);
    assert_eq!(counted("few.x < 30000 or gaps.x < 30"), 12);
}

#[test]
fn an_attribute_of_another_service_tells_more_of_members_and_makes_none() {
    let (schema, whole) = service_of(100, 1, 8);
    let (_, even) = service_of(100, 2, 100);
    let (one, other) = (arbitrary::service("even"), arbitrary::service("whole"));
    let predictions: Predictions = [(one.clone(), even), (other.clone(), whole)].into();
    let catalog =
        crate::Catalog::new([(one.clone(), schema.clone()), (other, schema.clone())].into());
    let sources = sources(&predictions, &schema);
    let condition = Condition::parse("even.x < 10 or even.x is null", &catalog).expect("sound");
    let attribute = |service: &str| ColumnRef {
        service: arbitrary::service(service),
        column: "x".parse().expect("a name"),
    };
    let selection = all(&condition);
    let members = Members::prepare(&selection, &[attribute("whole"), attribute("even")], &sources);
    let members = members.expect("members");
    let names: Vec<&str> =
        members.schema().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "whole.x", "even.x"]);
    let mut batches = Vec::new();
    let number = members.each_batch(|batch| {
        batches.push(batch);
        Ok::<_, EvaluateError>(())
    });
    assert_eq!(number.expect("members"), Count { members: 5, profiles: 50 });
    for column in batches[0].columns() {
        assert_eq!(column.as_primitive::<Int64Type>().values(), &[0, 2, 4, 6, 8]);
    }
}

#[test]
fn samples_and_hold_outs_part_the_members_and_do_not_depend_on_the_condition() {
    let (schema, batches) = service_of(20_000, 1, 4_096);
    let service = arbitrary::service("clv");
    let catalog = crate::Catalog::new([(service.clone(), schema.clone())].into());
    let sources = [Source { service: &service, schema: &schema, batches: &batches }];
    let share = Share::new(20.0, "spring").expect("a share");
    let chosen = |text: &str, sample: Option<&Share>, hold_out: Option<&Share>| {
        let condition = Condition::parse(text, &catalog).expect("a condition");
        keys_of(&Selection { condition: &condition, sample, hold_out }, &sources)
    };
    let inside = chosen("x >= 0", Some(&share), None);
    let outside = chosen("x >= 0", None, Some(&share));
    assert!((3_500..4_500).contains(&inside.len()), "{}", inside.len());
    let mut both = [inside.clone(), outside].concat();
    both.sort_unstable();
    assert!(both.iter().copied().eq(0..20_000));
    let fewer = chosen("x >= 10000", Some(&share), None);
    assert_eq!(fewer, inside.into_iter().filter(|key| *key >= 10_000).collect::<Vec<_>>());
}

#[test]
fn of_a_service_that_ranks_the_first_row_of_a_customer_counts() {
    let column = |name: &str, data_type| cameo_domain::Column {
        name: name.parse().expect("a name"),
        data_type,
    };
    let schema = PredictionSchema::new(vec![
        column("cookie", DataType::String),
        column("rank", DataType::Int),
        column("item", DataType::String),
    ])
    .and_then(|schema| schema.ranked(2))
    .expect("a schema");
    let batch = RecordBatch::try_new(
        cameo_batch::arrow_schema(&schema),
        vec![
            std::sync::Arc::new(StringArray::from(vec!["a", "a", "b", "b", "c"])),
            std::sync::Arc::new(Int64Array::from(vec![1, 2, 1, 2, 1])),
            std::sync::Arc::new(StringArray::from(vec!["hat", "bag", "bag", "hat", "hat"])),
        ],
    );
    let service = arbitrary::service("next_item");
    let catalog = crate::Catalog::new([(service.clone(), schema.clone())].into());
    let batches = [batch.expect("a batch")];
    let sources = [Source { service: &service, schema: &schema, batches: &batches }];
    let condition = Condition::parse("item = 'hat'", &catalog).expect("a condition");
    let found = count(&all(&condition), &sources, threads(2)).expect("a count");
    assert_eq!(found, Count { members: 2, profiles: 3 });
}

#[test]
fn predictions_that_are_not_as_the_condition_was_read_are_refused() {
    let (schema, batches) = service_of(10, 1, 10);
    let service = arbitrary::service("clv");
    let catalog = crate::Catalog::new([(service.clone(), schema.clone())].into());
    let condition = Condition::parse("x > 1", &catalog).expect("a condition");
    let gone = count(&all(&condition), &[], threads(1));
    assert!(matches!(gone, Err(EvaluateError::Service(found)) if found == service));
    let (_, other_batches) = (schema.clone(), [batches[0].project(&[0]).expect("a batch")]);
    let sources = [Source { service: &service, schema: &schema, batches: &other_batches }];
    let gone = count(&all(&condition), &sources, threads(1));
    assert!(matches!(gone, Err(EvaluateError::Column { column, .. }) if column == "x"));
}
