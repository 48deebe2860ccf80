//! The greatest contributions to each prediction, as JSON.

use std::fmt::Write;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int64Array,
        RecordBatch, StringArray, StringBuilder,
    },
    compute::cast,
    datatypes::{DataType, Float32Type, Float64Type, Int64Type},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};

use super::background::without_zone;

/// Longest text of a feature that is repeated in an explanation, in characters.
const VALUE_CHARACTERS_MAX: usize = 64;
/// Bytes of one contribution, so that the text of most batches is written without growing.
const CONTRIBUTION_BYTES_GUESS: usize = 72;

/// The values of a feature, ready to be written.
enum Values {
    Int(Int64Array),
    Single(Float32Array),
    Double(Float64Array),
    Truth(BooleanArray),
    Text(StringArray),
    /// Without a zone, but of UTC.
    Instant(ArrayRef),
    Other(ArrayRef),
}

impl Values {
    fn of(column: &ArrayRef) -> Result<Self, ArrowError> {
        Ok(match column.data_type() {
            DataType::Float32 => Self::Single(column.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Self::Double(column.as_primitive::<Float64Type>().clone()),
            DataType::Boolean => Self::Truth(column.as_boolean().clone()),
            DataType::UInt64 => Self::Other(column.clone()),
            DataType::Timestamp(_, Some(_)) => Self::Instant(without_zone(column)?),
            integer if integer.is_integer() => {
                Self::Int(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
            }
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Dictionary(..) => {
                Self::Text(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
            }
            _ => Self::Other(column.clone()),
        })
    }

    fn array(&self) -> &dyn Array {
        match self {
            Self::Int(values) => values,
            Self::Single(values) => values,
            Self::Double(values) => values,
            Self::Truth(values) => values,
            Self::Text(values) => values,
            Self::Instant(values) | Self::Other(values) => values,
        }
    }

    fn write(&self, row: usize, out: &mut String) -> Result<(), ArrowError> {
        if self.array().is_null(row) {
            out.push_str("null");
            return Ok(());
        }
        match self {
            Self::Int(values) => {
                let _ = write!(out, "{}", values.value(row));
            }
            Self::Single(values) => write_number(values.value(row), out),
            Self::Double(values) => write_number(values.value(row), out),
            Self::Truth(values) => {
                let _ = write!(out, "{}", values.value(row));
            }
            Self::Text(values) => write_text(values.value(row), out),
            Self::Instant(values) => write_text(&format!("{}Z", display(values, row)?), out),
            Self::Other(values) => {
                let text = display(values, row)?;
                if values.data_type().is_numeric() {
                    out.push_str(&text);
                } else {
                    write_text(&text, out);
                }
            }
        }
        Ok(())
    }
}

fn display(values: &ArrayRef, row: usize) -> Result<String, ArrowError> {
    let options = FormatOptions::default();
    Ok(ArrayFormatter::try_new(values, &options)?.value(row).to_string())
}

/// The value of one row as JSON.
pub(super) fn value(column: &ArrayRef, row: usize) -> Result<serde_json::Value, ArrowError> {
    let mut text = String::new();
    Values::of(column)?.write(row, &mut text)?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

/// The shortest digits that read back as the same number; what is not finite has no digits in JSON.
fn write_number<N: Copy + std::fmt::Debug + Into<f64>>(number: N, out: &mut String) {
    if number.into().is_finite() {
        let _ = write!(out, "{number:?}");
    } else {
        out.push_str("null");
    }
}

fn write_text(text: &str, out: &mut String) {
    let mut shown = text;
    let mut cut = "";
    if let Some((end, _)) = text.char_indices().nth(VALUE_CHARACTERS_MAX) {
        (shown, cut) = (&text[..end], "…");
    }
    out.push('"');
    for character in shown.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            // A zero byte, escaped or not, is no text for Postgres' json.
            '\0' => out.push('\u{fffd}'),
            control if control.is_control() && control.is_ascii() => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            _ => out.push(character),
        }
    }
    out.push_str(cut);
    out.push('"');
}

/// The `top_k` contributions of each row that are greatest by absolute value, in that order, as
/// `[{"feature": …, "value": …, "contribution": …}, …]`. What contributes nothing is left out.
///
/// `values` has a column for each column of `contributions`, in the same order and of the same rows.
pub(super) fn top_k(
    contributions: &RecordBatch,
    values: &[&ArrayRef],
    top_k: usize,
) -> Result<StringArray, ArrowError> {
    let columns: Vec<&[f32]> = contributions
        .columns()
        .iter()
        .map(|column| column.as_primitive::<Float32Type>().values().as_ref())
        .collect();
    let values = values.iter().map(|column| Values::of(column)).collect::<Result<Vec<_>, _>>()?;
    let heads: Vec<String> = contributions
        .schema_ref()
        .fields()
        .iter()
        .map(|field| {
            let mut head = String::from("{\"feature\":");
            write_text(field.name(), &mut head);
            head.push_str(",\"value\":");
            head
        })
        .collect();
    let rows = contributions.num_rows();
    let bytes = rows * CONTRIBUTION_BYTES_GUESS * top_k.min(columns.len());
    let mut texts = StringBuilder::with_capacity(rows, bytes);
    let mut text = String::new();
    let mut greatest: Vec<(f32, usize)> = Vec::with_capacity(top_k + 1);
    for row in 0..rows {
        choose(&columns, row, top_k, &mut greatest);
        text.clear();
        text.push('[');
        for (index, (contribution, column)) in greatest.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&heads[*column]);
            values[*column].write(row, &mut text)?;
            text.push_str(",\"contribution\":");
            write_number(*contribution, &mut text);
            text.push('}');
        }
        text.push(']');
        texts.append_value(&text);
    }
    Ok(texts.finish())
}

/// Equal ones stand in the order of their columns, so that a repetition gives the same text.
fn choose(columns: &[&[f32]], row: usize, top_k: usize, greatest: &mut Vec<(f32, usize)>) {
    greatest.clear();
    for (index, column) in columns.iter().enumerate() {
        let contribution = column[row];
        let size = contribution.abs();
        let is_full = greatest.len() == top_k;
        if size == 0.0 || (is_full && greatest.last().is_some_and(|(least, _)| size <= least.abs()))
        {
            continue;
        }
        let at = greatest.partition_point(|(greater, _)| greater.abs() >= size);
        greatest.insert(at, (contribution, index));
        greatest.truncate(top_k);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Decimal128Array, TimestampMicrosecondArray, UInt64Array};
    use serde_json::{Value, json};

    use super::*;

    fn explained(columns: &[(&str, ArrayRef, Vec<f32>)], k: usize) -> Vec<Value> {
        let batch = RecordBatch::try_from_iter(columns.iter().map(|(name, _, values)| {
            (*name, Arc::new(Float32Array::from(values.clone())) as ArrayRef)
        }))
        .expect("a batch");
        let values: Vec<&ArrayRef> = columns.iter().map(|(_, values, _)| values).collect();
        let texts = top_k(&batch, &values, k).expect("texts");
        texts.iter().flatten().map(|text| serde_json::from_str(text).expect(text)).collect()
    }

    #[test]
    fn the_greatest_contributions_stand_first_with_their_values() {
        let found = explained(
            &[
                ("age", Arc::new(Int64Array::from(vec![Some(31), None])), vec![0.1, -0.5]),
                ("spend", Arc::new(Float64Array::from(vec![1e300, f64::NAN])), vec![-2.0, 0.5]),
                ("vip", Arc::new(BooleanArray::from(vec![true, false])), vec![0.0, 9.536_743e-7]),
                ("plan \"x\"", Arc::new(StringArray::from(vec!["a\"\\\n\0", "b"])), vec![2.0, 0.0]),
            ],
            3,
        );
        assert_eq!(
            found,
            [
                json!([
                    {"feature": "spend", "value": 1e300, "contribution": -2.0},
                    {"feature": "plan \"x\"", "value": "a\"\\\n\u{fffd}", "contribution": 2.0},
                    {"feature": "age", "value": 31, "contribution": 0.1},
                ]),
                json!([
                    {"feature": "age", "value": null, "contribution": -0.5},
                    {"feature": "spend", "value": null, "contribution": 0.5},
                    {"feature": "vip", "value": false, "contribution": 9.536_743e-7},
                ]),
            ]
        );
    }

    #[test]
    fn every_type_of_a_feature_is_a_value_of_json() {
        let instant = TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC");
        let money = Decimal128Array::from(vec![1_250]).with_precision_and_scale(10, 2);
        let columns: Vec<(&str, ArrayRef, Vec<f32>)> = vec![
            ("day", Arc::new(Date32Array::from(vec![1])), vec![4.0]),
            ("at", Arc::new(instant), vec![3.0]),
            ("money", Arc::new(money.expect("a decimal")), vec![2.0]),
            ("count", Arc::new(UInt64Array::from(vec![u64::MAX])), vec![1.0]),
        ];
        let found = explained(&columns, 9).remove(0);
        let values: Vec<_> =
            found.as_array().expect("a list").iter().map(|one| one["value"].clone()).collect();
        assert_eq!(
            values,
            [json!("1970-01-02"), json!("1970-01-01T00:00:00Z"), json!(12.5), json!(u64::MAX)]
        );
    }

    #[test]
    fn a_long_text_is_cut() {
        let long = "ü".repeat(1_000);
        let values: ArrayRef = Arc::new(StringArray::from(vec![long]));
        let found = explained(&[("essay", values, vec![1.0])], 1).remove(0);
        let value = found[0]["value"].as_str().expect("a text");
        assert_eq!(value.chars().count(), VALUE_CHARACTERS_MAX + 1);
    }
}
