//! Dates and times: parts, literals and format elements.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use sqlparser::{
    ast::{
        DataType, DateTimeField, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned,
        TypedString, Value,
    },
    tokenizer::Span,
};

use super::{
    SqlError,
    printer::{Printed, Printer, refusal, unlisted, unsupported},
};
use crate::engine::quote_text;

/// A date part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    /// With the weekday that it starts on, 0 = Sunday.
    Week(u8),
    Month,
    Quarter,
    Year,
}

const PARTS: [(&str, Part); 18] = [
    ("MICROSECOND", Part::Microsecond),
    ("MILLISECOND", Part::Millisecond),
    ("SECOND", Part::Second),
    ("MINUTE", Part::Minute),
    ("HOUR", Part::Hour),
    ("DAY", Part::Day),
    ("WEEK", Part::Week(0)),
    ("WEEK(SUNDAY)", Part::Week(0)),
    ("WEEK(MONDAY)", Part::Week(1)),
    ("WEEK(TUESDAY)", Part::Week(2)),
    ("WEEK(WEDNESDAY)", Part::Week(3)),
    ("WEEK(THURSDAY)", Part::Week(4)),
    ("WEEK(FRIDAY)", Part::Week(5)),
    ("WEEK(SATURDAY)", Part::Week(6)),
    ("ISOWEEK", Part::Week(1)),
    ("MONTH", Part::Month),
    ("QUARTER", Part::Quarter),
    ("YEAR", Part::Year),
];

/// Parts of EXTRACT, with what DuckDB calls them; `{x}` is the date or time.
pub(super) const EXTRACT_PARTS: [(&str, &str); 15] = [
    ("MICROSECOND", "(date_part('microsecond', {x}) % 1000000)"),
    ("MILLISECOND", "((date_part('microsecond', {x}) % 1000000) // 1000)"),
    ("SECOND", "date_part('second', {x})"),
    ("MINUTE", "date_part('minute', {x})"),
    ("HOUR", "date_part('hour', {x})"),
    // Sunday is 1 in GoogleSQL and 0 in DuckDB.
    ("DAYOFWEEK", "(dayofweek({x}) + 1)"),
    ("DAY", "date_part('day', {x})"),
    ("DAYOFYEAR", "date_part('doy', {x})"),
    // Weeks begin on Sunday; days before the first Sunday are in week 0.
    ("WEEK", "((date_part('doy', {x}) + 6 - dayofweek({x})) // 7)"),
    ("ISOWEEK", "date_part('week', {x})"),
    ("MONTH", "date_part('month', {x})"),
    ("QUARTER", "date_part('quarter', {x})"),
    ("YEAR", "date_part('year', {x})"),
    ("ISOYEAR", "date_part('isoyear', {x})"),
    ("DATE", "CAST({x} AS DATE)"),
];

/// Elements of FORMAT_DATE and FORMAT_TIMESTAMP that both engines write alike.
pub(super) const FORMAT_ELEMENTS: [(char, &str); 19] = [
    ('Y', "%Y"),
    ('m', "%m"),
    ('d', "%d"),
    ('H', "%H"),
    ('M', "%M"),
    ('S', "%S"),
    ('F', "%Y-%m-%d"),
    ('T', "%H:%M:%S"),
    ('y', "%y"),
    ('j', "%j"),
    ('a', "%a"),
    ('A', "%A"),
    ('b', "%b"),
    ('B', "%B"),
    ('I', "%I"),
    ('p', "%p"),
    ('G', "%G"),
    ('V', "%V"),
    ('%', "%%"),
];

/// Elements of PARSE_DATE and PARSE_TIMESTAMP that both engines read alike.
pub(super) const PARSE_ELEMENTS: [char; 9] = ['Y', 'm', 'd', 'H', 'M', 'S', 'F', 'T', '%'];

impl Part {
    pub(super) fn parse(at: Span, text: &str) -> Result<Self, SqlError> {
        let upper = text.to_uppercase();
        PARTS
            .iter()
            .find(|(name, _)| *name == upper)
            .map(|(_, part)| *part)
            .ok_or_else(|| unlisted(at, "date part", &upper, PARTS.iter().map(|(name, _)| *name)))
    }

    /// A part that stands as a function's argument: `DAY` or `WEEK(MONDAY)`.
    pub(super) fn argument(expr: &Expr) -> Result<Self, SqlError> {
        let text = match expr {
            Expr::Identifier(ident) => ident.value.clone(),
            Expr::Function(function) => match &function.args {
                FunctionArguments::List(list) => match &list.args[..] {
                    [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(day)))] => {
                        format!("{}({})", function.name, day.value)
                    }
                    _ => function.to_string(),
                },
                _ => function.to_string(),
            },
            other => other.to_string(),
        };
        Self::parse(expr.span(), &text)
    }

    /// The elapsed length, where it is the same everywhere.
    pub(super) fn microseconds(self, at: Span) -> Result<u64, SqlError> {
        Ok(match self {
            Self::Microsecond => 1,
            Self::Millisecond => 1_000,
            Self::Second => 1_000_000,
            Self::Minute => 60_000_000,
            Self::Hour => 3_600_000_000,
            Self::Day => 86_400_000_000,
            _ => {
                return Err(refusal(
                    at,
                    format!("a TIMESTAMP has no part {}", self.name()),
                    self.name(),
                    Some(
                        "expected MICROSECOND to DAY; use DATE_DIFF on DATE(…) for longer parts"
                            .to_owned(),
                    ),
                ));
            }
        })
    }

    /// The unit of an INTERVAL in DuckDB.
    pub(super) fn interval_unit(self, at: Span) -> Result<&'static str, SqlError> {
        match self {
            Self::Quarter => Ok("QUARTERS"),
            Self::Week(0) => Ok("WEEK"),
            Self::Week(_) => {
                Err(refusal(at, "an INTERVAL has no WEEK(day)".to_owned(), "WEEK", None))
            }
            other => Ok(other.name()),
        }
    }

    pub(super) fn is_time(self) -> bool {
        use Part::{Hour, Microsecond, Millisecond, Minute, Second};
        matches!(self, Microsecond | Millisecond | Second | Minute | Hour)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Microsecond => "MICROSECOND",
            Self::Millisecond => "MILLISECOND",
            Self::Second => "SECOND",
            Self::Minute => "MINUTE",
            Self::Hour => "HOUR",
            Self::Day => "DAY",
            Self::Week(_) => "WEEK",
            Self::Month => "MONTH",
            Self::Quarter => "QUARTER",
            Self::Year => "YEAR",
        }
    }
}

impl Printer<'_> {
    pub(super) fn extract(&mut self, expr: &Expr, field: &DateTimeField, from: &Expr) -> Printed {
        let wanted = field.to_string().to_uppercase();
        let Some((_, template)) = EXTRACT_PARTS.iter().find(|(part, _)| *part == wanted) else {
            let parts = EXTRACT_PARTS.iter().map(|(part, _)| *part);
            return Err(unlisted(expr.span(), "EXTRACT of", &wanted, parts));
        };
        let x = match from {
            Expr::AtTimeZone { timestamp, time_zone } => {
                let timestamp = self.expr(timestamp)?;
                local(&timestamp, &zone(time_zone)?)
            }
            other => self.expr(other)?,
        };
        Ok(template.replace("{x}", &x))
    }
}

/// The text of a string literal.
pub(super) fn string(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text)
            | Value::DoubleQuotedString(text)
            | Value::SingleQuotedRawStringLiteral(text)
            | Value::DoubleQuotedRawStringLiteral(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// A time zone, which must be written out.
pub(super) fn zone(expr: &Expr) -> Printed {
    string(expr)
        .map(quote_text)
        .ok_or_else(|| unsupported(expr, "a time zone other than a string literal"))
}

/// A UTC timestamp as local time of a zone.
pub(super) fn local(timestamp: &str, zone: &str) -> String {
    format!("((bq_ts({timestamp}) AT TIME ZONE 'UTC') AT TIME ZONE {zone})")
}

/// A format string, element by element.
pub(super) fn format(expr: &Expr, parse: bool) -> Printed {
    let Some(text) = string(expr) else {
        return Err(unsupported(expr, "a format other than a string literal"));
    };
    let mut printed = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            printed.push(character);
            continue;
        }
        let element = characters.next().unwrap_or(' ');
        let known = FORMAT_ELEMENTS.iter().find(|(known, _)| *known == element);
        match known {
            Some((_, duckdb)) if !parse || PARSE_ELEMENTS.contains(&element) => {
                printed.push_str(duckdb);
            }
            _ => {
                let listed = FORMAT_ELEMENTS.iter().map(|(known, _)| *known);
                let listed = listed.filter(|known| !parse || PARSE_ELEMENTS.contains(known));
                let listed = listed.map(|known| format!("%{known}")).collect::<Vec<_>>().join(" ");
                return Err(refusal(
                    expr.span(),
                    format!("format element %{element} is not supported"),
                    &format!("%{element}"),
                    Some(format!("supported: {listed}")),
                ));
            }
        }
    }
    Ok(quote_text(&printed))
}

pub(super) fn timestamp(instant: DateTime<Utc>) -> String {
    format!("TIMESTAMP '{}'", instant.format("%Y-%m-%d %H:%M:%S%.6f"))
}

pub(super) fn date(date: NaiveDate) -> String {
    format!("DATE '{date}'")
}

/// `DATE '…'` or `TIMESTAMP '…'`, read here: DuckDB drops the offset of a TIMESTAMP literal.
pub(super) fn literal(literal: &TypedString) -> Printed {
    let (Value::SingleQuotedString(text) | Value::DoubleQuotedString(text)) = &literal.value.value
    else {
        return Err(unsupported(&literal.value, "this kind of literal"));
    };
    let wrong = |expected: &str| {
        refusal(literal.value.span, format!("expected {expected}, found '{text}'"), text, None)
    };
    match &literal.data_type {
        DataType::Date => NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .map(date)
            .map_err(|_| wrong("a date such as '2026-03-01'")),
        DataType::Timestamp(None, _) => instant(text)
            .map(timestamp)
            .ok_or_else(|| wrong("a timestamp such as '2026-03-01 18:00:00+00'")),
        other => {
            let found = other.to_string().to_uppercase();
            Err(unlisted(
                literal.value.span,
                "literal of type",
                &found,
                ["DATE", "TIMESTAMP"].into_iter(),
            ))
        }
    }
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim().replacen('T', " ", 1);
    let text =
        text.strip_suffix(" UTC").or(text.strip_suffix('Z')).map_or(text.clone(), str::to_owned);
    for zoned in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z"] {
        if let Ok(instant) = DateTime::parse_from_str(&text, zoned) {
            return Some(instant.to_utc());
        }
    }
    for plain in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"] {
        if let Ok(instant) = NaiveDateTime::parse_from_str(&text, plain) {
            return Some(instant.and_utc());
        }
    }
    let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?;
    date.and_hms_opt(0, 0, 0).map(|midnight| midnight.and_utc())
}
