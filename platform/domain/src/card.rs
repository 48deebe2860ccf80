//! The card of a model: what people should know before they use it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the front matter of `CARD.md` says, and the text below it. Part of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Who answers for the model.
    pub owner: String,
    /// What it is for.
    pub purpose: String,
    /// What it must not be used for, and where it is weak.
    pub limits: String,
    /// What it was trained on.
    pub training_data: String,
    /// How good it was when it was trained, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// What is known of how it treats groups of people.
    pub fairness: Option<String>,
    /// The Markdown below the front matter.
    pub text: String,
}
