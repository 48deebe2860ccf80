//! Whether `NULL_DEFAULTS` fits the features of a bundle and what its model makes of them.

use crate::{
    bundle::Bundle,
    code::Code,
    column_type::Kind,
    diagnostic::{Diagnostic, Located},
    nearest::nearest,
    null_defaults::{DeclaredDefault, NullDefault},
    source::SourceFile,
    steps::{StepColumn, listed, names, same},
};

/// A feature that the model reads.
pub(crate) struct Bound {
    pub(crate) column: String,
    /// Element type of the input; `None` where it is not known which input takes the feature.
    pub(crate) kind: Option<String>,
}

/// Adds what does not fit to `problems`. `bound` are the features that the model reads, `None` where
/// they are not known.
pub(crate) fn check(
    bundle: &Bundle,
    columns: &[StepColumn],
    bound: Option<&[Bound]>,
    problems: &mut Vec<Diagnostic>,
) {
    let config = bundle.config_source();
    let declared = &bundle.config.features.null_defaults;
    problems.extend(declared.iter().filter_map(|default| fits(default, &config, columns, bound)));
}

fn fits(
    default: &DeclaredDefault,
    config: &SourceFile,
    columns: &[StepColumn],
    bound: Option<&[Bound]>,
) -> Option<Diagnostic> {
    let Located { value: name, span } = &default.column;
    let Some(column) = columns.iter().find(|column| same(&column.name, name)) else {
        let message = format!("features.sql gives no column `{name}`");
        return Some(
            Diagnostic::at(Code::NullDefaultUnusable, config, *span, message)
                .expected(format!("one of {}", listed(names(columns))))
                .did_you_mean(nearest(name, names(columns))),
        );
    };
    let input = bound.and_then(|bound| bound.iter().find(|bound| same(&bound.column, name)));
    if let (Some(bound), None) = (bound, input) {
        let read = listed(bound.iter().map(|bound| bound.column.as_str()));
        let message = format!("the model does not read the feature `{name}`");
        return Some(
            Diagnostic::at(Code::NullDefaultUnusable, config, *span, message)
                .expected(format!("one of {read}"))
                .help("remove it: nothing would take the value"),
        );
    }
    let found = column.data_type.as_deref();
    let input = input.and_then(|input| input.kind.as_deref());
    let expected = wanted(found, input, &default.value.value)?;
    let message = format!(
        "the default for nulls of `{name}`{} is {}",
        found.map(|found| format!(", which is {found},")).unwrap_or_default(),
        default.value.value.describe()
    );
    let place = default.value.span;
    Some(Diagnostic::at(Code::NullDefaultTypeDiffers, config, place, message).expected(expected))
}

/// What is expected in place of a value that stands for nulls of a column of type `found` that feeds
/// an input of type `input`, as far as these are known; `None` where the value fits.
fn wanted(found: Option<&str>, input: Option<&str>, value: &NullDefault) -> Option<&'static str> {
    use NullDefault as D;
    let (column, port) = (found.map(Kind::of), input.map(Kind::of));
    let either = |kind| column == Some(kind) || port == Some(kind);
    let is_whole = matches!(column, Some(Kind::Int | Kind::Bool | Kind::Date | Kind::Timestamp))
        || port == Some(Kind::Int);
    let is_number = is_whole
        || matches!(column, Some(Kind::Float | Kind::Decimal | Kind::WholeDecimal))
        || port == Some(Kind::Float);
    match value {
        D::Text(_) if either(Kind::String) => None,
        _ if either(Kind::String) => Some("text; quote it"),
        D::Boolean(_) => None,
        _ if port == Some(Kind::Bool) => Some("true or false"),
        D::Integer(value)
            if input.is_some_and(|input| input.starts_with("int32"))
                && i32::try_from(*value).is_err() =>
        {
            Some("a whole number of 32 bits, which the model's input has")
        }
        D::Integer(_) => None,
        _ if column == Some(Kind::Date) => Some("a whole number: the days since 1970-01-01"),
        D::Number(_) | D::Text(_) if is_whole => Some("a whole number"),
        D::Text(_) if is_number => Some("a number"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_held_to_the_column_and_to_the_input_as_far_as_they_are_known() {
        let text = NullDefault::Text("none".to_owned());
        let half = NullDefault::Number(0.5);
        let large = NullDefault::Integer(1 << 40);
        let cases = [
            (Some("INT64"), Some("float32"), &half, Some("a whole number")),
            (Some("FLOAT64"), Some("float32"), &half, None),
            (Some("FLOAT64"), Some("float32"), &text, Some("a number")),
            (None, Some("int64"), &half, Some("a whole number")),
            (None, None, &half, None),
            (None, None, &text, None),
            (Some("STRING"), None, &text, None),
            (None, Some("string"), &large, Some("text; quote it")),
            (Some("INT64"), Some("int64"), &large, None),
            (
                Some("INT64"),
                Some("int32"),
                &large,
                Some("a whole number of 32 bits, which the model's input has"),
            ),
            (Some("BOOL"), Some("bool"), &large, Some("true or false")),
            (Some("BOOL"), Some("bool"), &NullDefault::Boolean(true), None),
            (Some("NUMERIC"), Some("float32"), &half, None),
            (Some("DATE"), None, &text, Some("a whole number: the days since 1970-01-01")),
        ];
        for (column, input, value, expected) in cases {
            assert_eq!(wanted(column, input, value), expected, "{column:?} {input:?} {value:?}");
        }
    }
}
