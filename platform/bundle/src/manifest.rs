//! What a release is: everything a worker needs, content-addressed.

use cameo_domain::{Card, PredictionSchema, ReleaseId, ServicePath, Sha256};
use cameo_segment::Declared;
use cameo_sqlmacros::MacroUse;
use serde::{Deserialize, Serialize};

use crate::{
    bundle::Bundle, explanation_config::ExplanationConfig, null_defaults::NullDefaults,
    ranking_config::RankingSettings, release_config::ReleaseConfig, run_config::RunConfig,
};

/// The digests that each generation carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashes {
    /// Of `config.yaml`.
    pub config: Sha256,
    /// Of `features.sql`, `predictions.sql` and the items' query.
    pub sql: Sha256,
    /// Of the model and of the preprocess object, where there is one.
    pub model: Sha256,
}

/// A release, kept as JSON by the control plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseManifest {
    /// Whose service.
    pub path: ServicePath,
    /// `VERSION`
    pub version: String,
    /// The key, then the predictions, then the explanations where each prediction keeps its own.
    pub schema: PredictionSchema,
    /// `PREDICTION_SCHEDULE`
    pub cron: String,
    /// `PREDICTION_TIMEZONE`
    pub timezone: String,
    /// `RANKING_CONFIG` with the items' query, where the service ranks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranking: Option<RankingSettings>,
    /// `EXPLANATION_CONFIG`, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<ExplanationConfig>,
    /// `SEGMENT_CONFIG`, defined while the release is in production; empty where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<Declared>,
    /// `NULL_DEFAULTS` of `FEATURE_CONFIG`; empty where there are none.
    #[serde(default, skip_serializing_if = "NullDefaults::is_empty")]
    pub null_defaults: NullDefaults,
    /// `RUN_CONFIG`
    pub run: RunConfig,
    /// `RELEASE_CONFIG`, where it says anything.
    #[serde(default, skip_serializing_if = "ReleaseConfig::is_default")]
    pub release: ReleaseConfig,
    /// `CARD.md`, where it has front matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<Card>,
    /// The feature query.
    pub feature_sql: String,
    /// The post-processing query.
    pub predictions_sql: Option<String>,
    /// The macros that these queries and the items' query were rendered with, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub macros: Vec<MacroUse>,
    /// The model's address in the artifact store.
    pub model: Sha256,
    /// The preprocess object's address in the artifact store.
    pub preprocess: Option<Sha256>,
    /// The digests that each generation carries.
    pub hashes: Hashes,
    /// The commit from which it was applied; says where it came from, not what it is.
    pub git_commit: Option<String>,
}

impl ReleaseManifest {
    /// The release of a bundle of which the artifacts were stored.
    #[must_use]
    pub fn new(
        bundle: &Bundle,
        model: Sha256,
        preprocess: Option<Sha256>,
        git_commit: Option<String>,
    ) -> Self {
        let prediction = &bundle.config.prediction;
        let explanation = bundle.config.explanation.as_ref();
        let feature_sql = bundle.feature_sql.text.to_string();
        let predictions_sql = bundle.predictions_sql.as_ref().map(|sql| sql.text.to_string());
        let mut sql = vec![("features", feature_sql.as_bytes())];
        sql.extend(predictions_sql.as_ref().map(|sql| ("predictions", sql.as_bytes())));
        let items = bundle.config.ranking.as_ref().zip(bundle.item_sql.as_ref());
        let ranking = items.map(|(ranking, sql)| RankingSettings {
            item_sql: sql.text.to_string(),
            item_key: ranking.item_key.value.clone(),
            top_n: ranking.top_n.value,
            score: ranking.score.as_ref().map(|score| score.value.clone()),
        });
        sql.extend(ranking.as_ref().map(|ranking| ("items", ranking.item_sql.as_bytes())));
        let declared = bundle.config.features.null_defaults.iter();
        let null_defaults = declared
            .map(|default| (default.column.value.clone(), default.value.value.clone()))
            .collect();
        let segments = bundle.config.segments.iter();
        let segments = segments.map(|section| section.declared.clone()).collect();
        let hashes = Hashes {
            config: Sha256::of(bundle.config_text.as_bytes()),
            sql: Sha256::of_parts(sql),
            model: model_hash(model, preprocess),
        };
        Self {
            path: bundle.path.clone(),
            version: prediction.version.value.clone(),
            schema: bundle.config.published_schema(),
            cron: prediction.schedule.pattern().to_owned(),
            timezone: prediction.schedule.zone().name().to_owned(),
            ranking,
            explanation: explanation.map(|section| section.settings.clone()),
            segments,
            null_defaults,
            run: bundle.config.run.clone(),
            release: bundle.config.release.clone(),
            card: bundle.card.clone(),
            feature_sql,
            predictions_sql,
            macros: bundle.macros(),
            model,
            preprocess,
            hashes,
            git_commit,
        }
    }

    /// The same content has the same id, wherever and whenever it was applied.
    #[must_use]
    pub fn id(&self) -> ReleaseId {
        let content = Self { git_commit: None, ..self.clone() };
        ReleaseId(Sha256::of(content.to_json()))
    }

    /// Compact JSON; the order of the keys is fixed.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Names, numbers and text: nothing of this cannot be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Without a preprocess object this is the model's own digest, which people can compare.
fn model_hash(model: Sha256, preprocess: Option<Sha256>) -> Sha256 {
    let Some(preprocess) = preprocess else { return model };
    let (model, preprocess) = (model.to_string(), preprocess.to_string());
    Sha256::of_parts([("model", model.as_bytes()), ("preprocess", preprocess.as_bytes())])
}
