//! `cameo importance`: which features matter to a service's predictions, and to whom.

use std::{fmt::Write, process::ExitCode};

use anyhow::{Context, bail};
use cameo_domain::ServicePath;
use cameo_store::{
    Store,
    explanations::{self, Cohort, FeatureImportance, Found, Importance},
};

use crate::{
    bars,
    cli::{Global, Importance as Wanted},
    deployment::Deployment,
    output::{Output, grouped, table},
};

/// Features that are drawn; all of them are in the JSON.
const FEATURES_DRAWN_MAX: usize = 15;
/// Features that are named for each cohort.
const COHORT_FEATURES_MAX: usize = 3;

pub(crate) async fn run(
    global: &Global,
    wanted: Wanted,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let path = &wanted.service;
    deployment.service(path).await?;
    let found =
        explanations::find(&deployment.store, &path.tenant, &path.service, wanted.generation);
    let Some(found) = found.await? else {
        match wanted.generation {
            Some(generation) => bail!("{path} has no complete generation {generation}"),
            None => bail!("nothing is published yet; `cameo run --now --wait {path}` runs it"),
        }
    };
    output.show(&found, |found| describe(path, found, FEATURES_DRAWN_MAX, output))?;
    Ok(ExitCode::SUCCESS)
}

/// What explains what a service serves now, for the demo.
pub(crate) async fn of_current(store: &Store, path: &ServicePath) -> anyhow::Result<Found> {
    let found = explanations::find(store, &path.tenant, &path.service, None).await?;
    found.with_context(|| format!("{path} has published nothing"))
}

pub(crate) fn describe(
    path: &ServicePath,
    found: &Found,
    features: usize,
    output: Output,
) -> String {
    let Some(importance) = &found.importance else {
        return format!(
            "{path}, generation {}, is not explained; an EXPLANATION_CONFIG in its config.yaml \
             switches it on (docs/explanations.md)",
            found.generation
        );
    };
    let Importance { explanation, features: ranked, cohorts } = importance;
    let mut text = format!(
        "\n{}\n{}",
        output.bold(&format!(
            "{path}, generation {}: what `{}` is made of",
            found.generation, explanation.output
        )),
        output.dim(&format!(
            "{}; {} customers; expected of anybody: {} ({})",
            explanation.description,
            grouped(explanation.rows),
            bars::number(explanation.base_value),
            explanation.unit.as_str(),
        )),
    );
    let total = total(ranked);
    let rows = ranked.iter().take(features).map(|one| bars::Bar {
        label: &one.feature,
        size: one.mean_absolute,
        note: format!("{:>5.1} %", percent(one.mean_absolute, total)),
    });
    let _ = write!(text, "\n{}", bars::ranking(rows.collect()));
    if ranked.len() > features {
        let _ =
            write!(text, "\n  {}", output.dim(&format!("and {} more", ranked.len() - features)));
    }
    if !cohorts.is_empty() {
        let header = ["by", "value", "customers", "matters most"];
        let _ = write!(text, "\n\n{}", table(&header, cohorts.iter().map(cohort_row)));
    }
    text
}

fn cohort_row(cohort: &Cohort) -> Vec<String> {
    let total = total(&cohort.features);
    let greatest: Vec<_> = cohort.features[..cohort.features.len().min(COHORT_FEATURES_MAX)]
        .iter()
        .map(|one| format!("{} {:.0} %", one.feature, percent(one.mean_absolute, total)))
        .collect();
    vec![cohort.column.clone(), cohort.value.clone(), grouped(cohort.rows), greatest.join(", ")]
}

fn total(features: &[FeatureImportance]) -> f64 {
    features.iter().map(|one| one.mean_absolute).sum()
}

fn percent(part: f64, total: f64) -> f64 {
    if total > 0.0 { part * 100.0 / total } else { 0.0 }
}
