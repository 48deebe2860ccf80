//! A service's card: what its team says of the model, and how the model does now.

use std::fmt::Write;

use cameo_domain::{Card, GenerationId, ReleaseId, ServicePath, Stage};
use cameo_store::{
    Store, StoreError,
    explanations::{self, FeatureImportance},
    lineage::{self, Lineage},
    services::{self, ServiceRecord},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::current::instant;

/// How many of the most important features a card shows.
pub const FEATURES_SHOWN: usize = 5;

/// A card with the live figures.
#[derive(Debug, Clone, Serialize)]
pub struct CardPage {
    /// Whose.
    pub service: ServicePath,
    /// What the team says; none where `CARD.md` has no front matter.
    pub card: Option<Card>,
    /// The release of the card: the one in production, or else the one that is nearest to it.
    pub release: ReleaseId,
    /// The version that its config states.
    pub version: String,
    /// Where it stands.
    pub stage: Stage,
    /// The commit that its bundle came from.
    pub git_commit: Option<String>,
    /// Five-field pattern.
    pub schedule: String,
    /// IANA zone of the pattern.
    pub timezone: String,
    /// The first due instant that is not decided yet; none where no release is in production.
    pub next_due_at: Option<DateTime<Utc>>,
    /// What readers are served; none before the first publication.
    pub current: Option<Figures>,
}

/// Figures of the generation that is served.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Its number.
    pub generation: GenerationId,
    /// What made it.
    pub release: ReleaseId,
    /// How many predictions it has.
    pub rows: u64,
    /// When they were made.
    pub predicted_at: DateTime<Utc>,
    /// Seconds since then.
    pub age_seconds: i64,
    /// Whether that is more than the service allows.
    pub stale: bool,
    /// The newest modification of what they were made from.
    pub watermark: Option<DateTime<Utc>>,
    /// How long the run took that made them.
    pub run_seconds: Option<f64>,
    /// Which share of the customers was read and could not be scored.
    pub quarantined_share: Option<f64>,
    /// The most important features, the greatest first; empty where the release is not explained.
    pub importance: Vec<FeatureImportance>,
}

/// The card of a service at `now`; none where the tenant has no such service.
pub async fn find(
    store: &Store,
    path: &ServicePath,
    now: DateTime<Utc>,
) -> Result<Option<CardPage>, StoreError> {
    let Some(service) = services::find(store, &path.tenant, &path.service).await? else {
        return Ok(None);
    };
    let current = match service.current_generation {
        None => None,
        Some(generation) => match lineage::find(store, path, generation).await? {
            Some(lineage) => Some(figures(store, path, &service, lineage, now).await?),
            None => None,
        },
    };
    // A manifest of before has no card, one that cannot be read says nothing here.
    let part = |name: &str| service.manifest.get(name).cloned().unwrap_or_default();
    Ok(Some(CardPage {
        service: path.clone(),
        card: serde_json::from_value(part("card")).ok(),
        git_commit: serde_json::from_value(part("git_commit")).ok(),
        release: service.release,
        version: service.version,
        stage: service.stage,
        schedule: service.cron,
        timezone: service.timezone,
        next_due_at: service.next_due_at,
        current,
    }))
}

async fn figures(
    store: &Store,
    path: &ServicePath,
    service: &ServiceRecord,
    lineage: Lineage,
    now: DateTime<Utc>,
) -> Result<Figures, StoreError> {
    let Lineage { generation, run, .. } = lineage;
    let (tenant, name) = (&path.tenant, &path.service);
    let found = explanations::find(store, tenant, name, Some(generation.generation)).await?;
    let importance = found.and_then(|found| found.importance);
    let mut importance = importance.map_or_else(Vec::new, |importance| importance.features);
    importance.truncate(FEATURES_SHOWN);
    // A clock that runs behind the worker's must not show a negative age.
    let age_seconds = (now - generation.predicted_at).num_seconds().max(0);
    let counts = run.counts.unwrap_or_default();
    let share = counts.rows_quarantined as f64 / counts.rows_read as f64;
    let took = run.started_at.zip(run.finished_at).map(|(start, end)| end - start);
    Ok(Figures {
        generation: generation.generation,
        release: generation.release,
        rows: generation.digest.map_or(0, |digest| digest.rows),
        predicted_at: generation.predicted_at,
        age_seconds,
        stale: age_seconds.cast_unsigned() > service.stale_after_seconds,
        watermark: generation.watermark,
        run_seconds: took.map(TimeDelta::as_seconds_f64),
        quarantined_share: Some(share).filter(|share| share.is_finite()),
        importance,
    })
}

impl CardPage {
    /// The card as Markdown: what the team says, its text, then the figures.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut page = String::new();
        match &self.card {
            Some(card) => self.write_card(card, &mut page),
            None => {
                let _ = writeln!(
                    page,
                    "# {}\n\n*Nobody has written a card: front matter in CARD.md is one.*",
                    self.service
                );
            }
        }
        page.push_str("\n## Now\n\n| | |\n|---|---|\n");
        for (name, value) in self.facts() {
            let _ = writeln!(page, "| {name} | {value} |");
        }
        let importance = self.current.iter().flat_map(|figures| &figures.importance);
        for (index, feature) in importance.enumerate() {
            if index == 0 {
                page.push_str("\n| feature | mean absolute contribution |\n|---|---|\n");
            }
            let _ = writeln!(page, "| `{}` | {:.4} |", feature.feature, feature.mean_absolute);
        }
        page
    }

    fn write_card(&self, card: &Card, page: &mut String) {
        if !card.text.starts_with("# ") {
            let _ = writeln!(page, "# {}\n", self.service);
        }
        let _ = writeln!(page, "{}\n\n## Card\n\n| | |\n|---|---|", card.text.trim_end());
        let told = [
            ("owner", Some(&card.owner)),
            ("purpose", Some(&card.purpose)),
            ("limits", Some(&card.limits)),
            ("training data", Some(&card.training_data)),
            ("fairness", card.fairness.as_ref()),
        ];
        for (name, text) in told {
            let Some(text) = text else { continue };
            let _ = writeln!(page, "| {name} | {} |", cell(text));
        }
        for (name, number) in &card.metrics {
            let _ = writeln!(page, "| {} | {number} |", cell(name));
        }
    }

    /// The live figures, by name.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![
            ("release", format!("{}, version {}", self.release.0.short(), self.version)),
            ("stage", self.stage.to_string()),
        ];
        facts.extend(self.git_commit.clone().map(|commit| ("commit", commit)));
        facts.push(("schedule", format!("`{}` {}", self.schedule, self.timezone)));
        facts.extend(self.next_due_at.map(|at| ("next due", instant(at))));
        let Some(figures) = &self.current else {
            facts.push(("generation", "nothing is published yet".to_owned()));
            return facts;
        };
        let by = if figures.release == self.release {
            String::new()
        } else {
            format!(" of release {}", figures.release.0.short())
        };
        let stale = if figures.stale { ", stale" } else { "" };
        facts.extend([
            ("generation", format!("{}{by}, {} rows", figures.generation, figures.rows)),
            (
                "predicted",
                format!("{}, {} s ago{stale}", instant(figures.predicted_at), figures.age_seconds),
            ),
        ]);
        facts.extend(figures.watermark.map(|at| ("watermark", instant(at))));
        facts.extend(figures.run_seconds.map(|time| ("run", format!("{time:.1} s"))));
        facts.extend(
            figures
                .quarantined_share
                .map(|share| ("quarantined", format!("{:.2} %", share * 100.0))),
        );
        facts
    }
}

/// A text as a cell of a table: on one line, with nothing that ends the cell.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use cameo_domain::Sha256;

    use super::*;

    #[test]
    fn a_card_is_its_text_its_keys_and_the_figures() {
        let release = ReleaseId(Sha256::of("release"));
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        let page = CardPage {
            service: "crm/clv".parse().expect("a path"),
            card: Some(Card {
                owner: "science | sales".to_owned(),
                purpose: "who is\nworth a mailing".to_owned(),
                limits: "no prices".to_owned(),
                training_data: "1997".to_owned(),
                metrics: [("rmse".to_owned(), 86.32)].into(),
                fairness: None,
                text: "# Value\n\nAll of it.\n".to_owned(),
            }),
            release,
            version: "0.0.1".to_owned(),
            stage: Stage::Production,
            git_commit: None,
            schedule: "30 2 * * *".to_owned(),
            timezone: "UTC".to_owned(),
            next_due_at: None,
            current: Some(Figures {
                generation: GenerationId(7),
                release,
                rows: 10,
                predicted_at: at("2026-03-01T18:00:00Z"),
                age_seconds: 60,
                stale: true,
                watermark: None,
                run_seconds: Some(1.25),
                quarantined_share: Some(0.5),
                importance: vec![FeatureImportance {
                    feature: "recency".to_owned(),
                    mean_absolute: 0.25,
                    mean: 0.0,
                }],
            }),
        };
        let short = release.0.short();
        assert_eq!(
            page.to_markdown(),
            format!(
                "# Value\n\nAll of it.\n\n## Card\n\n| | |\n|---|---|\n| owner | science \\| sales |\n\
                 | purpose | who is worth a mailing |\n| limits | no prices |\n| training data | 1997 |\n\
                 | rmse | 86.32 |\n\n## Now\n\n| | |\n|---|---|\n| release | {short}, version 0.0.1 |\n\
                 | stage | production |\n| schedule | `30 2 * * *` UTC |\n| generation | 7, 10 rows |\n\
                 | predicted | 2026-03-01T18:00:00Z, 60 s ago, stale |\n| run | 1.2 s |\n\
                 | quarantined | 50.00 % |\n\n| feature | mean absolute contribution |\n|---|---|\n\
                 | `recency` | 0.2500 |\n"
            )
        );
    }
}
