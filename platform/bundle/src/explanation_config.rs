//! `EXPLANATION_CONFIG`: which predictions are explained, how, and what is kept. Every key is
//! optional.

use cameo_domain::{ColumnName, EXPLANATION_COLUMN};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    code::Code,
    config::PredictionConfig,
    diagnostic::{Located, Span},
    reader::{Key, Reader, Section, optional},
    yaml::Node,
};

/// Most contributions kept for each prediction.
pub(crate) const TOP_K_MAX: u32 = 32;
/// Least and most rows that predictions are compared with.
pub(crate) const BACKGROUND_ROWS: (u32, u32) = (10, 10_000);
/// Least and most drawn orders of the features for each row of the method `KERNEL`.
pub(crate) const SAMPLES: (u32, u32) = (2, 65_536);
/// Most columns by which importance is split.
pub(crate) const COHORTS_MAX: usize = 8;

/// The keys of `EXPLANATION_CONFIG`.
pub(crate) const KEYS: &[Key] = &[
    optional("METHOD"),
    optional("OUTPUT"),
    optional("TOP_K"),
    optional("STORE"),
    optional("BACKGROUND_ROWS"),
    optional("SAMPLES"),
    optional("COHORTS"),
];

/// How contributions are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schemars(inline)]
pub enum ExplanationMethod {
    /// The exact one that fits the model, else `KERNEL`.
    #[default]
    Auto,
    /// Exact for tree ensembles: features that are not known follow the tree's own paths.
    TreePath,
    /// Exact for tree ensembles: features that are not known are taken from the background rows.
    TreeInterventional,
    /// Exact for linear models.
    Linear,
    /// Sampled, for every model, with a stated error.
    Kernel,
}

impl ExplanationMethod {
    const WORDS: [(&'static str, Self); 5] = [
        ("AUTO", Self::Auto),
        ("TREE_PATH", Self::TreePath),
        ("TREE_INTERVENTIONAL", Self::TreeInterventional),
        ("LINEAR", Self::Linear),
        ("KERNEL", Self::Kernel),
    ];
}

/// What a run keeps of its explanations, beside the importance of each feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schemars(inline)]
pub enum ExplanationStore {
    /// The greatest contributions to each prediction, in its column `explanation`.
    #[default]
    Prediction,
    /// Nothing for each prediction: `cameo explain` computes what is asked for.
    OnDemand,
    /// Nothing at all, not even importance.
    None,
}

impl ExplanationStore {
    const WORDS: [(&'static str, Self); 3] =
        [("PREDICTION", Self::Prediction), ("ON_DEMAND", Self::OnDemand), ("NONE", Self::None)];
}

/// How predictions are explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields, default)]
pub struct ExplanationConfig {
    /// How contributions are found. `AUTO` takes the exact method that fits the model, else `KERNEL`.
    pub method: ExplanationMethod,
    /// The model's output column that is explained; the last column of scores where it is left out.
    #[schemars(with = "String", length(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// How many contributions are kept for each prediction, the greatest first.
    #[schemars(range(min = 1, max = TOP_K_MAX))]
    pub top_k: u32,
    /// `PREDICTION` keeps contributions with each prediction, `ON_DEMAND` only the importance of
    /// features, `NONE` nothing.
    pub store: ExplanationStore,
    /// How many customers make up the background that predictions are compared with.
    #[schemars(range(min = BACKGROUND_ROWS.0, max = BACKGROUND_ROWS.1))]
    pub background_rows: u32,
    /// Drawn orders of the features for each row of the method `KERNEL`: more are slower and nearer.
    #[schemars(with = "u32", range(min = SAMPLES.0, max = SAMPLES.1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<u32>,
    /// Columns of `features.sql` by whose values importance is split as well.
    #[schemars(with = "Vec<String>", length(max = COHORTS_MAX))]
    pub cohorts: Vec<ColumnName>,
}

impl Default for ExplanationConfig {
    fn default() -> Self {
        Self {
            method: ExplanationMethod::Auto,
            output: None,
            top_k: 3,
            store: ExplanationStore::Prediction,
            background_rows: 1_000,
            samples: None,
            cohorts: Vec::new(),
        }
    }
}

/// `EXPLANATION_CONFIG` as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplanationSection {
    /// What it says.
    pub settings: ExplanationConfig,
    /// Where `OUTPUT` was given.
    pub output: Option<Span>,
    /// Where each of `COHORTS` was given, in order.
    pub cohorts: Vec<Span>,
}

impl ExplanationSection {
    /// Whether each prediction carries its contributions.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.settings.store == ExplanationStore::Prediction
    }
}

/// Reads the section; `prediction` is what the names are compared with, as far as it could be read.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    prediction: Option<&PredictionConfig>,
) -> ExplanationSection {
    let mut settings = ExplanationConfig::default();
    if let Some(node) = section.get("METHOD")
        && let Some(method) = choice(reader, node, "METHOD", &ExplanationMethod::WORDS)
    {
        settings.method = method;
    }
    if let Some(node) = section.get("STORE")
        && let Some(store) = choice(reader, node, "STORE", &ExplanationStore::WORDS)
    {
        settings.store = store;
    }
    let mut number = |key: &str, (min, max): (u32, u32)| {
        section.get(key).and_then(|node| reader.integer(node, key, min..=max))
    };
    settings.top_k = number("TOP_K", (1, TOP_K_MAX)).unwrap_or(settings.top_k);
    let rows = number("BACKGROUND_ROWS", BACKGROUND_ROWS);
    settings.background_rows = rows.unwrap_or(settings.background_rows);
    settings.samples = number("SAMPLES", SAMPLES);
    let output = section.get("OUTPUT").and_then(|node| reader.filled_text(node, "OUTPUT"));
    let cohorts = section.get("COHORTS").map_or_else(Vec::new, |node| cohorts(reader, node));

    refuse_unused(reader, section, &settings);
    if let Some(prediction) = prediction {
        refuse_taken_name(reader, &settings, prediction);
        refuse_key(reader, &cohorts, prediction);
    }
    settings.output = output.as_ref().map(|output| output.value.clone());
    settings.cohorts = cohorts.iter().map(|cohort| cohort.value.clone()).collect();
    ExplanationSection {
        settings,
        output: output.map(|output| output.span),
        cohorts: cohorts.iter().map(|cohort| cohort.span).collect(),
    }
}

fn choice<T: Copy>(
    reader: &mut Reader<'_>,
    node: &Node,
    key: &str,
    words: &[(&'static str, T)],
) -> Option<T> {
    let word = reader.filled_text(node, key)?;
    let found = words.iter().find(|(known, _)| *known == word.value).map(|(_, value)| *value);
    if found.is_none() {
        let words: Vec<_> = words.iter().map(|(known, _)| *known).collect();
        let problem = reader.unknown_choice(word.span, &word.value, &words);
        reader.report(problem);
    }
    found
}

fn cohorts(reader: &mut Reader<'_>, node: &Node) -> Vec<Located<ColumnName>> {
    let Some(nodes) = reader.list(node) else { return Vec::new() };
    if nodes.len() > COHORTS_MAX {
        let message = format!("`COHORTS` lists {} columns", nodes.len());
        let problem = reader
            .problem(Code::ValueOutOfRange, nodes[COHORTS_MAX].span, message)
            .expected(format!("at most {COHORTS_MAX}"));
        reader.report(problem);
    }
    let mut cohorts: Vec<Located<ColumnName>> = Vec::new();
    for node in nodes.iter().take(COHORTS_MAX) {
        let Some(cohort) = reader.parsed::<ColumnName>(node, Code::ColumnNameInvalid) else {
            continue;
        };
        if cohorts.iter().any(|other| same(other, &cohort)) {
            let message = format!("the name `{}` occurs twice", cohort.value);
            let problem = reader.problem(Code::ColumnNameTwice, cohort.span, message);
            reader.report(problem.help("remove one of them"));
        } else {
            cohorts.push(cohort);
        }
    }
    cohorts
}

fn same(a: &Located<ColumnName>, b: &Located<ColumnName>) -> bool {
    a.value.as_str().eq_ignore_ascii_case(b.value.as_str())
}

/// A setting that nothing reads would be believed to work.
fn refuse_unused(reader: &mut Reader<'_>, section: &Section<'_>, settings: &ExplanationConfig) {
    use ExplanationMethod as M;
    let mut refuse = |key: &str, beside: &str| {
        if let Some(node) = section.get(key) {
            let message = format!("`{key}` has no effect beside {beside}");
            let problem = reader.problem(Code::ExplanationSettingUnused, node.span, message);
            reader.report(problem.help(format!("remove `{key}`, or change the other setting")));
        }
    };
    match settings.store {
        ExplanationStore::Prediction => {}
        ExplanationStore::OnDemand => refuse("TOP_K", "STORE: ON_DEMAND"),
        ExplanationStore::None => {
            for key in KEYS.iter().map(|key| key.name).filter(|key| *key != "STORE") {
                refuse(key, "STORE: NONE");
            }
            return;
        }
    }
    match settings.method {
        M::Auto | M::Kernel => {}
        M::TreePath => refuse("SAMPLES", "METHOD: TREE_PATH"),
        M::TreeInterventional => refuse("SAMPLES", "METHOD: TREE_INTERVENTIONAL"),
        M::Linear => refuse("SAMPLES", "METHOD: LINEAR"),
    }
}

/// A service that ranks has scores of pairs, and nothing takes those apart.
pub(crate) fn refuse_beside_ranking(
    reader: &mut Reader<'_>,
    section: &ExplanationSection,
    node: &Node,
) {
    if section.settings.store != ExplanationStore::None {
        let message =
            "a service that ranks is not explained: its scores are of customers and items";
        let problem = reader
            .problem(Code::ExplanationSettingUnused, node.span, message)
            .help("remove EXPLANATION_CONFIG or RANKING_CONFIG");
        reader.report(problem);
    }
}

/// Contributions add up to what is sealed.
pub(crate) fn refuse_beside_sensitive(
    reader: &mut Reader<'_>,
    section: &ExplanationSection,
    prediction: &PredictionConfig,
) {
    let Some(name) = prediction.sensitive.first().filter(|_| section.is_stored()) else { return };
    let message =
        format!("stored explanations would tell the sensitive prediction `{}`", name.value);
    let problem = reader
        .problem(Code::SensitiveExplained, name.span, message)
        .help("write STORE: ON_DEMAND or NONE in EXPLANATION_CONFIG");
    reader.report(problem);
}

fn refuse_taken_name(
    reader: &mut Reader<'_>,
    settings: &ExplanationConfig,
    prediction: &PredictionConfig,
) {
    let taken =
        |name: &&Located<ColumnName>| name.value.as_str().eq_ignore_ascii_case(EXPLANATION_COLUMN);
    if settings.store == ExplanationStore::Prediction
        && let Some(name) = prediction.names.iter().find(taken)
    {
        let message = format!("the name `{}` is the column of stored explanations", name.value);
        let problem = reader
            .problem(Code::ExplanationNameTaken, name.span, message)
            .help("rename the prediction, or write STORE: ON_DEMAND in EXPLANATION_CONFIG");
        reader.report(problem);
    }
}

/// The key has a cohort of one customer for each of its values.
fn refuse_key(
    reader: &mut Reader<'_>,
    cohorts: &[Located<ColumnName>],
    prediction: &PredictionConfig,
) {
    let Some(key) = prediction.names.first() else { return };
    if let Some(cohort) = cohorts.iter().find(|cohort| same(cohort, key)) {
        let message = format!("the cohort column `{}` is the key", cohort.value);
        let problem = reader
            .problem(Code::CohortUnusable, cohort.span, message)
            .expected("a feature with few values, such as a country or a segment");
        reader.report(problem);
    }
}
