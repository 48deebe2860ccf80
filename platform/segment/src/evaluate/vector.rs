//! Values of many rows, and what SQL does with them.
//!
//! Numbers are compared as IEEE 754 says: a NaN equals nothing, and the two zeros are equal. Arrow's
//! own kernels order floats totally, so they would answer otherwise.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    buffer::{BooleanBuffer, NullBuffer, ScalarBuffer},
    datatypes::{
        ArrowNativeType, DataType as ArrowType, Date32Type, Float64Type, Int64Type, TimeUnit,
        TimestampMicrosecondType,
    },
};
use chrono::NaiveDate;

use super::truth::Truth;
use crate::condition::node::{Comparison, Literal, Operation};

/// One value for all rows, or one for each.
#[derive(Debug, Clone)]
pub(crate) enum Cells<T: ArrowNativeType> {
    Same(T),
    Each(ScalarBuffer<T>),
}

/// Values of one type; null where not `valid`.
#[derive(Debug, Clone)]
pub(crate) struct Lane<T: ArrowNativeType> {
    cells: Cells<T>,
    valid: Option<NullBuffer>,
}

/// Texts, or one for all rows.
#[derive(Debug, Clone)]
pub(crate) enum Texts {
    Same(Arc<str>),
    Each(StringArray),
}

/// Values of many rows.
#[derive(Debug, Clone)]
pub(crate) enum Vector {
    Truth(Truth),
    Int(Lane<i64>),
    Float(Lane<f64>),
    /// Days since 1970.
    Date(Lane<i32>),
    /// Microseconds since 1970.
    Timestamp(Lane<i64>),
    Text(Texts),
}

impl Vector {
    /// A column as it is stored; `None` of a type that no prediction has.
    pub(crate) fn of_array(array: &ArrayRef) -> Option<Self> {
        let valid = array.logical_nulls();
        Some(match array.data_type() {
            ArrowType::Int64 => Self::Int(Lane {
                cells: Cells::Each(array.as_primitive::<Int64Type>().values().clone()),
                valid,
            }),
            ArrowType::Float64 => Self::Float(Lane {
                cells: Cells::Each(array.as_primitive::<Float64Type>().values().clone()),
                valid,
            }),
            ArrowType::Date32 => Self::Date(Lane {
                cells: Cells::Each(array.as_primitive::<Date32Type>().values().clone()),
                valid,
            }),
            ArrowType::Timestamp(TimeUnit::Microsecond, _) => Self::Timestamp(Lane {
                cells: Cells::Each(
                    array.as_primitive::<TimestampMicrosecondType>().values().clone(),
                ),
                valid,
            }),
            ArrowType::Utf8 => Self::Text(Texts::Each(array.as_string::<i32>().clone())),
            ArrowType::Boolean => {
                Self::Truth(Truth::new(array.as_boolean().values().clone(), valid.as_ref()))
            }
            _ => return None,
        })
    }

    /// A constant.
    pub(crate) fn of_literal(literal: &Literal, rows: usize) -> Self {
        match literal {
            Literal::Int(value) => Self::Int(Lane::same(*value)),
            Literal::Float(value) => Self::Float(Lane::same(*value)),
            Literal::Text(value) => Self::Text(Texts::Same(value.as_str().into())),
            Literal::Bool(value) => Self::Truth(Truth::all(*value, rows)),
            Literal::Date(day) => Self::Date(Lane::same(days(*day))),
            Literal::Timestamp(at) => Self::Timestamp(Lane::same(at.timestamp_micros())),
        }
    }

    /// Which rows are not null.
    pub(crate) fn known(&self, rows: usize) -> BooleanBuffer {
        match self {
            Self::Truth(truth) => truth.known(),
            Self::Int(lane) | Self::Timestamp(lane) => lane.known(rows),
            Self::Float(lane) => lane.known(rows),
            Self::Date(lane) => lane.known(rows),
            Self::Text(texts) => texts
                .valid()
                .map_or_else(|| BooleanBuffer::new_set(rows), |valid| valid.inner().clone()),
        }
    }
}

/// Days since 1970. The years of literals are four digits, so this fits.
pub(crate) fn days(day: NaiveDate) -> i32 {
    let days = day.signed_duration_since(NaiveDate::default()).num_days();
    i32::try_from(days).unwrap_or(i32::MAX)
}

impl<T: ArrowNativeType> Lane<T> {
    fn same(value: T) -> Self {
        Self { cells: Cells::Same(value), valid: None }
    }

    fn known(&self, rows: usize) -> BooleanBuffer {
        let all = || BooleanBuffer::new_set(rows);
        self.valid.as_ref().map_or_else(all, |valid| valid.inner().clone())
    }

    fn at(&self, row: usize) -> T {
        match &self.cells {
            Cells::Same(value) => *value,
            Cells::Each(values) => values[row],
        }
    }

    /// The truth of `test` of each value.
    pub(crate) fn test(&self, rows: usize, test: impl Fn(T) -> bool) -> Truth {
        let bits = match &self.cells {
            Cells::Same(value) => return Truth::all(test(*value), rows),
            Cells::Each(values) => {
                let values = &values[..rows];
                BooleanBuffer::collect_bool(rows, |row| test(values[row]))
            }
        };
        Truth::new(bits, self.valid.as_ref())
    }

    fn test_both(&self, other: &Self, rows: usize, test: impl Fn(T, T) -> bool) -> Truth {
        match (&self.cells, &other.cells) {
            (_, Cells::Same(right)) if other.valid.is_none() => {
                self.test(rows, |left| test(left, *right))
            }
            (Cells::Same(left), _) if self.valid.is_none() => {
                other.test(rows, |right| test(*left, right))
            }
            _ => {
                let valid = NullBuffer::union(self.valid.as_ref(), other.valid.as_ref());
                let bits =
                    BooleanBuffer::collect_bool(rows, |row| test(self.at(row), other.at(row)));
                Truth::new(bits, valid.as_ref())
            }
        }
    }

    pub(crate) fn compare(&self, how: Comparison, other: &Self, rows: usize) -> Truth
    where
        T: PartialOrd,
    {
        match how {
            Comparison::Equal => self.test_both(other, rows, |left, right| left == right),
            Comparison::NotEqual => self.test_both(other, rows, |left, right| left != right),
            Comparison::Less => self.test_both(other, rows, |left, right| left < right),
            Comparison::LessOrEqual => self.test_both(other, rows, |left, right| left <= right),
            Comparison::Greater => self.test_both(other, rows, |left, right| left > right),
            Comparison::GreaterOrEqual => self.test_both(other, rows, |left, right| left >= right),
        }
    }

    /// Each value through `map`; null where that is `None`.
    pub(crate) fn map<U: ArrowNativeType>(
        &self,
        rows: usize,
        map: impl Fn(T) -> Option<U>,
    ) -> Lane<U> {
        computed(rows, self.valid.as_ref(), |row| map(self.at(row)))
    }

    fn map_both(&self, other: &Self, rows: usize, map: impl Fn(T, T) -> Option<T>) -> Self {
        let valid = NullBuffer::union(self.valid.as_ref(), other.valid.as_ref());
        computed(rows, valid.as_ref(), |row| map(self.at(row), other.at(row)))
    }

    /// These values where they are not null, else the others.
    pub(crate) fn or_else(self, other: &Self, rows: usize) -> Self {
        let Some(valid) = &self.valid else { return self };
        let values =
            (0..rows).map(|row| if valid.is_valid(row) { self.at(row) } else { other.at(row) });
        let known = valid.inner() | &other.known(rows);
        Self { cells: Cells::Each(values.collect()), valid: Some(NullBuffer::new(known)) }
    }
}

fn computed<T: ArrowNativeType>(
    rows: usize,
    valid: Option<&NullBuffer>,
    compute: impl Fn(usize) -> Option<T>,
) -> Lane<T> {
    let mut values = Vec::with_capacity(rows);
    let found = BooleanBuffer::collect_bool(rows, |row| {
        let value = compute(row);
        values.push(value.unwrap_or_default());
        value.is_some()
    });
    let found = NullBuffer::new(found);
    let valid = NullBuffer::union(valid, Some(&found));
    Lane { cells: Cells::Each(values.into()), valid }
}

/// Arithmetic of integers; beyond 64 bits there is no value.
pub(crate) fn integers(
    op: Operation,
    left: &Lane<i64>,
    right: &Lane<i64>,
    rows: usize,
) -> Lane<i64> {
    left.map_both(right, rows, |left, right| match op {
        Operation::Add => left.checked_add(right),
        Operation::Subtract => left.checked_sub(right),
        Operation::Multiply => left.checked_mul(right),
        Operation::Divide => left.checked_div(right),
    })
}

/// Arithmetic of floats; there is no quotient by zero.
pub(crate) fn floats(op: Operation, left: &Lane<f64>, right: &Lane<f64>, rows: usize) -> Lane<f64> {
    left.map_both(right, rows, |left, right| match op {
        Operation::Add => Some(left + right),
        Operation::Subtract => Some(left - right),
        Operation::Multiply => Some(left * right),
        Operation::Divide => (right != 0.0).then(|| left / right),
    })
}

impl Texts {
    fn at(&self, row: usize) -> &str {
        match self {
            Self::Same(text) => text,
            Self::Each(texts) => texts.value(row),
        }
    }

    fn valid(&self) -> Option<&NullBuffer> {
        match self {
            Self::Same(_) => None,
            Self::Each(texts) => texts.nulls(),
        }
    }

    pub(crate) fn test(&self, rows: usize, test: impl Fn(&str) -> bool) -> Truth {
        match self {
            Self::Same(value) => Truth::all(test(value), rows),
            Self::Each(texts) => Truth::new(
                BooleanBuffer::collect_bool(rows, |row| test(texts.value(row))),
                texts.nulls(),
            ),
        }
    }

    /// Compares by bytes, which is by code points.
    pub(crate) fn compare(&self, how: Comparison, other: &Self, rows: usize) -> Truth {
        let test = |left: &str, right: &str| match how {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
        };
        match (self, other) {
            (_, Self::Same(right)) => self.test(rows, |left| test(left, right)),
            (Self::Same(left), _) => other.test(rows, |right| test(left, right)),
            _ => {
                let valid = NullBuffer::union(self.valid(), other.valid());
                let bits =
                    BooleanBuffer::collect_bool(rows, |row| test(self.at(row), other.at(row)));
                Truth::new(bits, valid.as_ref())
            }
        }
    }

    pub(crate) fn map(&self, map: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Same(text) => Self::Same(map(text).into()),
            Self::Each(texts) => Self::Each(texts.iter().map(|text| text.map(&map)).collect()),
        }
    }

    pub(crate) fn or_else(self, other: &Self) -> Self {
        match &self {
            Self::Each(texts) if texts.null_count() > 0 => {
                let other_at = |row: usize| {
                    let known = other.valid().is_none_or(|valid| valid.is_valid(row));
                    known.then(|| other.at(row))
                };
                let either =
                    texts.iter().enumerate().map(|(row, text)| text.or_else(|| other_at(row)));
                Self::Each(either.collect())
            }
            _ => self,
        }
    }
}

impl Lane<i64> {
    /// Each number in decimal digits.
    pub(crate) fn to_text(&self, rows: usize) -> Texts {
        let known = |row: usize| self.valid.as_ref().is_none_or(|valid| valid.is_valid(row));
        let texts = (0..rows).map(|row| known(row).then(|| self.at(row).to_string()));
        Texts::Each(texts.collect())
    }
}

impl Truth {
    /// 1 where true, 0 where false.
    pub(crate) fn to_int(&self, rows: usize) -> Lane<i64> {
        let values: ScalarBuffer<i64> =
            (0..rows).map(|row| i64::from(self.yes.value(row))).collect();
        Lane { cells: Cells::Each(values), valid: Some(NullBuffer::new(self.known())) }
    }
}
