//! Examples for codes whose cure is quicker seen than told.

use serde::Serialize;

use crate::code::Code;

/// A line as it stands in a bundle with the problem, and as it stands in one without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Example {
    /// What is refused.
    pub wrong: &'static str,
    /// What is accepted.
    pub right: &'static str,
}

/// The example of a code, where one is of use.
pub(crate) fn of(code: Code) -> Option<Example> {
    let example = |wrong, right| Some(Example { wrong, right });
    match code {
        Code::UnsafePath => example("MODEL_PATH: ../shared/model.onnx", "MODEL_PATH: model.onnx"),
        Code::LocationUnsupported => example(
            "MODEL_PATH: https://models.example.com/clv.onnx",
            "MODEL_PATH: gs://profiling-models/clv/model.onnx",
        ),
        Code::YamlAlias => {
            example("PREDICTION_NAMES: *names", "PREDICTION_NAMES: [customer_id, score]")
        }
        Code::UnknownKey => {
            example("  Schedule: \"00 18 * * *\"", "  PREDICTION_SCHEDULE: \"00 18 * * *\"")
        }
        Code::MissingKey => example(
            "MODEL_CONFIG:\n  MODEL_PATH: model.onnx",
            "MODEL_CONFIG:\n  MODEL_PATH: model.onnx\n  FRAMEWORK: BASE",
        ),
        Code::WrongType => example(
            "PREDICTION_NAMES: customer_id, score",
            "PREDICTION_NAMES: [customer_id, score]",
        ),
        Code::SegmentTypeWrong => example("CONDITION: tier >= 3", "CONDITION: tier = 'High'"),
        Code::VersionInvalid => example("VERSION: 1.0", "VERSION: 1.0.0"),
        Code::ScheduleInvalid => {
            example("PREDICTION_SCHEDULE: \"@daily\"", "PREDICTION_SCHEDULE: \"0 0 * * *\"")
        }
        Code::TimezoneUnknown => {
            example("PREDICTION_TIMEZONE: CET", "PREDICTION_TIMEZONE: Europe/Berlin")
        }
        Code::ColumnNameInvalid => example(
            "PREDICTION_NAMES: [customer_id, churn-score]",
            "PREDICTION_NAMES: [customer_id, churn_score]",
        ),
        Code::DataTypeUnknown => example(
            "PREDICTION_NAMES_DATATYPE: [INT64, DOUBLE]",
            "PREDICTION_NAMES_DATATYPE: [INT, FLOAT64]",
        ),
        Code::ListsDiffer => example(
            "PREDICTION_NAMES: [customer_id, score]\nPREDICTION_NAMES_DATATYPE: [FLOAT64]",
            "PREDICTION_NAMES: [customer_id, score]\nPREDICTION_NAMES_DATATYPE: [INT, FLOAT64]",
        ),
        Code::KeyTypeInvalid => example(
            "PREDICTION_NAMES: [score, customer_id]\nPREDICTION_NAMES_DATATYPE: [FLOAT64, INT]",
            "PREDICTION_NAMES: [customer_id, score]\nPREDICTION_NAMES_DATATYPE: [INT, FLOAT64]",
        ),
        Code::KeyNotSelected => example(
            "SELECT user_id, age FROM crm.customers",
            "SELECT user_id AS customer_id, age FROM crm.customers",
        ),
        Code::KeyTypeDiffers => example(
            "SELECT customer_id, age FROM crm.customers",
            "SELECT CAST(customer_id AS INT64) AS customer_id, age FROM crm.customers",
        ),
        Code::FeatureTwice => example(
            "SELECT customer_id, MIN(day) AS day, MAX(day) AS day",
            "SELECT customer_id, MIN(day) AS first_day, MAX(day) AS last_day",
        ),
        Code::InputWithoutFeature => example(
            "SELECT customer_id, AVG(amount) AS mean_amount",
            "SELECT customer_id, AVG(amount) AS amount_mean",
        ),
        Code::InputTypeDiffers => {
            example("  is_member", "  IF(is_member = 'yes', 1, 0) AS is_member")
        }
        Code::PredictionWithoutSource => example(
            "SELECT customer_id, variable FROM model_outputs",
            "SELECT customer_id, variable AS score FROM model_outputs",
        ),
        Code::PredictionTypeDiffers => example(
            "SELECT customer_id, score * 10 AS decile FROM model_outputs",
            "SELECT customer_id, CAST(score * 10 AS INT64) AS decile FROM model_outputs",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_shows_a_difference_and_ends_at_its_last_word() {
        for example in Code::ALL.iter().filter_map(|code| of(*code)) {
            assert_ne!(example.wrong, example.right);
            assert!(example.right.trim_end() == example.right && !example.right.is_empty());
        }
    }
}
