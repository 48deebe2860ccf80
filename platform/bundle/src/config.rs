//! `config.yaml`: its sections, and reading them.

use cameo_domain::{Column, ColumnName, DataType, PredictionSchema, Schedule, ServiceName};
use serde::{Deserialize, Serialize};

use crate::{
    code::Code,
    diagnostic::{Diagnostic, Located},
    explanation_config::{self, ExplanationSection},
    null_defaults::{self, DeclaredDefault},
    prediction_config,
    ranking_config::{self, RankingConfig},
    reader::{Key, Reader, Section, optional, required},
    release_config::{self, ReleaseConfig},
    run_config::{self, RunConfig},
    segment_config::{self, SegmentSection},
    source::SourceFile,
    yaml,
};

/// The sections of `config.yaml`.
pub(crate) const SECTIONS: &[Key] = &[
    required("MODEL_CONFIG", "MODEL_CONFIG:"),
    required("FEATURE_CONFIG", "FEATURE_CONFIG:"),
    required("PREDICTION_CONFIG", "PREDICTION_CONFIG:"),
    optional("RANKING_CONFIG"),
    optional("EXPLANATION_CONFIG"),
    optional("SEGMENT_CONFIG"),
    optional("RUN_CONFIG"),
    optional("RELEASE_CONFIG"),
];
/// The keys of `MODEL_CONFIG`.
pub(crate) const MODEL_KEYS: &[Key] =
    &[required("MODEL_PATH", "MODEL_PATH: model.onnx"), required("FRAMEWORK", "FRAMEWORK: BASE")];
/// The keys of `FEATURE_CONFIG`.
pub(crate) const FEATURE_KEYS: &[Key] = &[
    required("FEATURE_SQL_PATH", "FEATURE_SQL_PATH: features.sql"),
    optional("PREPROCESS_OBJECT_PATH"),
    optional("NULL_DEFAULTS"),
];

/// A checked `config.yaml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `MODEL_CONFIG`
    pub model: ModelConfig,
    /// `FEATURE_CONFIG`
    pub features: FeatureConfig,
    /// `PREDICTION_CONFIG`
    pub prediction: PredictionConfig,
    /// `RANKING_CONFIG`, where the service ranks items for customers.
    pub ranking: Option<RankingConfig>,
    /// `EXPLANATION_CONFIG`, where there is one.
    pub explanation: Option<ExplanationSection>,
    /// `SEGMENT_CONFIG`; empty where there is none.
    pub segments: Vec<SegmentSection>,
    /// `RUN_CONFIG`
    pub run: RunConfig,
    /// `RELEASE_CONFIG`
    pub release: ReleaseConfig,
}

impl Config {
    /// The columns of each generation: those that are declared, the sensitive ones sealed, then the
    /// explanations where each prediction keeps its own.
    #[must_use]
    pub fn published_schema(&self) -> PredictionSchema {
        let declared = self.prediction.sealed_schema();
        if !self.explanation.as_ref().is_some_and(ExplanationSection::is_stored) {
            return declared;
        }
        // A declared column of that name was refused when the config was read.
        declared.clone().with_explanation().unwrap_or(declared)
    }
}

/// What scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelConfig {
    /// A path inside the bundle or an object-store URL.
    pub model_path: Located<String>,
    /// How the model is run.
    pub framework: Located<Framework>,
}

/// How a model is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Framework {
    /// An ONNX model, scored by the platform.
    Base,
}

/// What the model is fed with.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureConfig {
    /// The query, inside the bundle.
    pub feature_sql_path: Located<String>,
    /// An ONNX model before the model: a path inside the bundle or an object-store URL.
    pub preprocess_object_path: Option<Located<String>>,
    /// What stands for the nulls of features, in the order of the file.
    pub null_defaults: Vec<DeclaredDefault>,
}

/// What comes out, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionConfig {
    /// The service's name; the bundle's folder has the same.
    pub service_name: Located<ServiceName>,
    /// `MAJOR.MINOR.PATCH`, as the team counts.
    pub version: Located<String>,
    /// When predictions are due.
    pub schedule: Schedule,
    /// The key, then the predictions.
    pub names: Vec<Located<ColumnName>>,
    /// The type of each name.
    pub types: Vec<Located<DataType>>,
    /// The predictions that are kept sealed, as `names` writes them.
    pub sensitive: Vec<Located<ColumnName>>,
    pub(crate) schema: PredictionSchema,
}

impl PredictionConfig {
    /// The names with their types.
    #[must_use]
    pub fn schema(&self) -> &PredictionSchema {
        &self.schema
    }

    /// The same, with the sensitive ones sealed.
    #[must_use]
    pub fn sealed_schema(&self) -> PredictionSchema {
        let declared = self.schema.clone();
        // What cannot be sealed was refused when the config was read.
        let sensitive = self.sensitive.iter().map(|name| &name.value);
        declared.clone().sealing(sensitive).unwrap_or(declared)
    }

    /// Where each column of the schema was named, in its order.
    pub fn columns(&self) -> impl Iterator<Item = (&Column, &Located<ColumnName>)> {
        self.schema.columns().zip(&self.names)
    }
}

/// What could be read of a config: the parts that files are checked by, and the whole where
/// nothing was wrong.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) config: Option<Config>,
    pub(crate) model_path: Option<Located<String>>,
    pub(crate) feature_sql_path: Option<Located<String>>,
    pub(crate) preprocess_object_path: Option<Located<String>>,
    pub(crate) item_sql_path: Option<Located<String>>,
    pub(crate) service_name: Option<Located<ServiceName>>,
}

/// Reads a config, adding every problem of it to `problems`.
pub(crate) fn read(source: &SourceFile, problems: &mut Vec<Diagnostic>) -> Reading {
    let mut reader = Reader { source, problems: Vec::new() };
    let mut reading = read_sections(&mut reader).unwrap_or_default();
    if !reader.problems.is_empty() {
        reading.config = None;
    }
    problems.append(&mut reader.problems);
    reading
}

fn read_sections(reader: &mut Reader<'_>) -> Option<Reading> {
    let Some(root) = yaml::parse(reader.source, &mut reader.problems) else {
        if reader.problems.is_empty() {
            let problem = reader
                .problem(Code::ValueEmpty, reader.source.start(), "the file holds nothing")
                .expected("the sections MODEL_CONFIG, FEATURE_CONFIG and PREDICTION_CONFIG");
            reader.report(problem);
        }
        return None;
    };
    let sections = reader.section(&root, "config.yaml", SECTIONS)?;
    let mut inner = |name: &'static str, keys: &'static [Key]| {
        sections.get(name).and_then(|node| reader.section(node, name, keys))
    };
    let model = inner("MODEL_CONFIG", MODEL_KEYS).unwrap_or_default();
    let features = inner("FEATURE_CONFIG", FEATURE_KEYS).unwrap_or_default();
    let prediction = inner("PREDICTION_CONFIG", prediction_config::KEYS).unwrap_or_default();
    let ranking = inner("RANKING_CONFIG", ranking_config::KEYS);
    let explanation = inner("EXPLANATION_CONFIG", explanation_config::KEYS);
    let run = inner("RUN_CONFIG", run_config::KEYS).unwrap_or_default();
    let release = inner("RELEASE_CONFIG", release_config::KEYS).unwrap_or_default();

    let model_path = filled(reader, &model, "MODEL_PATH");
    let framework = model.get("FRAMEWORK").and_then(|node| framework(reader, node));
    let feature_sql_path = filled(reader, &features, "FEATURE_SQL_PATH");
    let preprocess_object_path = features
        .get("PREPROCESS_OBJECT_PATH")
        .and_then(|node| reader.text(node))
        .filter(|path| !path.value.is_empty());
    let service_name = prediction
        .get("SERVICE_NAME")
        .and_then(|node| reader.parsed(node, Code::ServiceNameInvalid));
    let mut prediction = prediction_config::read(reader, &prediction, service_name.clone());
    let ranks = ranking.is_some();
    if let Some(span) = sections.blank("RANKING_CONFIG") {
        let problem = reader
            .problem(Code::ValueEmpty, span, "`RANKING_CONFIG` has no value")
            .help("give it ITEM_SQL_PATH, ITEM_KEY and TOP_N, or remove it");
        reader.report(problem);
    }
    let ranking = ranking.and_then(|section| ranking_config::read(reader, &section));
    if let (Some(ranking), Some(prediction)) = (&ranking, &mut prediction) {
        let preprocess = preprocess_object_path.as_ref().map(|path| path.span);
        ranking_config::apply(reader, ranking, preprocess, prediction);
    }
    let null_defaults = null_defaults(reader, &features, prediction.as_ref(), ranks);
    let item_sql_path = ranking.as_ref().map(|ranking| ranking.item_sql_path.clone());
    if let Some(span) = sections.blank("EXPLANATION_CONFIG") {
        let problem = reader
            .problem(Code::ValueEmpty, span, "`EXPLANATION_CONFIG` has no value")
            .help("for example `EXPLANATION_CONFIG: {TOP_K: 3}`");
        reader.report(problem);
    }
    let explanation =
        explanation.map(|section| explanation_config::read(reader, &section, prediction.as_ref()));
    if let (Some(explanation), Some(node), true) =
        (&explanation, sections.get("EXPLANATION_CONFIG"), ranks)
    {
        explanation_config::refuse_beside_ranking(reader, explanation, node);
    }
    if let (Some(explanation), Some(prediction)) = (&explanation, &prediction) {
        explanation_config::refuse_beside_sensitive(reader, explanation, prediction);
    }
    let segments = segments(reader, &sections, prediction.as_ref());
    let run = run_config::read(reader, &run);
    let release = release_config::read(reader, &release);
    let config = (|| {
        Some(Config {
            model: ModelConfig { model_path: model_path.clone()?, framework: framework? },
            features: FeatureConfig {
                feature_sql_path: feature_sql_path.clone()?,
                preprocess_object_path: preprocess_object_path.clone(),
                null_defaults,
            },
            prediction: prediction?,
            ranking: if ranks { Some(ranking?) } else { None },
            explanation: explanation.clone(),
            segments,
            run,
            release,
        })
    })();
    Some(Reading {
        config,
        model_path,
        feature_sql_path,
        preprocess_object_path,
        item_sql_path,
        service_name,
    })
}

fn filled(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    key: &'static str,
) -> Option<Located<String>> {
    section.get(key).and_then(|node| reader.filled_text(node, key))
}

fn null_defaults(
    reader: &mut Reader<'_>,
    features: &Section<'_>,
    prediction: Option<&PredictionConfig>,
    ranks: bool,
) -> Vec<DeclaredDefault> {
    if let Some(span) = features.blank("NULL_DEFAULTS") {
        let problem = reader
            .problem(Code::ValueEmpty, span, "`NULL_DEFAULTS` has no value")
            .help("for example `NULL_DEFAULTS: {visits: 0}`");
        reader.report(problem);
    }
    let Some(node) = features.get("NULL_DEFAULTS") else { return Vec::new() };
    if ranks {
        let message = "a service that ranks takes no defaults for nulls";
        let problem = reader.problem(Code::NullDefaultWithRanking, node.span, message).help(
            "write COALESCE in features.sql or in the items' query, and remove NULL_DEFAULTS",
        );
        reader.report(problem);
        return Vec::new();
    }
    null_defaults::read(reader, node, prediction)
}

fn segments(
    reader: &mut Reader<'_>,
    sections: &Section<'_>,
    prediction: Option<&PredictionConfig>,
) -> Vec<SegmentSection> {
    if let Some(span) = sections.blank("SEGMENT_CONFIG") {
        let problem = reader
            .problem(Code::ValueEmpty, span, "`SEGMENT_CONFIG` has no value")
            .help("list segments, each with NAME and CONDITION, or remove it");
        reader.report(problem);
    }
    let node = sections.get("SEGMENT_CONFIG");
    node.map_or_else(Vec::new, |node| segment_config::read(reader, node, prediction))
}

fn framework(reader: &mut Reader<'_>, node: &yaml::Node) -> Option<Located<Framework>> {
    let text = reader.filled_text(node, "FRAMEWORK")?;
    let problem = match text.value.as_str() {
        "BASE" => return Some(text.map(|_| Framework::Base)),
        "CUSTOM" => reader
            .problem(
                Code::FrameworkUnsupported,
                text.span,
                "FRAMEWORK: CUSTOM is not supported by this server",
            )
            .expected("BASE")
            .help("export the model to ONNX, put further steps into predictions.sql"),
        other => reader.unknown_choice(text.span, other, &["BASE"]),
    };
    reader.report(problem);
    None
}
