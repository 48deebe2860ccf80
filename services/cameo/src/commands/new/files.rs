//! The texts of a new bundle.

use std::{fmt::Write, path::PathBuf};

use cameo_bundle::{CARD_FILE, CONFIG_FILE, PREDICTIONS_SQL_FILE, TENANT_FILE};
use cameo_domain::ServicePath;
use cameo_scoring::Anatomy;

use super::{answers::Answers, features::Takes, predictions::Prediction, sql};

/// What the bundle calls its parts.
pub(super) const FEATURES_FILE: &str = "features.sql";
pub(super) const MODEL_FILE: &str = "model.onnx";
pub(super) const PREPROCESS_FILE: &str = "preprocess.onnx";
/// Longest line of a list in config.yaml, in characters.
const LINE_CHARACTERS_MAX: usize = 100;
/// Words that YAML, or an older YAML, reads as something else than text.
const NOT_TEXT: [&str; 11] =
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"];

/// A service that is about to have files.
pub(super) struct Draft<'a> {
    pub(super) path: &'a ServicePath,
    pub(super) answers: &'a Answers,
    pub(super) model: &'a Anatomy,
    pub(super) takes: &'a Takes,
    pub(super) predictions: &'a [Prediction],
    pub(super) has_preprocess: bool,
}

impl Draft<'_> {
    /// The text files of the bundle's folder.
    pub(super) fn texts(&self) -> Vec<(PathBuf, String)> {
        let answers = self.answers;
        let features = sql::features(&answers.key, self.takes, answers.table.as_ref());
        let mut texts = vec![
            (PathBuf::from(CONFIG_FILE), self.config()),
            (PathBuf::from(FEATURES_FILE), features),
        ];
        if self.predictions.iter().any(Prediction::is_renamed) {
            let query = sql::predictions(&answers.key, self.predictions);
            texts.push((PathBuf::from(PREDICTIONS_SQL_FILE), query));
        }
        texts.push((PathBuf::from(CARD_FILE), self.card()));
        texts
    }

    /// The tenant's file, for a tenant that has none.
    pub(super) fn tenant(&self) -> (PathBuf, String) {
        let text = format!(
            "# Who answers for these services, and how many of them may run at the same time.\n\
             OWNERS: [{}]\nMAX_CONCURRENT_RUNS: 2\n",
            in_quotes(&self.answers.owner)
        );
        (PathBuf::from(TENANT_FILE), text)
    }

    fn config(&self) -> String {
        let key = &self.answers.key;
        let schedule = &self.answers.schedule;
        let names = self.predictions.iter().map(|prediction| scalar(prediction.name.as_str()));
        let types = self.predictions.iter().map(|prediction| prediction.data_type.to_string());
        let preprocess = if self.has_preprocess { PREPROCESS_FILE } else { "\"\"" };
        format!(
            "# What the service is made of, when it runs and what it publishes;\n\
             # `cameo schema` prints every key that can stand here.\n\
             MODEL_CONFIG:\n  \
               # A file of this folder, or a gs://, s3:// or az:// URL.\n  \
               MODEL_PATH: {MODEL_FILE}\n  \
               FRAMEWORK: BASE\n\
             FEATURE_CONFIG:\n  \
               # One row per {key_name}: the key and the features.\n  \
               FEATURE_SQL_PATH: {FEATURES_FILE}\n  \
               # An ONNX model that runs before the model; empty for none.\n  \
               PREPROCESS_OBJECT_PATH: {preprocess}\n\
             PREDICTION_CONFIG:\n  \
               SERVICE_NAME: {service}\n  \
               VERSION: 0.1.0\n  \
               # Minute, hour, day of the month, month, day of the week, by the clocks of the zone.\n  \
               PREDICTION_SCHEDULE: \"{pattern}\"\n  \
               PREDICTION_TIMEZONE: {zone}\n  \
               # The key, then what is published, each with its type.\n  \
               PREDICTION_NAMES: {names}\n  \
               PREDICTION_NAMES_DATATYPE: {types}\n\
             RELEASE_CONFIG:\n  \
               # A new release waits for `cameo promote`; PRODUCTION lets `cameo apply` publish it.\n  \
               ON_APPLY: CANDIDATE\n\
             # Segments: the customers for whom a condition over predictions holds, for campaign tools.\n\
             # SEGMENT_CONFIG:\n\
             #   - NAME: {service}_known\n\
             #     CONDITION: {first} IS NOT NULL\n",
            first = self.first_prediction(),
            key_name = key.name,
            service = scalar(self.path.service.as_str()),
            pattern = schedule.pattern(),
            zone = schedule.zone().name(),
            names = list(std::iter::once(scalar(key.name.as_str())).chain(names)),
            types = list(std::iter::once(key.data_type.to_string()).chain(types)),
        )
    }

    /// What an example of a condition names.
    fn first_prediction(&self) -> &str {
        self.predictions.first().map_or("score", |prediction| prediction.name.as_str())
    }

    /// The front matter tells what a reader asks first; everything below it is prose.
    fn card(&self) -> String {
        let mut text = format!(
            "---\nOWNER: {}\nPURPOSE: {}\nLIMITS: {}\nTRAINING_DATA: {}\nMETRICS: {{}}\nFAIRNESS: {}\n---\n",
            in_quotes(&self.answers.owner),
            in_quotes("Say what the predictions decide, and what they must not decide."),
            in_quotes("Say for whom the model was not made, and where it is known to be wrong."),
            in_quotes("Say which data of which period the model was trained on."),
            in_quotes("Say between which groups the errors were compared, and what came out."),
        );
        let _ = write!(
            text,
            "# {}\n\nWrite figures of held-out data into METRICS, such as {{roc_auc: 0.82}}.\n\n\
             ## Predictions\n\n| prediction | type | meaning |\n|---|---|---|\n",
            self.path.service
        );
        for prediction in self.predictions {
            let meaning = match &prediction.class {
                Some(class) => format!("score of the class {}", cell(class)),
                None => format!("the model's output {}", cell(&prediction.column)),
            };
            let _ =
                writeln!(text, "| `{}` | {} | {meaning} |", prediction.name, prediction.data_type);
        }
        text.push_str("\n## Features\n\n| feature | type | meaning |\n|---|---|---|\n");
        for feature in &self.takes.features {
            let _ =
                writeln!(text, "| {} | {} | |", cell(&feature.name), sql::sql_type(feature.kind));
        }
        let _ = write!(text, "\n## Model\n\n{}\n", self.origin());
        text
    }

    fn origin(&self) -> String {
        let producer = Some(self.model.producer.as_str()).filter(|name| !name.is_empty());
        let trees: usize = self.model.ensembles.iter().map(|ensemble| ensemble.trees).sum();
        let mut text = "An ONNX file".to_owned();
        if let Some(producer) = producer {
            let _ = write!(text, " written by {}", cell(producer));
        }
        if trees > 0 {
            let _ = write!(text, " with {trees} trees");
        }
        text.push('.');
        text
    }
}

/// A name as YAML text.
fn scalar(name: &str) -> String {
    let is_text = !NOT_TEXT.contains(&name.to_ascii_lowercase().as_str());
    if is_text { name.to_owned() } else { in_quotes(name) }
}

/// A text in quotes; JSON's are YAML's.
fn in_quotes(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A list in brackets that goes on below where a line is full.
fn list(values: impl Iterator<Item = String>) -> String {
    let mut text = String::from("[");
    let mut length = 0;
    for (index, value) in values.enumerate() {
        if index > 0 {
            text.push(',');
            if length + value.len() > LINE_CHARACTERS_MAX {
                text.push_str("\n    ");
                length = 0;
            } else {
                text.push(' ');
            }
        }
        length += value.len() + 2;
        text.push_str(&value);
    }
    text.push(']');
    text
}

/// A foreign text in a table of Markdown.
fn cell(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("`{}`", plain.replace('`', "'").replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::{cell, list, scalar};

    #[test]
    fn names_that_yaml_takes_for_something_else_are_quoted() {
        assert_eq!([scalar("No"), scalar("score")], ["\"No\"", "score"]);
    }

    #[test]
    fn long_lists_break() {
        let names = (0..30).map(|index| format!("prediction_{index}"));
        let text = list(names);
        assert!(text.lines().count() > 1 && text.lines().all(|line| line.len() < 130), "{text}");
    }

    #[test]
    fn a_class_cannot_break_the_table() {
        assert_eq!(cell("a|b`c\nd"), "`a\\|b'c d`");
    }
}
