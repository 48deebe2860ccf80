//! `cameo card`: what the team says of a model, and how it does now.

use std::process::ExitCode;

use cameo_serving::card::{self, CardPage};
use chrono::Utc;

use crate::{
    bars,
    cli::{Global, ServiceArgument},
    deployment::{Deployment, unknown_service},
    output::{Output, table},
};

pub(crate) async fn run(
    global: &Global,
    wanted: ServiceArgument,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let path = &wanted.service;
    let page = card::find(&deployment.store, path, Utc::now()).await?;
    let page = page.ok_or_else(|| unknown_service(path))?;
    output.show(&page, |page| describe(page, output))?;
    Ok(ExitCode::SUCCESS)
}

fn describe(page: &CardPage, output: Output) -> String {
    let mut parts = vec![output.bold(&page.service.to_string())];
    if let Some(card) = &page.card {
        let told = [
            ("owner", Some(&card.owner)),
            ("purpose", Some(&card.purpose)),
            ("limits", Some(&card.limits)),
            ("training data", Some(&card.training_data)),
            ("fairness", card.fairness.as_ref()),
        ];
        let told = told.into_iter().filter_map(|(name, text)| Some((name, text?.clone())));
        let metrics = card
            .metrics
            .iter()
            .map(|(name, number)| vec![format!("  {name}"), bars::number(*number)]);
        parts.push(facts(told.map(|(name, text)| vec![format!("  {name}"), text]).chain(metrics)));
        parts.push(card.text.trim().to_owned());
    } else {
        let hint = "nobody has written a card: front matter in CARD.md is one";
        parts.push(output.dim(hint));
    }
    let now = page.facts().into_iter().map(|(name, value)| vec![format!("  {name}"), value]);
    parts.push(format!("{}\n{}", output.dim("now"), facts(now)));
    let importance = page.current.iter().flat_map(|figures| &figures.importance);
    let importance = importance
        .map(|feature| vec![format!("  {}", feature.feature), bars::number(feature.mean_absolute)]);
    let importance = facts(importance);
    if !importance.is_empty() {
        let title = output.dim("most important features, by mean absolute contribution");
        parts.push(format!("{title}\n{importance}"));
    }
    parts.join("\n\n")
}

/// Names and values below each other.
fn facts(rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() { String::new() } else { table(&[], rows) }
}
