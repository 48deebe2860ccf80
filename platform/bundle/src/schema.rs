//! The JSON Schemas of `config.yaml` and `tenant.yaml`, for editors.
//!
//! These types say the same as [`crate::config`] in the form that a schema is made from; a test
//! holds their keys to those that the reader knows.

use schemars::{JsonSchema, generate::SchemaSettings};

use crate::{
    explanation_config::ExplanationConfig,
    null_defaults::{NULL_DEFAULTS_MAX, NullDefaults},
    prediction_config::COLUMNS_MAX,
    ranking_config::TOP_N_MAX,
    release_config::ReleaseConfig,
    run_config::RunConfig,
    segment_config::{SEGMENTS_MAX, SegmentDocument},
    tenant::TenantConfig,
};

/// A service of Cameo: what scores, what it is fed with, what comes out and when.
#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields, rename = "config.yaml")]
#[expect(clippy::struct_field_names, reason = "the sections are named so")]
#[expect(dead_code, reason = "only its schema is used")]
struct ConfigDocument {
    /// What scores.
    model_config: ModelDocument,
    /// What the model is fed with.
    feature_config: FeatureDocument,
    /// What comes out, and when.
    prediction_config: PredictionDocument,
    /// Which items are ranked for each customer. Only for a service that ranks.
    ranking_config: Option<RankingDocument>,
    /// How predictions are explained. Without this section the importance of features is found where
    /// that is exact and cheap: for tree ensembles and linear models.
    explanation_config: Option<ExplanationConfig>,
    /// Segments: the customers for whom a condition over predictions holds. They are defined while a release
    /// with them is in production.
    #[schemars(default, length(max = SEGMENTS_MAX))]
    segment_config: Vec<SegmentDocument>,
    /// How the service runs. Every key is optional.
    run_config: Option<RunConfig>,
    /// How a release gets into production. Every key is optional.
    release_config: Option<ReleaseConfig>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields, inline)]
#[expect(dead_code, reason = "only its schema is used")]
struct ModelDocument {
    /// The ONNX model: a path inside the bundle, `gs://bucket/object`, `s3://bucket/object`
    /// or `az://container/object`.
    #[schemars(length(min = 1))]
    model_path: String,
    /// How the model is run. BASE scores an ONNX model; CUSTOM is not supported by this server.
    framework: FrameworkWord,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE", inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum FrameworkWord {
    Base,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields, inline)]
#[expect(dead_code, reason = "only its schema is used")]
struct FeatureDocument {
    /// The query (`GoogleSQL`) that gives one row per customer: the key and the features. A path
    /// inside the bundle.
    #[schemars(length(min = 1))]
    feature_sql_path: String,
    /// An ONNX model that runs before the model; empty for none.
    #[schemars(default)]
    preprocess_object_path: String,
    /// What stands for a null, by feature column. Without one a null is NaN for a float input, and the
    /// row goes to quarantine for any other. Not for a service that ranks.
    #[schemars(default, extend("maxProperties" = NULL_DEFAULTS_MAX))]
    null_defaults: NullDefaults,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields, inline)]
#[expect(dead_code, reason = "only its schema is used")]
struct PredictionDocument {
    /// The service's name: the same as the bundle's folder.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_]{0,39}$"))]
    service_name: String,
    /// MAJOR.MINOR.PATCH, as the team counts.
    #[schemars(regex(
        pattern = r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$"
    ))]
    version: String,
    /// When predictions are due: a cron pattern of five fields (minute hour day-of-month month
    /// day-of-week).
    prediction_schedule: String,
    /// The IANA time zone in which the schedule is read; UTC where it is left out.
    #[schemars(default = "utc")]
    prediction_timezone: String,
    /// The key, then the predictions.
    #[schemars(length(min = 2, max = COLUMNS_MAX), inner(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")))]
    prediction_names: Vec<String>,
    /// The type of each name, in the same order. The key is INT or STRING.
    #[schemars(length(min = 2, max = COLUMNS_MAX))]
    prediction_names_datatype: Vec<TypeWord>,
    /// Predictions that are kept encrypted and shown only to callers with the scope `sensitive`; not the
    /// key.
    #[schemars(default, length(max = COLUMNS_MAX), inner(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")))]
    sensitive: Vec<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE", inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum TypeWord {
    Int,
    Float64,
    String,
    Bool,
    Date,
    Timestamp,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields, inline)]
#[expect(dead_code, reason = "only its schema is used")]
struct RankingDocument {
    /// The query (`GoogleSQL`) that gives one row per item: its key and its features. A path inside the
    /// bundle.
    #[schemars(length(min = 1))]
    item_sql_path: String,
    /// The column that names an item; also one of PREDICTION_NAMES, of which the second is `rank`.
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"))]
    item_key: String,
    /// How many items are kept for each customer.
    #[schemars(range(min = 1, max = TOP_N_MAX))]
    top_n: u32,
    /// The model's output column that ranks, largest first; the last one of floats where it is left out.
    #[schemars(length(min = 1))]
    #[schemars(with = "String", default)]
    score: Option<String>,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// The JSON Schema (2020-12) of `config.yaml`.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schema_of::<ConfigDocument>()
}

/// The JSON Schema (2020-12) of `tenant.yaml`.
#[must_use]
pub fn tenant_json_schema() -> serde_json::Value {
    schema_of::<TenantConfig>()
}

fn schema_of<T: JsonSchema>() -> serde_json::Value {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        access_config, config, explanation_config, prediction_config, ranking_config, reader::Key,
        release_config, run_config, segment_config, tenant,
    };

    #[test]
    fn the_schema_has_the_keys_that_the_reader_knows() {
        let sections: [(&str, &[Key]); 11] = [
            ("", config::SECTIONS),
            ("/properties/MODEL_CONFIG", config::MODEL_KEYS),
            ("/properties/FEATURE_CONFIG", config::FEATURE_KEYS),
            ("/properties/PREDICTION_CONFIG", prediction_config::KEYS),
            ("/properties/RANKING_CONFIG", ranking_config::KEYS),
            ("/properties/EXPLANATION_CONFIG", explanation_config::KEYS),
            ("/properties/SEGMENT_CONFIG/items", segment_config::KEYS),
            ("/properties/SEGMENT_CONFIG/items/properties/SAMPLE", segment_config::SHARE_KEYS),
            ("/properties/SEGMENT_CONFIG/items/properties/HOLD_OUT", segment_config::SHARE_KEYS),
            ("/properties/RUN_CONFIG", run_config::KEYS),
            ("/properties/RELEASE_CONFIG", release_config::KEYS),
        ];
        check(&json_schema(), &sections);
        let sections: [(&str, &[Key]); 2] =
            [("", tenant::KEYS), ("/properties/ACCESS", access_config::KEYS)];
        check(&tenant_json_schema(), &sections);
    }

    fn check(schema: &serde_json::Value, sections: &[(&str, &[Key])]) {
        for (pointer, keys) in sections {
            let section = schema.pointer(pointer).expect("the section's schema");
            let properties: BTreeSet<&str> = section["properties"]
                .as_object()
                .expect("the section's properties")
                .keys()
                .map(String::as_str)
                .collect();
            assert_eq!(properties, keys.iter().map(|key| key.name).collect(), "{pointer}");
            let required: BTreeSet<&str> = section["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|k| k.as_str())
                .collect();
            let expected = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
            assert_eq!(required, expected, "{pointer}");
            assert_eq!(section["additionalProperties"], false, "{pointer}");
        }
    }
}
