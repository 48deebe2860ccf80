//! Holds values to the schemas of the document.
//!
//! As much of JSON Schema 2020-12 as the document uses; a keyword that is not understood here is a failure, so that
//! nothing passes unseen.

use std::str::FromStr;

use regex::Regex;
use serde_json::{Map, Value};

/// What says nothing about which values are valid.
const ANNOTATIONS: [&str; 9] = [
    "title",
    "description",
    "default",
    "example",
    "examples",
    "deprecated",
    "format",
    "contentMediaType",
    "contentEncoding",
];

/// Why `value` does not fit `schema`; nothing where it does.
pub(crate) fn problems(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(document, schema, value, "", &mut found);
    found
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(schema) = schema.as_object() else {
        if schema == &Value::Bool(false) {
            found.push(format!("{at}: nothing is allowed"));
        }
        return;
    };
    for (keyword, rule) in schema {
        if let Some(problem) = breach(document, schema, keyword, rule, value, at, found) {
            found.push(format!("{at}: {problem} (`{keyword}`: {rule}), found {value}"));
        }
    }
    if let Some(problem) = wrong_format(schema, value) {
        found.push(format!("{at}: {problem}"));
    }
}

/// What is wrong with the value by one keyword. Problems of parts go to `found` themselves.
fn breach(
    document: &Value,
    schema: &Map<String, Value>,
    keyword: &str,
    rule: &Value,
    value: &Value,
    at: &str,
    found: &mut Vec<String>,
) -> Option<&'static str> {
    let fits = |schema: &Value| problems(document, schema, value).is_empty();
    let choices = || rule.as_array().expect("a list of schemas").iter();
    let limit = || rule.as_f64().expect("a number");
    let (number, text) = (value.as_f64(), value.as_str());
    let length = text.map(|text| text.chars().count() as f64);
    let items = value.as_array().map(|items| items.len() as f64);
    let is_wrong = match keyword {
        "$ref" => {
            let pointer = rule.as_str().expect("a reference").trim_start_matches('#');
            let target = document.pointer(pointer).unwrap_or_else(|| panic!("nothing at {rule}"));
            check(document, target, value, at, found);
            false
        }
        "type" => {
            let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
            !types.iter().any(|one| is_of(one.as_str().expect("a type"), value))
        }
        "enum" => !rule.as_array().expect("values").contains(value),
        "const" => rule != value,
        "oneOf" => choices().filter(|schema| fits(schema)).count() != 1,
        "anyOf" => !choices().any(fits),
        "allOf" => {
            choices().for_each(|schema| check(document, schema, value, at, found));
            false
        }
        "minimum" => number.is_some_and(|number| number < limit()),
        "maximum" => number.is_some_and(|number| number > limit()),
        "minLength" => length.is_some_and(|length| length < limit()),
        "maxLength" => length.is_some_and(|length| length > limit()),
        "minItems" => items.is_some_and(|items| items < limit()),
        "maxItems" => items.is_some_and(|items| items > limit()),
        "pattern" => {
            let pattern = Regex::new(rule.as_str().expect("a pattern")).expect("a pattern");
            text.is_some_and(|text| !pattern.is_match(text))
        }
        "required" => value.as_object().is_some_and(|object| {
            rule.as_array()
                .into_iter()
                .flatten()
                .any(|name| !object.contains_key(name.as_str().expect("a name")))
        }),
        "properties" => {
            for (name, part) in value.as_object().into_iter().flatten() {
                if let Some(schema) = rule.get(name) {
                    check(document, schema, part, &format!("{at}/{name}"), found);
                }
            }
            false
        }
        "additionalProperties" => {
            let declared = schema.get("properties").and_then(Value::as_object);
            for (name, part) in value.as_object().into_iter().flatten() {
                if declared.is_none_or(|declared| !declared.contains_key(name)) {
                    check(document, rule, part, &format!("{at}/{name}"), found);
                }
            }
            false
        }
        "propertyNames" => {
            for name in value.as_object().into_iter().flat_map(Map::keys) {
                check(document, rule, &Value::String(name.clone()), at, found);
            }
            false
        }
        "items" => {
            for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                check(document, rule, item, &format!("{at}/{place}"), found);
            }
            false
        }
        _ if ANNOTATIONS.contains(&keyword) || keyword.starts_with("x-") => false,
        _ => return Some("a keyword that these tests do not understand"),
    };
    is_wrong.then_some("not allowed")
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("`{other}` is no type"),
    }
}

fn wrong_format(schema: &Map<String, Value>, value: &Value) -> Option<String> {
    let (format, text) = (schema.get("format")?.as_str()?, value.as_str()?);
    let is_right = match format {
        "date-time" => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
        "date" => chrono::NaiveDate::from_str(text).is_ok(),
        "uuid" => uuid::Uuid::parse_str(text).is_ok(),
        "uri" => text.contains(':'),
        "binary" | "int32" | "int64" | "float" | "double" => true,
        other => panic!("`{other}` is a format that these tests do not understand"),
    };
    (!is_right).then(|| format!("{text} is no {format}"))
}

#[test]
fn a_value_is_held_to_every_keyword() {
    let document = serde_json::json!({"Name": {"type": "string", "pattern": "^[a-z]+$"}});
    let schema = serde_json::json!({
        "type": "object", "required": ["name"], "additionalProperties": false,
        "properties": {
            "name": {"$ref": "#/Name"},
            "keys": {"type": "array", "minItems": 1,
                "items": {"oneOf": [{"type": "integer", "maximum": 9}, {"type": "null"}]}},
            "at": {"type": ["string", "null"], "format": "date-time"},
        },
    });
    let count = |value: Value| problems(&document, &schema, &value).len();
    assert_eq!(count(serde_json::json!({"name": "a", "keys": [1, null], "at": null})), 0);
    for wrong in [
        serde_json::json!({}),
        serde_json::json!({"name": "A"}),
        serde_json::json!({"name": "a", "more": 1}),
        serde_json::json!({"name": "a", "keys": []}),
        serde_json::json!({"name": "a", "keys": [10]}),
        serde_json::json!({"name": "a", "at": "yesterday"}),
    ] {
        assert_eq!(count(wrong.clone()), 1, "{wrong}");
    }
}
