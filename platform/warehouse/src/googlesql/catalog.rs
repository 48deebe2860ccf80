//! The allow-list of functions.
//!
//! A function is here only when its DuckDB form is known to mean the same. `docs/googlesql.md` is
//! made from this table.

use super::calls::{self, Call};
use super::printer::{Printed, Printer};

/// How a function is printed.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// A template; `{0}` is the first argument. Between `min` and `max` arguments.
    Text(&'static str, usize, usize),
    /// An aggregate of the same meaning, by DuckDB's name; may stand OVER a window. DISTINCT is
    /// allowed when the flag is set.
    Aggregate(&'static str, usize, bool),
    /// A function that needs OVER. IGNORE NULLS is allowed when the flag is set.
    Window(&'static str, usize, usize, bool),
    /// A function of its own.
    Own(fn(&mut Printer<'_>, &Call<'_>) -> Printed),
}

/// One row of the allow-list.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) group: &'static str,
    pub(super) form: Form,
    /// What a reader should know.
    pub(super) note: &'static str,
}

const fn entry(group: &'static str, name: &'static str, form: Form, note: &'static str) -> Entry {
    Entry { name, group, form, note }
}

const AGGREGATE: &str = "Aggregates";
const WINDOW: &str = "Windows";
const CONDITION: &str = "Conditions";
const NUMBER: &str = "Numbers";
const STRING: &str = "Strings";
const DATE: &str = "Dates and times";
const ARRAY: &str = "Arrays and JSON";

use Form::{Aggregate, Own, Text, Window};

/// Every function that GoogleSQL may call here, by group.
pub(super) const FUNCTIONS: &[Entry] = &[
    entry(AGGREGATE, "COUNT", Own(calls::count), "also COUNT(*) and COUNT(DISTINCT x)"),
    entry(AGGREGATE, "COUNTIF", Own(calls::countif), ""),
    entry(AGGREGATE, "SUM", Aggregate("sum", 1, true), ""),
    entry(AGGREGATE, "AVG", Aggregate("avg", 1, true), ""),
    entry(AGGREGATE, "MIN", Aggregate("min", 1, false), ""),
    entry(AGGREGATE, "MAX", Aggregate("max", 1, false), ""),
    entry(AGGREGATE, "ANY_VALUE", Own(calls::any_value), "also HAVING MAX and HAVING MIN"),
    entry(AGGREGATE, "MAX_BY", Aggregate("arg_max_null", 2, false), ""),
    entry(AGGREGATE, "MIN_BY", Aggregate("arg_min_null", 2, false), ""),
    entry(AGGREGATE, "ARRAY_AGG", Own(calls::array_agg), "DISTINCT, IGNORE NULLS, ORDER BY, LIMIT"),
    entry(AGGREGATE, "STRING_AGG", Own(calls::string_agg), "DISTINCT, ORDER BY"),
    entry(AGGREGATE, "LOGICAL_AND", Aggregate("bool_and", 1, false), ""),
    entry(AGGREGATE, "LOGICAL_OR", Aggregate("bool_or", 1, false), ""),
    entry(AGGREGATE, "STDDEV", Aggregate("stddev_samp", 1, false), ""),
    entry(AGGREGATE, "STDDEV_SAMP", Aggregate("stddev_samp", 1, false), ""),
    entry(AGGREGATE, "STDDEV_POP", Aggregate("stddev_pop", 1, false), ""),
    entry(AGGREGATE, "VARIANCE", Aggregate("var_samp", 1, false), ""),
    entry(AGGREGATE, "VAR_SAMP", Aggregate("var_samp", 1, false), ""),
    entry(AGGREGATE, "VAR_POP", Aggregate("var_pop", 1, false), ""),
    entry(AGGREGATE, "APPROX_COUNT_DISTINCT", Own(calls::approx_count_distinct), "exact here"),
    entry(AGGREGATE, "APPROX_QUANTILES", Own(calls::approx_quantiles), "exact here"),
    entry(WINDOW, "ROW_NUMBER", Window("row_number", 0, 0, false), ""),
    entry(WINDOW, "RANK", Window("rank", 0, 0, false), ""),
    entry(WINDOW, "DENSE_RANK", Window("dense_rank", 0, 0, false), ""),
    entry(WINDOW, "PERCENT_RANK", Window("percent_rank", 0, 0, false), ""),
    entry(WINDOW, "CUME_DIST", Window("cume_dist", 0, 0, false), ""),
    entry(WINDOW, "NTILE", Window("ntile", 1, 1, false), ""),
    entry(WINDOW, "LAG", Window("lag", 1, 3, false), ""),
    entry(WINDOW, "LEAD", Window("lead", 1, 3, false), ""),
    entry(WINDOW, "FIRST_VALUE", Window("first_value", 1, 1, true), "IGNORE NULLS"),
    entry(WINDOW, "LAST_VALUE", Window("last_value", 1, 1, true), "IGNORE NULLS"),
    entry(WINDOW, "NTH_VALUE", Window("nth_value", 2, 2, true), "IGNORE NULLS"),
    entry(WINDOW, "PERCENTILE_CONT", Own(calls::percentile_cont), "needs OVER"),
    entry(WINDOW, "PERCENTILE_DISC", Own(calls::percentile_disc), "needs OVER"),
    entry(CONDITION, "IF", Text("CASE WHEN {0} THEN {1} ELSE {2} END", 3, 3), ""),
    entry(CONDITION, "IFNULL", Text("coalesce({0}, {1})", 2, 2), ""),
    entry(CONDITION, "NULLIF", Text("nullif({0}, {1})", 2, 2), ""),
    entry(CONDITION, "COALESCE", Own(calls::coalesce), ""),
    entry(CONDITION, "GREATEST", Own(calls::greatest), "NULL when any argument is"),
    entry(CONDITION, "LEAST", Own(calls::least), "NULL when any argument is"),
    entry(NUMBER, "ABS", Text("abs({0})", 1, 1), ""),
    entry(NUMBER, "ROUND", Own(calls::round), "half away from zero"),
    entry(NUMBER, "TRUNC", Text("trunc(CAST({0} AS DOUBLE))", 1, 1), ""),
    entry(NUMBER, "CEIL", Text("ceil(CAST({0} AS DOUBLE))", 1, 1), ""),
    entry(NUMBER, "CEILING", Text("ceil(CAST({0} AS DOUBLE))", 1, 1), ""),
    entry(NUMBER, "FLOOR", Text("floor(CAST({0} AS DOUBLE))", 1, 1), ""),
    entry(
        NUMBER,
        "MOD",
        Text("bq_mod({0}, {1})", 2, 2),
        "whole numbers; the sign is the dividend's",
    ),
    entry(NUMBER, "DIV", Text("bq_div({0}, {1})", 2, 2), "truncates towards zero"),
    entry(NUMBER, "SAFE_DIVIDE", Text("bq_safe_divide({0}, {1})", 2, 2), ""),
    entry(NUMBER, "IEEE_DIVIDE", Text("(CAST({0} AS DOUBLE) / CAST({1} AS DOUBLE))", 2, 2), ""),
    entry(NUMBER, "SQRT", Text("sqrt(CAST({0} AS DOUBLE))", 1, 1), ""),
    entry(NUMBER, "LN", Text("ln(CAST({0} AS DOUBLE))", 1, 1), ""),
    entry(NUMBER, "LOG", Own(calls::log), "natural with one argument"),
    entry(NUMBER, "LOG10", Text("log10(CAST({0} AS DOUBLE))", 1, 1), ""),
    entry(
        NUMBER,
        "EXP",
        Text("bq_finite(CAST({0} AS DOUBLE), exp(CAST({0} AS DOUBLE)), 'EXP')", 1, 1),
        "",
    ),
    entry(
        NUMBER,
        "POW",
        Text(
            "bq_finite(CAST({0} AS DOUBLE), pow(CAST({0} AS DOUBLE), CAST({1} AS DOUBLE)), 'POW')",
            2,
            2,
        ),
        "",
    ),
    entry(
        NUMBER,
        "POWER",
        Text(
            "bq_finite(CAST({0} AS DOUBLE), pow(CAST({0} AS DOUBLE), CAST({1} AS DOUBLE)), 'POWER')",
            2,
            2,
        ),
        "",
    ),
    entry(NUMBER, "IS_NAN", Text("isnan(CAST({0} AS DOUBLE))", 1, 1), ""),
    entry(NUMBER, "IS_INF", Text("isinf(CAST({0} AS DOUBLE))", 1, 1), ""),
    entry(STRING, "CONCAT", Own(calls::concat), "NULL when any argument is"),
    entry(STRING, "LOWER", Text("lower({0})", 1, 1), ""),
    entry(STRING, "UPPER", Text("upper({0})", 1, 1), ""),
    entry(STRING, "LENGTH", Text("length({0})", 1, 1), "characters"),
    entry(STRING, "CHAR_LENGTH", Text("length({0})", 1, 1), ""),
    entry(STRING, "TRIM", Own(calls::trim), ""),
    entry(STRING, "LTRIM", Own(calls::trim), ""),
    entry(STRING, "RTRIM", Own(calls::trim), ""),
    entry(STRING, "SUBSTR", Own(calls::substr), "negative positions count from the end"),
    entry(STRING, "SUBSTRING", Own(calls::substr), ""),
    entry(STRING, "LEFT", Text("bq_left({0}, {1})", 2, 2), ""),
    entry(STRING, "RIGHT", Text("bq_right({0}, {1})", 2, 2), ""),
    entry(STRING, "REPLACE", Text("replace({0}, {1}, {2})", 3, 3), ""),
    entry(STRING, "STARTS_WITH", Text("starts_with({0}, {1})", 2, 2), ""),
    entry(STRING, "ENDS_WITH", Text("suffix({0}, {1})", 2, 2), ""),
    entry(STRING, "STRPOS", Text("strpos({0}, {1})", 2, 2), ""),
    entry(STRING, "SPLIT", Own(calls::split), "the delimiter is a literal, `,` by default"),
    entry(STRING, "REGEXP_CONTAINS", Text("regexp_matches({0}, {1})", 2, 2), ""),
    entry(
        STRING,
        "REGEXP_EXTRACT",
        Own(calls::regexp_extract),
        "a literal pattern with at most one group",
    ),
    entry(STRING, "REGEXP_REPLACE", Text("regexp_replace({0}, {1}, {2}, 'g')", 3, 3), ""),
    entry(STRING, "TO_HEX", Own(calls::to_hex), "of MD5, SHA1 or SHA256 of a string"),
    entry(
        DATE,
        "DATE",
        Own(calls::date),
        "of a timestamp, with or without zone, or of year, month, day",
    ),
    entry(DATE, "TIMESTAMP", Text("bq_to_timestamp({0})", 1, 1), ""),
    entry(DATE, "DATE_ADD", Own(calls::date_add), "DAY, WEEK, MONTH, QUARTER, YEAR"),
    entry(DATE, "DATE_SUB", Own(calls::date_add), "DAY, WEEK, MONTH, QUARTER, YEAR"),
    entry(DATE, "TIMESTAMP_ADD", Own(calls::timestamp_add), "MICROSECOND to DAY"),
    entry(DATE, "TIMESTAMP_SUB", Own(calls::timestamp_add), "MICROSECOND to DAY"),
    entry(DATE, "DATE_DIFF", Own(calls::date_diff), "counts boundaries; WEEK begins on Sunday"),
    entry(DATE, "TIMESTAMP_DIFF", Own(calls::timestamp_diff), "counts elapsed whole units"),
    entry(DATE, "DATE_TRUNC", Own(calls::date_trunc), ""),
    entry(DATE, "TIMESTAMP_TRUNC", Own(calls::timestamp_trunc), "in UTC"),
    entry(DATE, "LAST_DAY", Own(calls::last_day), "of the month"),
    entry(DATE, "FORMAT_DATE", Own(calls::format_date), "listed elements only"),
    entry(DATE, "FORMAT_TIMESTAMP", Own(calls::format_timestamp), "listed elements only"),
    entry(DATE, "PARSE_DATE", Own(calls::parse_date), "listed elements only"),
    entry(DATE, "PARSE_TIMESTAMP", Own(calls::parse_timestamp), "listed elements only"),
    entry(DATE, "UNIX_DATE", Text("date_diff('day', DATE '1970-01-01', bq_date({0}))", 1, 1), ""),
    entry(DATE, "UNIX_SECONDS", Text("bq_floor_unix(bq_ts({0}), 1000000)", 1, 1), ""),
    entry(DATE, "UNIX_MILLIS", Text("bq_floor_unix(bq_ts({0}), 1000)", 1, 1), ""),
    entry(DATE, "UNIX_MICROS", Text("epoch_us(bq_ts({0}))", 1, 1), ""),
    entry(
        DATE,
        "TIMESTAMP_SECONDS",
        Text("make_timestamp(CAST({0} AS BIGINT) * 1000000)", 1, 1),
        "",
    ),
    entry(DATE, "TIMESTAMP_MILLIS", Text("make_timestamp(CAST({0} AS BIGINT) * 1000)", 1, 1), ""),
    entry(DATE, "TIMESTAMP_MICROS", Text("make_timestamp(CAST({0} AS BIGINT))", 1, 1), ""),
    entry(DATE, "GENERATE_DATE_ARRAY", Own(calls::generate_date_array), ""),
    entry(ARRAY, "ARRAY_LENGTH", Text("len({0})", 1, 1), ""),
    entry(
        ARRAY,
        "ARRAY_TO_STRING",
        Text("array_to_string({0}, {1})", 2, 2),
        "NULL elements are left out",
    ),
    entry(ARRAY, "ARRAY_REVERSE", Text("list_reverse({0})", 1, 1), ""),
    entry(
        ARRAY,
        "GENERATE_ARRAY",
        Text("generate_series({0}, {1})", 2, 2),
        "whole numbers, step 1",
    ),
    entry(ARRAY, "JSON_VALUE", Own(calls::json_value), "scalars at a literal path"),
    entry(ARRAY, "JSON_EXTRACT_SCALAR", Own(calls::json_value), "scalars at a literal path"),
];

/// The row of a function.
pub(super) fn find(name: &str) -> Option<&'static Entry> {
    FUNCTIONS.iter().find(|entry| entry.name == name)
}
