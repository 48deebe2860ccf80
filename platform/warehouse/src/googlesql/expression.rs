//! Expressions other than function calls.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, CeilFloorKind, DataType, DateTimeField, Expr, Ident,
    Interval, Spanned, Subscript, TimezoneInfo, UnaryOperator, Value,
};

use super::{
    dates,
    printer::{Printed, Printer, name, refusal, unlisted, unsupported},
    query::whole_number,
};
use crate::engine::quote_text;

/// The named parameters.
const PARAMETERS: [&str; 2] = ["@run_time", "@run_date"];
/// Types of CAST and SAFE_CAST.
pub(super) const CAST_TYPES: [&str; 6] =
    ["INT64", "FLOAT64", "STRING", "BOOL", "DATE", "TIMESTAMP"];
/// Literals up to here stay 32-bit integers in DuckDB: sums of two cannot overflow.
const SMALL_LITERAL_MAX: u64 = 1 << 15;
/// What TRIM takes away: every character that Unicode calls white space.
const WHITE_SPACE: &str = "\t\n\u{b}\u{c}\r \u{85}\u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";

impl Printer<'_> {
    pub(super) fn expr(&mut self, expr: &Expr) -> Printed {
        if matches!(expr, Expr::BinaryOp { .. }) {
            return self.operators(expr);
        }
        self.nested(expr.span(), |printer| printer.expr_nested(expr))
    }

    pub(super) fn exprs(&mut self, exprs: &[Expr]) -> Result<Vec<String>, super::SqlError> {
        exprs.iter().map(|expr| self.expr(expr)).collect()
    }

    // One arm for each expression on the allow-list.
    #[allow(clippy::too_many_lines)]
    fn expr_nested(&mut self, expr: &Expr) -> Printed {
        Ok(match expr {
            Expr::Identifier(ident) if ident.value.starts_with('@') => {
                self.parameter(expr, &ident.value)?
            }
            Expr::Identifier(ident) => name(ident)?,
            Expr::CompoundIdentifier(parts) => compound(parts)?,
            Expr::Value(value) => self.value(expr, &value.value)?,
            Expr::TypedString(literal) => dates::literal(literal)?,
            Expr::Nested(inner) => format!("({})", self.expr(inner)?),
            Expr::IsNull(inner) => format!("({} IS NULL)", self.expr(inner)?),
            Expr::IsNotNull(inner) => format!("({} IS NOT NULL)", self.expr(inner)?),
            Expr::IsTrue(inner) => format!("({} IS TRUE)", self.expr(inner)?),
            Expr::IsNotTrue(inner) => format!("({} IS NOT TRUE)", self.expr(inner)?),
            Expr::IsFalse(inner) => format!("({} IS FALSE)", self.expr(inner)?),
            Expr::IsNotFalse(inner) => format!("({} IS NOT FALSE)", self.expr(inner)?),
            Expr::IsDistinctFrom(left, right) => {
                format!("({} IS DISTINCT FROM {})", self.expr(left)?, self.expr(right)?)
            }
            Expr::IsNotDistinctFrom(left, right) => {
                format!("({} IS NOT DISTINCT FROM {})", self.expr(left)?, self.expr(right)?)
            }
            Expr::InList { expr, list, negated } => {
                let list = self.exprs(list)?.join(", ");
                format!("({} {}IN ({list}))", self.expr(expr)?, not(*negated))
            }
            Expr::InSubquery { expr, subquery, negated } => {
                let query = self.query(subquery)?;
                format!("({} {}IN ({query}))", self.expr(expr)?, not(*negated))
            }
            Expr::InUnnest { expr: wanted, array_expr, negated } => {
                let Expr::Array(array) = &**array_expr else {
                    return Err(unsupported(expr, "IN UNNEST of anything but an array literal"));
                };
                if array.elem.is_empty() {
                    return Err(unsupported(expr, "IN UNNEST of an empty array"));
                }
                let list = self.exprs(&array.elem)?.join(", ");
                format!("({} {}IN ({list}))", self.expr(wanted)?, not(*negated))
            }
            Expr::Between { expr, negated, low, high } => format!(
                "({} {}BETWEEN {} AND {})",
                self.expr(expr)?,
                not(*negated),
                self.expr(low)?,
                self.expr(high)?
            ),
            Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                let pattern = self.expr(pattern)?;
                // A backslash escapes in GoogleSQL; in DuckDB nothing does unless named.
                format!("({} {}LIKE {pattern} ESCAPE '\\')", self.expr(expr)?, not(*negated))
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => format!("(NOT {})", self.expr(expr)?),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => format!("(-{})", self.expr(expr)?),
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => self.expr(expr)?,
            Expr::Cast { kind, expr: inner, data_type, format: None } => {
                self.cast(expr, kind, inner, data_type)?
            }
            Expr::Extract { field, expr: from, .. } => self.extract(expr, field, from)?,
            Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                format!("ceil(CAST({} AS DOUBLE))", self.expr(expr)?)
            }
            Expr::Floor {
                expr,
                field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime),
            } => {
                format!("floor(CAST({} AS DOUBLE))", self.expr(expr)?)
            }
            Expr::Substring { expr, substring_from: Some(from), substring_for, .. } => {
                let (text, from) = (self.expr(expr)?, self.expr(from)?);
                match substring_for {
                    None => format!("bq_substr2({text}, {from})"),
                    Some(length) => format!("bq_substr3({text}, {from}, {})", self.expr(length)?),
                }
            }
            Expr::Trim { trim_where: None, trim_what: None, expr, trim_characters } => {
                let text = self.expr(expr)?;
                self.trim("trim", &text, trim_characters.as_deref().and_then(<[Expr]>::first))?
            }
            Expr::Function(function) => self.function(function)?,
            Expr::Case { operand, conditions, else_result, .. } => {
                let mut printed = "CASE".to_owned();
                if let Some(operand) = operand {
                    printed.push_str(&format!(" {}", self.expr(operand)?));
                }
                for when in conditions {
                    let condition = self.expr(&when.condition)?;
                    printed
                        .push_str(&format!(" WHEN {condition} THEN {}", self.expr(&when.result)?));
                }
                if let Some(result) = else_result {
                    printed.push_str(&format!(" ELSE {}", self.expr(result)?));
                }
                printed + " END"
            }
            Expr::Exists { subquery, negated } => {
                format!("({}EXISTS ({}))", not(*negated), self.query(subquery)?)
            }
            Expr::Subquery(query) => format!("({})", self.query(query)?),
            Expr::Struct { values, fields } if fields.is_empty() => self.structure(expr, values)?,
            Expr::Array(array) => format!("[{}]", self.exprs(&array.elem)?.join(", ")),
            Expr::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain)?,
            Expr::Interval(_) => {
                return Err(refusal(
                    expr.span(),
                    "INTERVAL stands only beside + and - or in DATE_ADD and its like".to_owned(),
                    "INTERVAL",
                    None,
                ));
            }
            _ => return Err(unsupported(expr, &format!("the expression {expr}"))),
        })
    }

    /// Operators. The chain on the left is walked, not recursed into: `a AND b AND …` may be long.
    fn operators(&mut self, expr: &Expr) -> Printed {
        let (mut chain, mut first) = (Vec::new(), expr);
        while let Expr::BinaryOp { left, op, right } = first {
            chain.push((op, &**right));
            first = left;
        }
        let mut printed = match (first, chain.last()) {
            (Expr::Interval(interval), Some((BinaryOperator::Plus, _))) => {
                self.interval(interval)?
            }
            _ => self.expr(first)?,
        };
        let mut left = Some(first);
        let mut open: Option<&BinaryOperator> = None;
        for (op, right) in chain.into_iter().rev() {
            let symbol = match op {
                BinaryOperator::Plus => "+",
                BinaryOperator::Minus => "-",
                BinaryOperator::Multiply => "*",
                BinaryOperator::Divide => "/",
                BinaryOperator::StringConcat => "||",
                BinaryOperator::Eq => "=",
                BinaryOperator::NotEq => "<>",
                BinaryOperator::Lt => "<",
                BinaryOperator::LtEq => "<=",
                BinaryOperator::Gt => ">",
                BinaryOperator::GtEq => ">=",
                BinaryOperator::And => "AND",
                BinaryOperator::Or => "OR",
                other => {
                    let help =
                        (*other == BinaryOperator::Modulo).then(|| "write MOD(a, b)".to_owned());
                    let message = format!("operator {other} is not supported");
                    return Err(refusal(right.span(), message, &other.to_string(), help));
                }
            };
            let right_printed = match (op, right) {
                (BinaryOperator::Plus | BinaryOperator::Minus, Expr::Interval(interval)) => {
                    self.interval(interval)?
                }
                (BinaryOperator::Multiply, Expr::Value(_)) => widen(self.expr(right)?, right),
                _ => self.expr(right)?,
            };
            let logical = matches!(op, BinaryOperator::And | BinaryOperator::Or);
            if let Some(before) = open
                && !(logical && before == op)
            {
                printed = format!("({printed})");
            }
            printed = match op {
                BinaryOperator::Divide if is_nonzero_literal(right) => {
                    format!("CAST({printed} AS DOUBLE) / {right_printed}")
                }
                BinaryOperator::Divide => format!("bq_divide({printed}, {right_printed})"),
                BinaryOperator::Multiply if left.is_some() => {
                    let widened =
                        left.map_or_else(String::new, |left| widen(printed.clone(), left));
                    format!("{widened} * {right_printed}")
                }
                _ => format!("{printed} {symbol} {right_printed}"),
            };
            left = None;
            open = Some(op);
        }
        Ok(format!("({printed})"))
    }

    fn value(&mut self, expr: &Expr, value: &Value) -> Printed {
        Ok(match value {
            Value::Number(digits, false) => number(expr, digits)?,
            Value::SingleQuotedString(text)
            | Value::DoubleQuotedString(text)
            | Value::TripleSingleQuotedString(text)
            | Value::TripleDoubleQuotedString(text)
            | Value::SingleQuotedRawStringLiteral(text)
            | Value::DoubleQuotedRawStringLiteral(text)
            | Value::TripleSingleQuotedRawStringLiteral(text)
            | Value::TripleDoubleQuotedRawStringLiteral(text) => {
                if text.contains('\0') {
                    return Err(unsupported(expr, "a zero byte in a string"));
                }
                quote_text(text)
            }
            Value::Boolean(true) => "TRUE".to_owned(),
            Value::Boolean(false) => "FALSE".to_owned(),
            Value::Null => "NULL".to_owned(),
            Value::Placeholder(parameter) => self.parameter(expr, parameter)?,
            _ => return Err(unsupported(expr, "this kind of literal")),
        })
    }

    fn parameter(&self, expr: &Expr, parameter: &str) -> Printed {
        let parameters = &self.context.parameters;
        match parameter.to_lowercase().as_str() {
            "@run_time" => Ok(dates::timestamp(parameters.run_time)),
            "@run_date" => Ok(dates::date(parameters.run_date)),
            _ => Err(unlisted(expr.span(), "parameter", parameter, PARAMETERS.into_iter())),
        }
    }

    fn cast(&mut self, expr: &Expr, kind: &CastKind, inner: &Expr, to: &DataType) -> Printed {
        let safe = match kind {
            CastKind::Cast => false,
            CastKind::SafeCast => true,
            _ => return Err(unsupported(expr, "this form of CAST")),
        };
        let x = self.expr(inner)?;
        Ok(match (to, safe) {
            (
                DataType::Int64
                | DataType::Int(None)
                | DataType::Integer(None)
                | DataType::BigInt(None),
                safe,
            ) => format!("bq_{}int64({x})", if safe { "safe_" } else { "" }),
            (DataType::Float64, false) => format!("CAST({x} AS DOUBLE)"),
            (DataType::Float64, true) => format!("TRY_CAST({x} AS DOUBLE)"),
            (DataType::String(None), _) => format!("bq_string({x})"),
            (DataType::Bool | DataType::Boolean, false) => format!("bq_bool({x})"),
            (DataType::Bool | DataType::Boolean, true) => format!("bq_safe_bool({x})"),
            (DataType::Date, false) => format!("CAST({x} AS DATE)"),
            (DataType::Date, true) => format!("TRY_CAST({x} AS DATE)"),
            (DataType::Timestamp(None, TimezoneInfo::None), false) => {
                format!("bq_to_timestamp({x})")
            }
            (DataType::Timestamp(None, TimezoneInfo::None), true) => {
                format!("bq_safe_timestamp({x})")
            }
            (other, _) => {
                let found = other.to_string().to_uppercase();
                return Err(unlisted(expr.span(), "cast to type", &found, CAST_TYPES.into_iter()));
            }
        })
    }

    pub(super) fn trim(&mut self, function: &str, text: &str, what: Option<&Expr>) -> Printed {
        let what = match what {
            Some(what) => self.expr(what)?,
            None => quote_text(WHITE_SPACE),
        };
        Ok(format!("{function}({text}, {what})"))
    }

    /// `INTERVAL n part`, as it stands beside `+` and `-`.
    pub(super) fn interval(&mut self, interval: &Interval) -> Printed {
        let Interval {
            value,
            leading_field: Some(field),
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        } = interval
        else {
            return Err(unsupported(&*interval.value, "an INTERVAL of several parts"));
        };
        let part = dates::Part::parse(value.span(), &field.to_string())?;
        let unit = part.interval_unit(value.span())?;
        if let Expr::Value(literal) = &**value
            && !matches!(literal.value, Value::Number(_, _))
        {
            return Err(unsupported(&**value, "an INTERVAL of anything but a whole number"));
        }
        Ok(format!("INTERVAL ({}) {unit}", self.expr(value)?))
    }

    fn structure(&mut self, expr: &Expr, values: &[Expr]) -> Printed {
        let fields = values.iter().map(|value| {
            let (field, value) = match value {
                Expr::Named { expr, name } => (name.value.clone(), &**expr),
                Expr::Identifier(ident) => (ident.value.clone(), value),
                Expr::CompoundIdentifier(parts) => {
                    (parts.last().map(|part| part.value.clone()).unwrap_or_default(), value)
                }
                _ => return Err(unsupported(expr, "a STRUCT field without a name")),
            };
            Ok(format!("{}: {}", quote_text(&field), self.expr(value)?))
        });
        Ok(format!("{{{}}}", fields.collect::<Result<Vec<_>, super::SqlError>>()?.join(", ")))
    }

    fn access(&mut self, root: &Expr, chain: &[AccessExpr]) -> Printed {
        let (mut printed, rest) = match (root, chain) {
            (
                Expr::Function(function),
                [AccessExpr::Subscript(Subscript::Index { index }), rest @ ..],
            ) if super::calls::is_named(function, "APPROX_QUANTILES") => {
                (self.approx_quantile(function, index)?, rest)
            }
            _ => (self.expr(root)?, chain),
        };
        for access in rest {
            printed = match access {
                AccessExpr::Dot(Expr::Identifier(field)) => {
                    format!("struct_extract({printed}, {})", quote_text(&field.value))
                }
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    self.element(&printed, index)?
                }
                _ => return Err(unsupported(root, "this form of access")),
            };
        }
        Ok(printed)
    }

    /// `array[OFFSET(i)]` and its three relatives.
    fn element(&mut self, array: &str, index: &Expr) -> Printed {
        let (how, position) = super::calls::position(index)?;
        let position_printed = self.expr(&position)?;
        let zero_based = match how {
            "OFFSET" | "SAFE_OFFSET" => position_printed,
            _ => format!("({position_printed} - 1)"),
        };
        if how.starts_with("SAFE_") {
            if let (Some(position), "SAFE_OFFSET") = (whole_number(&position), how) {
                return Ok(format!("{array}[{}]", position + 1));
            }
            return Ok(format!("bq_safe_offset({array}, {zero_based})"));
        }
        Ok(format!("bq_offset({array}, {zero_based})"))
    }
}

fn compound(parts: &[Ident]) -> Printed {
    Ok(parts.iter().map(name).collect::<Result<Vec<_>, _>>()?.join("."))
}

fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}

/// A literal. DuckDB reads `0.1` as a decimal, GoogleSQL as a FLOAT64.
fn number(expr: &Expr, digits: &str) -> Printed {
    let plain = digits.chars().all(|c| c.is_ascii_digit());
    if plain {
        return match digits.parse::<u64>() {
            Ok(small) if small <= SMALL_LITERAL_MAX => Ok(digits.to_owned()),
            Ok(large) if i64::try_from(large).is_ok() => Ok(format!("CAST({digits} AS BIGINT)")),
            _ => Err(unsupported(expr, "an integer beyond 64 bits")),
        };
    }
    if digits.parse::<f64>().is_err() {
        return Err(unsupported(expr, "this number"));
    }
    let exponent = digits.contains(['e', 'E']);
    Ok(if exponent { digits.to_owned() } else { format!("{digits}e0") })
}

/// Literals in a product are 64 bits wide: two small ones may overflow 32.
fn widen(printed: String, literal: &Expr) -> String {
    if whole_number(literal).is_some() && !printed.starts_with("CAST(") {
        format!("CAST({printed} AS BIGINT)")
    } else {
        printed
    }
}

fn is_nonzero_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse::<f64>().is_ok_and(|number| number != 0.0),
            _ => false,
        },
        _ => false,
    }
}
