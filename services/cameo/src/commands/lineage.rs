//! `cameo lineage`: where a prediction comes from.

use std::process::ExitCode;

use anyhow::{Context, bail};
use cameo_domain::{GenerationId, Key, ServicePath};
use cameo_store::{
    Store,
    lineage::{self, Lineage},
    lookup,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    cli::{self, Global},
    deployment::Deployment,
    drawing::{Frame, draw},
    output::{Output, grouped},
};

/// Width where the output is no terminal, and the widest picture on one.
const WIDTH: usize = 100;

/// A prediction with everything that it was made from.
#[derive(Debug, Serialize)]
struct Origin {
    key: Key,
    /// What was predicted; none where the generation's table is dropped.
    prediction: Option<Map<String, Value>>,
    #[serde(flatten)]
    lineage: Lineage,
}

pub(crate) async fn run(
    global: &Global,
    wanted: cli::Lineage,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let (store, path) = (&deployment.store, &wanted.service);
    let service = deployment.service(path).await?;
    let generation = match wanted.at {
        None => service.current_generation,
        Some(at) => lineage::served_at(store, path, at).await?,
    };
    let generation = generation.with_context(|| nothing_served(path, wanted.at))?;
    let lineage = lineage::find(store, path, generation).await?;
    let lineage = lineage.with_context(|| format!("generation {generation} has vanished"))?;
    let (key, prediction) = look_up(store, &lineage, generation, &wanted.key).await?;
    let origin = Origin { key, prediction, lineage };
    output.show(&origin, |origin| describe(origin, output))?;
    Ok(ExitCode::SUCCESS)
}

fn nothing_served(path: &ServicePath, at: Option<DateTime<Utc>>) -> String {
    match at {
        None => format!("nothing is published yet; `cameo run --now --wait {path}` runs it"),
        Some(at) => format!("{path} had published nothing at {}", instant(at)),
    }
}

/// The key as the generation declares it, and what it says of the key.
async fn look_up(
    store: &Store,
    lineage: &Lineage,
    generation: GenerationId,
    key: &str,
) -> anyhow::Result<(Key, Option<Map<String, Value>>)> {
    let path = &lineage.service;
    let Some(kept) = lookup::kept(store, path, generation).await? else {
        // The table is gone; that everything in it came from here stays true.
        return Ok((Key::String(key.to_owned()), None));
    };
    let key = Key::parse(key, kept.schema.key().data_type)
        .with_context(|| format!("--key is not a key of {path}"))?;
    let Some(found) = lookup::one(store, &kept, &key).await? else {
        bail!("generation {generation} of {path} has no prediction for `{key}`; is the key right?");
    };
    Ok((key, Some(found.to_json(&kept.schema))))
}

fn describe(origin: &Origin, output: Output) -> String {
    let Origin { key, lineage, .. } = origin;
    let width = output.width().unwrap_or(WIDTH).min(WIDTH);
    format!(
        "{}\n\n{}",
        output.bold(&format!("{}, customer {key}", lineage.service)),
        draw(&picture(origin), width)
    )
}

/// From the data and the commit down to the prediction.
fn picture(origin: &Origin) -> Vec<Vec<Frame>> {
    let Lineage { generation, run, release, .. } = &origin.lineage;
    let data = vec![
        format!("watermark {}", known(generation.watermark.map(instant))),
        format!("fingerprint {}", known(generation.data_fingerprint.map(|hash| hash.short()))),
    ];
    let bundle = vec![
        format!("commit {}", known(release.git_commit.clone())),
        format!("config {}", generation.hashes.config.short()),
        format!("SQL {}", generation.hashes.sql.short()),
        format!("model {}", generation.hashes.model.short()),
    ];
    let release_lines = vec![
        format!("version {}, {}", release.version, known(release.stage.map(|s| s.to_string()))),
        format!("applied by {} at {}", release.applied_by, instant(release.applied_at)),
        format!("owner {}", known(release.owner.clone())),
    ];
    let asked = run.requested_by.as_ref().map_or_else(
        || "due by the schedule".to_owned(),
        |requested_by| format!("asked for by {requested_by}"),
    );
    let run_lines = vec![
        format!("{asked} for {}", instant(run.due_at)),
        format!("attempt {} of {} by {}", run.attempt, run.attempts_max, known(run.worker.clone())),
    ];
    vec![
        vec![frame("bundle", bundle)],
        vec![
            frame("data", data),
            frame(&format!("release {}", release.release.0.short()), release_lines),
        ],
        vec![frame(&format!("run {}", run.run), run_lines)],
        vec![frame(&format!("generation {}", generation.generation), generation_lines(origin))],
        vec![frame(&format!("customer {}", origin.key), prediction_lines(origin))],
    ]
}

fn generation_lines(origin: &Origin) -> Vec<String> {
    let Lineage { generation, served, mirror, explanation, .. } = &origin.lineage;
    let mut lines = vec![format!("predicted at {}", instant(generation.predicted_at))];
    if let Some(digest) = generation.digest {
        lines.push(format!("{} rows, checksum {:016x}", grouped(digest.rows), digest.checksum));
    }
    for period in served {
        let until = period.until.map_or("now".to_owned(), instant);
        lines.push(format!(
            "served from {} until {until}, {} by {}",
            instant(period.from),
            period.action,
            period.actor
        ));
    }
    let mirrored = mirror.as_ref().map(|mirror| match mirror.completed_at {
        Some(at) => format!("mirrored at {}", instant(at)),
        None => format!("mirror {}", mirror.state),
    });
    lines.extend(mirrored);
    lines.extend(explanation.as_ref().map(|explanation| {
        let rows = explanation
            .background_rows
            .map_or(String::new(), |rows| format!(", compared with {} customers", grouped(rows)));
        format!("explained by {}{rows}", explanation.method)
    }));
    lines
}

fn prediction_lines(origin: &Origin) -> Vec<String> {
    match &origin.prediction {
        None => vec!["its table is dropped; the predictions are gone".to_owned()],
        Some(values) => values
            .iter()
            .filter(|(name, _)| *name != cameo_domain::EXPLANATION_COLUMN)
            .map(|(name, value)| format!("{name} {value}"))
            .collect(),
    }
}

fn frame(title: &str, lines: Vec<String>) -> Frame {
    Frame { title: title.to_owned(), lines }
}

fn known(text: Option<String>) -> String {
    text.unwrap_or_else(|| "unknown".to_owned())
}

fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}
