//! How long `cameo check` takes over many bundles, each with SQL and a model of its own.

use std::{fs, path::Path, process::ExitCode, sync::Arc, time::Instant};

use anyhow::{Context, bail};
use cameo_bundle::{Bundle, Diagnostic, discover, load, render_human};
use cameo_registry::Shared;
use serde::Serialize;

use super::median;
use crate::{
    cli::BenchCheck,
    commands::check::{counted, inspect_all},
    output::{Output, markdown},
};

/// Bundles of one tenant.
const TENANT_BUNDLES: u32 = 10;
/// Tag of the field `doc_string` of an ONNX model: number 6, with a length.
const DOC_STRING: u8 = 6 << 3 | 2;

#[derive(Debug, Serialize)]
struct Measured {
    bundles: usize,
    model_bytes: usize,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    what: &'static str,
    seconds: f64,
    bundle_ms: f64,
}

pub(super) async fn run(wanted: BenchCheck, output: Output) -> anyhow::Result<ExitCode> {
    let template = load(&wanted.bundle)
        .map_err(|problems| anyhow::anyhow!("{}", render_human(&problems, false)))
        .context("the bundle to copy has problems")?;
    let location = &template.config.model.model_path.value;
    let model = cameo_bundle::artifact::fetch(location, &template.folder).await?;
    let place = tempfile::Builder::new().prefix("cameo-bench-").tempdir()?;
    for index in 0..wanted.bundles {
        generate(place.path(), &template, &model, index, wanted.seed)?;
    }
    let (mut cold, mut warm) = (vec![], vec![]);
    for _ in 0..wanted.rounds.max(1) {
        let shared = Arc::new(Shared::default());
        cold.push(check(place.path(), &shared, wanted.bundles).await?);
        warm.push(check(place.path(), &shared, wanted.bundles).await?);
    }
    let row = |what, seconds: Vec<f64>| {
        let seconds = median(seconds);
        Row { what, seconds, bundle_ms: seconds * 1000.0 / f64::from(wanted.bundles) }
    };
    let measured = Measured {
        bundles: wanted.bundles as usize,
        model_bytes: model.len(),
        rows: vec![row("nothing known", cold), row("models known, engines open", warm)],
    };
    output.show(&measured, report)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads and inspects everything, as `cameo check` does, and gives the seconds.
async fn check(folder: &Path, shared: &Arc<Shared>, bundles: u32) -> anyhow::Result<f64> {
    let started = Instant::now();
    let found = discover(folder);
    let count = found.bundles.len();
    let mut problems = found.diagnostics;
    problems.extend(inspect_all(found.bundles, None, shared).await?);
    let seconds = started.elapsed().as_secs_f64();
    if count != bundles as usize || problems.iter().any(Diagnostic::is_error) {
        bail!(
            "expected {bundles} sound bundles, found {count}\n{}",
            render_human(&problems, false)
        );
    }
    Ok(seconds)
}

/// A copy of the template under another name, with SQL and model content that no other copy has.
fn generate(
    root: &Path,
    template: &Bundle,
    model: &[u8],
    index: u32,
    seed: u64,
) -> anyhow::Result<()> {
    let name = format!("{}_{index}", template.path.service);
    let folder = root.join(format!("tenant_{}", index / TENANT_BUNDLES)).join(&name);
    fs::create_dir_all(&folder)?;
    let write = |file: &str, content: &[u8]| {
        let path = folder.join(file);
        fs::write(&path, content).with_context(|| format!("could not write {}", path.display()))
    };
    let own = format!("{seed}-{index}");
    let config = template.config_text.replacen(
        &format!("SERVICE_NAME: {}", template.path.service),
        &format!("SERVICE_NAME: {name}"),
        1,
    );
    write("config.yaml", config.as_bytes())?;
    let sql = |text: &str| format!("-- copy {own}\n{text}");
    let features = &template.config.features.feature_sql_path.value;
    write(features, sql(&template.feature_sql.source.text).as_bytes())?;
    if let Some(predictions) = &template.predictions_sql {
        write(cameo_bundle::PREDICTIONS_SQL_FILE, sql(&predictions.source.text).as_bytes())?;
    }
    // A description after everything else: another content, the same model.
    let length = u8::try_from(own.len()).context("the seed is too long")?;
    let content = [model, &[DOC_STRING, length], own.as_bytes()].concat();
    write(&template.config.model.model_path.value, &content)
}

fn report(measured: &Measured) -> String {
    let rows = measured.rows.iter().map(|row| {
        vec![row.what.to_owned(), format!("{:.3}", row.seconds), format!("{:.2}", row.bundle_ms)]
    });
    format!(
        "{}, each with SQL and a model of {} KiB of its own\n\n{}",
        counted(measured.bundles, "bundle"),
        measured.model_bytes / 1024,
        markdown(&["check", "seconds", "ms per bundle"], rows)
    )
}
