//! Numbers as text and back, as ONNX Runtime writes and reads them.

use tract_onnx::tract_hir::internal::{
    Datum, DatumType, TDim, Tensor, ToDim, TractResult, bail, format_err,
};

use crate::ops::kernel::{Kernel, ValueType, integers, tensor, values};

/// Significant digits of a float as text: `%.8g` in ONNX Runtime, for both widths of floats.
const DIGITS: usize = 8;

/// A cast from or to strings.
#[derive(Debug)]
pub(crate) struct TextCast {
    pub(crate) to: DatumType,
}

impl Kernel for TextCast {
    fn name(&self) -> &'static str {
        "Cast"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        Ok(vec![(self.to, inputs[0].1.clone())])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let input = inputs[0];
        if self.to == String::datum_type() {
            return Ok(vec![tensor(input.shape(), written(input)?)?]);
        }
        let texts = values::<String>(input)?;
        let shape = input.shape();
        Ok(vec![match self.to {
            DatumType::F32 => tensor(shape, read(texts, |text| text.parse::<f32>().ok())?)?,
            DatumType::F64 => tensor(shape, read(texts, |text| text.parse::<f64>().ok())?)?,
            DatumType::I64 => tensor(shape, read(texts, integer)?)?,
            DatumType::TDim => {
                let found: Vec<TDim> =
                    read(texts, integer)?.into_iter().map(|value| value.to_dim()).collect();
                tensor(shape, found)?
            }
            DatumType::I32 => {
                tensor(shape, read(texts, |text| i32::try_from(integer(text)?).ok())?)?
            }
            other => bail!("expected a cast of text to float or integer, found {other:?}"),
        }])
    }
}

fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn read<T>(texts: &[String], parse: impl Fn(&str) -> Option<T>) -> TractResult<Vec<T>> {
    texts
        .iter()
        .map(|text| {
            parse(text.trim()).ok_or_else(|| {
                let start: String = text.chars().take(40).collect();
                format_err!("`{start}` is no number; filter or replace such values in features.sql")
            })
        })
        .collect()
}

fn written(input: &Tensor) -> TractResult<Vec<String>> {
    Ok(match input.datum_type() {
        DatumType::F32 => {
            values::<f32>(input)?.iter().map(|value| number(f64::from(*value))).collect()
        }
        DatumType::F64 => values::<f64>(input)?.iter().map(|value| number(*value)).collect(),
        // A truth value is written as a number.
        DatumType::Bool => {
            values::<bool>(input)?.iter().map(|value| u8::from(*value).to_string()).collect()
        }
        _ => integers(input)?.iter().map(i64::to_string).collect(),
    })
}

/// A float as C's `%.8g` writes it.
fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "INF" } else { "-INF" }.to_owned();
    }
    let scientific = format!("{value:.*e}", DIGITS - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..8).contains(&exponent) {
        let decimals = usize::try_from(7 - exponent).unwrap_or(0);
        return without_zeros(&format!("{value:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs())
}

fn without_zeros(decimal: &str) -> &str {
    if decimal.contains('.') {
        decimal.trim_end_matches('0').trim_end_matches('.')
    } else {
        decimal
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn floats_are_written_as_c_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.33333333"),
            (1e10, "1e+10"),
            (12_345_678.0, "12345678"),
            (123_456_789.0, "1.2345679e+08"),
            (99_999_999.9, "1e+08"),
            (1e-4, "0.0001"),
            (1.5e-7, "1.5e-07"),
            (-2.5, "-2.5"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-INF"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
