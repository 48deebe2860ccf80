//! How the predictions of a generation are explained: what an attempt [`record`]s, and what readers
//! [`find`]. The contributions to each prediction, where they are stored, are a column of the
//! generation's own table.

mod background;
mod find;
mod record;

pub use background::{BackgroundColumn, background, keep_background};
pub use find::{about, find};
pub use record::record;

use cameo_domain::GenerationId;
use serde::{Deserialize, Serialize};

/// Most importances of one explanation: features, for all rows and for each cohort.
pub const IMPORTANCES_MAX: usize = 100_000;

/// What contributions and base value are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// The raw score before the model's last transform, such as log-odds.
    Margin,
    /// The explained output column itself.
    Output,
}

impl Unit {
    /// The word in the database and in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Margin => "margin",
            Self::Output => "output",
        }
    }
}

/// What holds for all explanations of a generation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// How contributions were found, such as `TREE_PATH`.
    pub method: String,
    /// The same for people, with what it was computed from.
    pub description: String,
    /// The output column that is explained.
    pub output: String,
    /// What contributions are measured in.
    pub unit: Unit,
    /// What is expected of a customer of whom nothing is known. With all contributions to a
    /// prediction it adds up to the explained output.
    pub base_value: f64,
    /// Whether each row of the generation carries its greatest contributions.
    pub stored: bool,
    /// How many rows the importances are means of.
    pub rows: u64,
    /// Mean standard error of a row's contributions; of sampled methods only.
    pub standard_error: Option<f64>,
}

/// How much a feature matters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureImportance {
    /// The feature column.
    pub feature: String,
    /// Mean of the contributions' absolute values.
    pub mean_absolute: f64,
    /// Mean of the contributions: the direction, as far as there is one.
    pub mean: f64,
}

/// How much each feature matters to customers that have something in common.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cohort {
    /// The feature column by which customers are told apart.
    pub column: String,
    /// What these customers have in it.
    pub value: String,
    /// How many they are.
    pub rows: u64,
    /// Their importances, the greatest first.
    pub features: Vec<FeatureImportance>,
}

/// An explanation with the importance of each feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Importance {
    /// What holds for all of it.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// Over all rows, the greatest first.
    pub features: Vec<FeatureImportance>,
    /// By cohort: by column, then the largest cohort first. Empty once the generation's table is
    /// dropped.
    pub cohorts: Vec<Cohort>,
}

/// What was found for a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// Of which generation.
    pub generation: GenerationId,
    /// Its importance; none where its release is not explained.
    pub importance: Option<Importance>,
}
