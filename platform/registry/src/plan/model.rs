//! What can be told about a model without running it.

use cameo_bundle::{ArtifactStore, ReleaseManifest};
use cameo_domain::Sha256;
use cameo_scoring::{Anatomy, Port, ScoringLimits, anatomy};
use serde::{Deserialize, Serialize};

use crate::inspection::Models;

/// A fact about a model, and what it was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFact {
    /// What it is about, such as `trees`.
    pub fact: String,
    /// What it was; none where there was no such model or nothing of the kind.
    pub old: Option<String>,
    /// What it is; none where there is nothing of the kind any more.
    pub new: Option<String>,
}

/// The facts of a new model, or what differs from those of the release before. A model with the same
/// facts has other weights only, and none is given.
pub(crate) async fn facts(
    models: &Models,
    before: Option<&ReleaseManifest>,
    artifacts: &ArtifactStore,
) -> Vec<ModelFact> {
    let new = of_models(&models.model, models.preprocess.as_deref());
    let Some(before) = before else {
        let fact = |(fact, new)| ModelFact { fact, old: None, new: Some(new) };
        return new.into_iter().map(fact).collect();
    };
    // A model that the store does not have any more has no facts; the hashes still tell them apart.
    let model = read(artifacts, &before.model).await;
    let preprocess = match &before.preprocess {
        Some(hash) => read(artifacts, hash).await,
        None => None,
    };
    let old = model.map(|model| of_models(&model, preprocess.as_deref())).unwrap_or_default();
    compare(&old, &new)
}

async fn read(artifacts: &ArtifactStore, hash: &Sha256) -> Option<Vec<u8>> {
    artifacts.get(hash).await.ok().map(|bytes| bytes.to_vec())
}

/// Names and values, in the order in which they are told.
type Facts = Vec<(String, String)>;

fn compare(old: &[(String, String)], new: &[(String, String)]) -> Vec<ModelFact> {
    let value = |facts: &[(String, String)], wanted: &str| {
        facts.iter().find(|(fact, _)| fact == wanted).map(|(_, value)| value.clone())
    };
    let mut names: Vec<&String> = new.iter().map(|(fact, _)| fact).collect();
    names.extend(old.iter().map(|(fact, _)| fact).filter(|fact| value(new, fact).is_none()));
    let all = names.into_iter().map(|fact| ModelFact {
        fact: fact.clone(),
        old: value(old, fact),
        new: value(new, fact),
    });
    all.filter(|fact| fact.old != fact.new).collect()
}

fn of_models(model: &[u8], preprocess: Option<&[u8]>) -> Facts {
    let mut facts = of_model(model, "");
    facts.extend(preprocess.into_iter().flat_map(|bytes| of_model(bytes, "preprocess ")));
    facts
}

fn of_model(bytes: &[u8], prefix: &str) -> Facts {
    let mut facts = vec![(format!("{prefix}size"), format!("{} bytes", bytes.len()))];
    // Whoever asks has inspected the model already; one that cannot be taken apart has only a size.
    let Ok(model) = anatomy(bytes, &ScoringLimits::default()) else { return facts };
    let mut add = |fact: &str, value: String| {
        if !value.is_empty() {
            facts.push((format!("{prefix}{fact}"), value));
        }
    };
    add("producer", model.producer.clone());
    add("operators", operators(&model));
    let sum = |count: fn(&cameo_scoring::EnsembleShape) -> usize| -> usize {
        model.ensembles.iter().map(count).sum()
    };
    if !model.ensembles.is_empty() {
        add("trees", sum(|ensemble| ensemble.trees).to_string());
        add("leaves", sum(|ensemble| ensemble.leaves).to_string());
        let depth = model.ensembles.iter().map(|ensemble| ensemble.depth_max).max();
        add("depth", depth.unwrap_or_default().to_string());
    }
    add("inputs", ports(&model.signature.inputs));
    add("outputs", ports(&model.signature.outputs));
    facts
}

fn operators(model: &Anatomy) -> String {
    let uses = model.operator_uses.iter().map(|used| match used.count {
        1 => used.name.clone(),
        count => format!("{} ×{count}", used.name),
    });
    uses.collect::<Vec<_>>().join(", ")
}

fn ports(ports: &[Port]) -> String {
    let shown = ports.iter().map(|port| match port.width {
        Some(width) if width != 1 => format!("{} {} ×{width}", port.name, port.kind),
        _ => format!("{} {}", port.name, port.kind),
    });
    shown.collect::<Vec<_>>().join(", ")
}
