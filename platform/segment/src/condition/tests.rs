//! What conditions may say, and how refusals point at their place.

use std::collections::BTreeMap;

use cameo_domain::{Column, DataType, PredictionSchema};
use proptest::prelude::*;

use super::*;
use crate::arbitrary;

fn schema(columns: &[(&str, DataType)]) -> PredictionSchema {
    let column = |(name, data_type): &(&str, DataType)| Column {
        name: name.parse().expect("a name"),
        data_type: *data_type,
    };
    PredictionSchema::new(columns.iter().map(column).collect()).expect("a schema")
}

fn catalog() -> Catalog {
    use DataType as D;
    let services = [
        (
            "gender",
            schema(&[("customer_id", D::Int), ("female", D::Float64), ("label", D::String)]),
        ),
        (
            "clv",
            schema(&[
                ("customer_id", D::Int),
                ("tier", D::String),
                ("orders", D::Int),
                ("until", D::Date),
                ("seen", D::Timestamp),
            ]),
        ),
        ("churn", schema(&[("customer_id", D::Int), ("churned", D::Bool)])),
        ("visitors", schema(&[("cookie", D::String), ("score", D::Float64)])),
    ];
    let named = |(name, schema): (&str, PredictionSchema)| (name.parse().expect("a name"), schema);
    Catalog::new(services.into_iter().map(named).collect::<BTreeMap<_, _>>())
}

fn canonical(text: &str) -> String {
    Condition::parse(text, &catalog()).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
}

fn refused(text: &str) -> String {
    match Condition::parse(text, &catalog()) {
        Ok(condition) => panic!("{text} was accepted as {condition}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_column_is_shown_with_its_service_and_every_thing_has_one_spelling() {
    let pairs = [
        (
            "gender.female>=.8 and clv.tier='High' and not coalesce(churn.churned,false)",
            "gender.female >= 0.8 AND clv.tier = 'High' AND NOT COALESCE(churn.churned, FALSE)",
        ),
        ("TIER in (\"a\", 'b''c')", "clv.tier IN ('a', 'b\\'c')"),
        (
            "(orders > 1 or orders is null) and churned",
            "(clv.orders > 1 OR clv.orders IS NULL) AND churn.churned",
        ),
        ("not (orders > 1 and churned)", "NOT (clv.orders > 1 AND churn.churned)"),
        ("orders - (2 - orders) * -3 <> 4", "clv.orders - (2 - clv.orders) * -3 != 4"),
        ("female = 1", "gender.female = 1.0"),
        ("orders / 2 > female", "clv.orders / 2.0 > gender.female"),
        (
            "until between '2026-01-01' and date '2026-02-01'",
            "clv.until BETWEEN DATE '2026-01-01' AND DATE '2026-02-01'",
        ),
        ("seen < '2026-01-01 10:00+02'", "clv.seen < TIMESTAMP '2026-01-01T08:00:00Z'"),
        ("lower(tier) not like 'h\\\\_%'", "LOWER(clv.tier) NOT LIKE 'h\\\\_%'"),
        ("ifnull(female, 0) > 0.5 is not true", "(COALESCE(gender.female, 0.0) > 0.5) IS NOT TRUE"),
    ];
    for (written, expected) in pairs {
        assert_eq!(canonical(written), expected, "of {written}");
        assert_eq!(canonical(expected), expected, "the canonical text reads back");
    }
}

#[test]
fn a_refusal_says_what_was_found_where_and_what_to_write() {
    let refusals = [
        (
            "clv.tier = 'a'\n  and clv.teir = 'b'",
            "line 2, column 7: the service `clv` has no column `teir`; did you mean `tier`?",
        ),
        (
            "gendre.female > 1",
            "line 1, column 1: no service is called `gendre`; did you mean `gender`?",
        ),
        (
            "customer_id > 1",
            "line 1, column 1: both `churn` and `clv` have a column `customer_id`; write `churn.customer_id` or `clv.customer_id`",
        ),
        ("clv.tier > 5", "line 1, column 12: expected STRING, found INT"),
        (
            "clv.orders = clv.tier",
            "line 1, column 14: expected INT, found STRING: they are not compared",
        ),
        (
            "clv.until > 'soon'",
            "line 1, column 13: expected a date such as 2026-01-31, found `soon`",
        ),
        (
            "clv.orders",
            "line 1, column 1: expected a condition, found a value of type INT; compare it with something",
        ),
        (
            "female > 0.5 and visitors.score > 1",
            "line 1, column 18: the customers of `visitors` have keys of type STRING, those of `gender` of another: they cannot be joined",
        ),
        (
            "clv.tier = null",
            "line 1, column 12: NULL is compared with IS NULL and IS NOT NULL alone",
        ),
        ("1 = 1", "line 1, column 1: expected a condition over predictions, found no column"),
        ("clv.orders >", "line 1, column 13: expected an expression, found the end"),
        (
            "clv.orders > 1 clv.tier",
            "line 1, column 16: expected the end of the condition, found `clv`; join conditions with AND or OR",
        ),
        (
            "uper(clv.tier) = 'A'",
            "line 1, column 1: the function UPER is not supported in conditions; did you mean UPPER?",
        ),
        (
            "clv.orders in (select 1)",
            "line 1, column 1: a query inside of a condition is not supported; name the columns of services as `service.column`",
        ),
        (
            "cast(gender.female as int64) = 1",
            "line 1, column 6: a cast of FLOAT64 to INT is not supported; supported are INT to FLOAT64 and STRING, BOOL to INT, DATE to TIMESTAMP",
        ),
        (
            "churn.churned < true",
            "line 1, column 1: expected values with an order beside <, found BOOL",
        ),
    ];
    for (written, expected) in refusals {
        assert_eq!(refused(written), expected, "of {written}");
    }
}

#[test]
fn length_and_depth_are_bounded_and_long_chains_are_not_deep() {
    let many = vec!["clv.orders = 1"; 300].join(" or ");
    assert_eq!(canonical(&many).matches(" OR ").count(), 299);
    let deep = format!("{}churn.churned", "not ".repeat(40));
    assert!(refused(&deep).contains("nest"));
    assert!(refused(&format!("{}1{} = 1", "(".repeat(500), ")".repeat(500))).contains("nest"));
    assert!(refused(&"x".repeat(CONDITION_BYTES_MAX + 1)).contains("bytes"));
    assert!(refused(&vec!["churned"; 1_100].join(" or ")).contains("words and signs"));
}

#[test]
fn the_canonical_text_of_what_is_as_deep_as_may_be_is_read() {
    let comparisons = format!("churn.churned{}", " = true".repeat(30));
    for deep in [
        format!("{}churn.churned", "not ".repeat(31)),
        format!("{}churn.churned{}", "(not ".repeat(20), ")".repeat(20)),
        format!("clv.orders = {}clv.orders", "- ".repeat(30)),
        format!("clv.orders = 1{}", " - -clv.orders".repeat(28)),
        comparisons,
        format!("clv.orders = {}1{}", "coalesce(".repeat(20), ", clv.orders)".repeat(20)),
    ] {
        let once = canonical(&deep);
        assert_eq!(canonical(&once), once, "of {deep}");
    }
}

#[test]
fn a_bundle_is_checked_against_its_own_predictions_and_trusts_those_of_others() {
    let own = schema(&[("customer_id", DataType::Int), ("tier", DataType::String)]);
    let catalog = Catalog::of_bundle("clv".parse().expect("a name"), own);
    let parse = |text: &str| Condition::parse(text, &catalog);
    let condition = parse("tier = 'High' and churn.risk > 0.5 and gender.since < '2026-01-01'");
    let services = condition.as_ref().map(|condition| condition.services().len());
    assert_eq!(services, Ok(3));
    assert!(parse("clv.teir = 'High'").is_err());
    assert!(parse("tier > 0.5 or churn.risk > 0.5").is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in arbitrary::soup()) {
        if let Err(error) = Condition::parse(&text, &catalog()) {
            prop_assert!(error.line >= 1 && error.column >= 1);
        }
    }

    #[test]
    fn the_canonical_text_of_any_condition_reads_back_as_the_same(text in arbitrary::condition()) {
        let condition = Condition::parse(&text, &arbitrary::catalog());
        let condition = condition.map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        let again = Condition::parse(&condition.to_string(), &arbitrary::catalog());
        prop_assert_eq!(Ok(&condition), again.as_ref(), "of {}", text);
    }
}

#[test]
fn a_sensitive_prediction_is_in_no_condition() {
    let columns = [("customer_id", DataType::Int), ("risk", DataType::Float64)];
    let name = "risk".parse().expect("a name");
    let sealed = schema(&columns).sealing([&name]).expect("a prediction");
    let service = "health".parse().expect("a name");
    let catalog = Catalog::new(BTreeMap::from([(service, sealed)]));
    for text in ["risk > 0.5", "health.risk IS NULL", "RISK = 'cameo:v1:'"] {
        let refused = Condition::parse(text, &catalog).expect_err(text).to_string();
        assert!(refused.to_lowercase().contains("`health.risk` is sensitive"), "{refused}");
    }
}
