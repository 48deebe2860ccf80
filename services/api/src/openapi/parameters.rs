//! What parameters mean, wherever a route takes them.
//!
//! A name means the same in every path, query and header, so its limits are said here once. A route that takes
//! such a parameter is documented with them without saying them again; one that takes a parameter of its own says
//! its limits where it declares it.

use cameo_domain::{
    RunState,
    key::KEY_BYTES_MAX,
    name::{NAME_BYTES_MAX, NAME_PATTERN},
};
use serde_json::{Value, json};
use utoipa::{
    Number,
    openapi::{
        KnownFormat, RefOr, Schema, SchemaFormat,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        schema::{Object, SchemaType, Type},
    },
};

/// Versions are at most as long, and hashes have as many digits.
const RELEASE_BYTES_MAX: usize = 64;
/// Longest list of services, as text.
const SERVICES_BYTES_MAX: usize = 4_096;
/// Longest entity tag or list of them that is worth sending.
const TAG_BYTES_MAX: usize = 1_024;

/// The values that a parameter may have.
enum Limits {
    /// Text of a length in bytes that has a pattern.
    Text { bytes: (usize, usize), pattern: Option<String> },
    /// An integer.
    Integer { least: isize, most: isize },
    /// One of some words.
    Word(Vec<&'static str>),
}

/// Completes the parameters of an operation.
pub(super) fn complete(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let meaning = meaning(parameter);
        let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema else { continue };
        // A parameter that is left out is not sent; there is no way to send nothing.
        without_null(schema);
        if let Some((limits, example)) = meaning {
            limits.write(schema);
            let described = std::mem::take(parameter);
            *parameter = ParameterBuilder::from(described).example(Some(example)).build();
        }
        if let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema {
            bound_integers(schema);
        }
    }
}

/// The limits of a parameter that means the same everywhere, with an example.
fn meaning(parameter: &Parameter) -> Option<(Limits, Value)> {
    let text = |least, most| Limits::Text { bytes: (least, most), pattern: None };
    let like = |pattern: String, most| Limits::Text { bytes: (1, most), pattern: Some(pattern) };
    let name = || like(format!("^{NAME_PATTERN}$"), NAME_BYTES_MAX);
    let place = &parameter.parameter_in;
    Some(match parameter.name.as_str() {
        "tenant" => (name(), json!("marketing")),
        "service" => (name(), json!("gender")),
        "segment" => (name(), json!("loyal")),
        "webhook" => (name(), json!("campaigns")),
        "consumer" => (name(), json!("braze")),
        "format" => {
            let words = vec!["ndjson", "csv", "parquet", "arrow", "braze", "braze_csv"];
            (Limits::Word(words), json!("ndjson"))
        }
        "compression" => (Limits::Word(vec!["none", "gzip", "zstd"]), json!("gzip")),
        "after_key" => (text(1, KEY_BYTES_MAX), json!("17")),
        "services" => {
            let names = format!("^{NAME_PATTERN}(,{NAME_PATTERN})*$");
            (like(names, SERVICES_BYTES_MAX), json!("gender,clv"))
        }
        "key" => (text(1, KEY_BYTES_MAX), json!("17")),
        "prefix" => (like("^[0-9A-Za-z]{8}$".to_owned(), 8), json!("1a2b3c4d")),
        "run" | "generation" => (Limits::Integer { least: 1, most: isize::MAX }, json!(42)),
        "release" => {
            let digits = "^[0-9A-Za-z][0-9A-Za-z.+_-]*$".to_owned();
            (like(digits, RELEASE_BYTES_MAX), json!("9f86d081884c"))
        }
        "limit" => (Limits::Integer { least: 1, most: 200 }, json!(50)),
        "state" => (Limits::Word(RunState::ALL.map(RunState::as_str).to_vec()), json!("published")),
        "If-None-Match" if *place == ParameterIn::Header => {
            (like("^[ -~]*$".to_owned(), TAG_BYTES_MAX), json!("W/\"42-17\""))
        }
        "Idempotency-Key" if *place == ParameterIn::Header => {
            (like("^[!-~]+$".to_owned(), 128), json!("nightly-2026-03-01"))
        }
        _ => return None,
    })
}

impl Limits {
    fn write(self, schema: &mut Object) {
        match self {
            Self::Text { bytes: (least, most), pattern } => {
                schema.min_length.get_or_insert(least);
                schema.max_length.get_or_insert(most);
                schema.pattern = schema.pattern.take().or(pattern);
            }
            Self::Integer { least, most } => {
                schema.minimum.get_or_insert(Number::Int(least));
                schema.maximum.get_or_insert(Number::Int(most));
            }
            Self::Word(words) => {
                schema.enum_values =
                    Some(words.into_iter().map(|word| Value::String(word.to_owned())).collect());
            }
        }
    }
}

fn without_null(schema: &mut Object) {
    if let SchemaType::Array(types) = &mut schema.schema_type {
        types.retain(|one| *one != Type::Null);
        if let [one] = types.as_slice() {
            schema.schema_type = SchemaType::Type(one.clone());
        }
    }
}

/// An integer of a format says so in numbers as well: not every reader knows the formats.
fn bound_integers(schema: &mut Object) {
    let most = match &schema.format {
        Some(SchemaFormat::KnownFormat(KnownFormat::Int32)) => i32::MAX as isize,
        Some(SchemaFormat::KnownFormat(KnownFormat::Int64)) => isize::MAX,
        _ => return,
    };
    schema.maximum.get_or_insert(Number::Int(most));
    schema.minimum.get_or_insert(Number::Int(-most));
}
