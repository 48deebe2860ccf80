//! Constants: as they are written, and as the type beside which they stand.

use cameo_domain::DataType;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike, Utc};
use sqlparser::ast::Value;

use super::node::{Literal, Piece};

/// Years that GoogleSQL has.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;
/// Forms of a time without a zone, which is UTC.
const LOCAL_FORMS: [&str; 4] =
    ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
/// Forms of a time with its distance from UTC.
const ZONED_FORMS: [&str; 4] = [
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M%#z",
    "%Y-%m-%dT%H:%M%#z",
];

/// Reads a literal of the syntax tree; `negative` where a minus sign stands before it.
pub(super) fn read(value: &Value, negative: bool) -> Result<Literal, String> {
    match value {
        Value::Number(digits, false) => number(digits, negative),
        _ if negative => Err("expected a number after the minus sign".to_owned()),
        Value::Boolean(value) => Ok(Literal::Bool(*value)),
        Value::SingleQuotedString(text)
        | Value::DoubleQuotedString(text)
        | Value::TripleSingleQuotedString(text)
        | Value::TripleDoubleQuotedString(text)
        | Value::SingleQuotedRawStringLiteral(text)
        | Value::DoubleQuotedRawStringLiteral(text)
        | Value::TripleSingleQuotedRawStringLiteral(text)
        | Value::TripleDoubleQuotedRawStringLiteral(text) => {
            if text.contains('\0') {
                return Err("expected a text without zero bytes".to_owned());
            }
            Ok(Literal::Text(text.clone()))
        }
        Value::Null => Err("NULL is compared with IS NULL and IS NOT NULL alone".to_owned()),
        _ => Err("this kind of literal is not supported".to_owned()),
    }
}

fn number(digits: &str, negative: bool) -> Result<Literal, String> {
    let signed = if negative { format!("-{digits}") } else { digits.to_owned() };
    if digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return signed
            .parse()
            .map(Literal::Int)
            .map_err(|_| format!("expected a number of 64 bits, found {signed}"));
    }
    match signed.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Literal::Float(value)),
        _ => Err(format!("expected a finite number, found {signed}")),
    }
}

/// The literal as `wanted`: what SQL does of itself.
pub(super) fn coerce(literal: &Literal, wanted: DataType) -> Result<Literal, String> {
    match (literal, wanted) {
        (same, _) if same.data_type() == wanted => Ok(same.clone()),
        (Literal::Int(value), DataType::Float64) => Ok(Literal::Float(*value as f64)),
        (Literal::Text(text), DataType::Date) => date(text).map(Literal::Date),
        (Literal::Text(text), DataType::Timestamp) => timestamp(text).map(Literal::Timestamp),
        (other, _) => Err(format!("expected {wanted}, found {}", other.data_type())),
    }
}

/// Reads a calendar day.
pub(super) fn date(text: &str) -> Result<NaiveDate, String> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()
        .filter(|day| YEARS.contains(&day.year()))
        .ok_or_else(|| format!("expected a date such as 2026-01-31, found `{text}`"))
}

/// Reads an instant; one without a zone is in UTC, a day alone its first instant.
pub(super) fn timestamp(text: &str) -> Result<DateTime<Utc>, String> {
    let zoned = |form: &&str| DateTime::parse_from_str(text, form).ok().map(|at| at.to_utc());
    let local = |form: &&str| Some(NaiveDateTime::parse_from_str(text, form).ok()?.and_utc());
    let midnight = || Some(date(text).ok()?.and_hms_opt(0, 0, 0)?.and_utc());
    let found = ZONED_FORMS.iter().find_map(zoned);
    found
        .or_else(|| LOCAL_FORMS.iter().find_map(local))
        .or_else(midnight)
        .filter(|at| YEARS.contains(&at.year()))
        // Predictions have microseconds; leap seconds are counted beyond a second's nanoseconds.
        .filter(|at| at.nanosecond() % 1_000 == 0 && at.nanosecond() < 1_000_000_000)
        .ok_or_else(|| {
            format!(
                "expected a time such as 2026-01-31 18:00:00+00, in microseconds, found `{text}`"
            )
        })
}

/// Reads a `LIKE` pattern.
pub(super) fn pattern(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        pieces.push(match character {
            '%' => Piece::Any,
            '_' => Piece::One,
            '\\' => Piece::Just(characters.next().ok_or_else(|| {
                "expected a character after the last backslash of the pattern".to_owned()
            })?),
            other => Piece::Just(other),
        });
    }
    Ok(pieces)
}
