//! `cameo plan`: the dry run.

use std::{fmt::Write, process::ExitCode, sync::Arc};

use cameo_bundle::{Bundle, Diagnostic, Discovery, ReleaseManifest, discover};
use cameo_domain::{ReleaseId, ServicePath, Sha256};
use cameo_pipeline::{ModelFiles, Plan, StepView};
use cameo_registry::inspection::{Inspection, inspect, parameters};
use cameo_store::services::{self, ServiceRecord};
use cameo_warehouse::Warehouse;
use serde::Serialize;

use crate::{
    cli::{Bundles, Global},
    commands::check::{counted, show_problems},
    deployment::Deployment,
    output::{Output, grouped, table},
};

/// `plan` found that `apply` would change something.
const EXIT_CHANGES: u8 = 2;

/// What `apply` would do to one service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Change {
    Create,
    Update { parts: Vec<String> },
    Unchanged,
}

#[derive(Debug, Serialize)]
struct ServicePlan {
    service: ServicePath,
    release: ReleaseId,
    change: Change,
    steps: Vec<StepView>,
    rows_estimated: Option<u64>,
    bytes_estimated: Option<u64>,
    watermark: Option<chrono::DateTime<chrono::Utc>>,
}

pub(crate) async fn run(
    global: &Global,
    wanted: Bundles,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let Discovery { bundles, diagnostics: mut problems, .. } = discover(&wanted.path);
    let mut plans = Vec::new();
    for bundle in &bundles {
        let inspection = inspect(bundle, Some(&deployment.warehouse)).await;
        problems.extend(inspection.diagnostics.iter().cloned());
        if !inspection.diagnostics.iter().any(Diagnostic::is_error) {
            let path = &bundle.path;
            let current = services::find(&deployment.store, &path.tenant, &path.service).await?;
            let warehouse = &deployment.warehouse;
            plans.push(plan(bundle, inspection, warehouse, current.as_ref()).await?);
        }
    }
    if problems.iter().any(Diagnostic::is_error) {
        show_problems(&problems, "; nothing can be planned", output)?;
        return Ok(ExitCode::FAILURE);
    }
    output.show(&plans, |plans| describe(plans, output))?;
    let changes = plans.iter().any(|plan| !matches!(plan.change, Change::Unchanged));
    Ok(if changes { ExitCode::from(EXIT_CHANGES) } else { ExitCode::SUCCESS })
}

async fn plan(
    bundle: &Bundle,
    inspection: Inspection,
    warehouse: &Arc<dyn Warehouse>,
    current: Option<&ServiceRecord>,
) -> anyhow::Result<ServicePlan> {
    let model = inspection.model.unwrap_or_default();
    let preprocess_hash = inspection.preprocess.as_ref().map(Sha256::of);
    let manifest = ReleaseManifest::new(bundle, Sha256::of(&model), preprocess_hash, None);
    let release = manifest.id();
    let change = change(&manifest, current);
    let files = Arc::new(ModelFiles { model, preprocess: inspection.preprocess });
    let plan = Plan::prepare(manifest, files, warehouse.as_ref(), parameters(bundle)).await?;
    let description = plan.description();
    Ok(ServicePlan {
        service: bundle.path.clone(),
        release,
        change,
        rows_estimated: description.rows_estimated,
        bytes_estimated: description.bytes_estimated,
        watermark: plan.watermark(),
        steps: plan.steps(),
    })
}

fn change(new: &ReleaseManifest, current: Option<&ServiceRecord>) -> Change {
    let Some(current) = current else { return Change::Create };
    if current.release == new.id() {
        return Change::Unchanged;
    }
    let Ok(old) = serde_json::from_value::<ReleaseManifest>(current.manifest.clone()) else {
        return Change::Update { parts: vec!["release format".to_owned()] };
    };
    let mut parts = Vec::new();
    let mut compare = |part: &str, old: String, new: String| {
        if old != new {
            parts.push(format!("{part} {old} → {new}"));
        }
    };
    let of = |sql: Option<&str>| {
        sql.map_or("(none)".to_owned(), |sql| Sha256::of(sql.as_bytes()).short())
    };
    compare("version", old.version.clone(), new.version.clone());
    compare("config.yaml", old.hashes.config.short(), new.hashes.config.short());
    compare("features.sql", of(Some(&old.feature_sql)), of(Some(&new.feature_sql)));
    let post_processing = (&old.predictions_sql, &new.predictions_sql);
    compare("predictions.sql", of(post_processing.0.as_deref()), of(post_processing.1.as_deref()));
    compare("model", old.hashes.model.short(), new.hashes.model.short());
    if (&old.cron, &old.timezone) != (&new.cron, &new.timezone) {
        parts.push(format!(
            "schedule {} {} → {} {}",
            old.cron, old.timezone, new.cron, new.timezone
        ));
    }
    for column in old.schema.columns() {
        let kept = new.schema.columns().find(|other| other.name == column.name);
        match kept {
            None => parts.push(format!("prediction {} removed", column.name)),
            Some(kept) if kept.data_type != column.data_type => parts.push(format!(
                "prediction {} {} → {}",
                column.name, column.data_type, kept.data_type
            )),
            Some(_) => {}
        }
    }
    for column in new.schema.columns() {
        if old.schema.columns().all(|other| other.name != column.name) {
            parts.push(format!("prediction {} added", column.name));
        }
    }
    Change::Update { parts }
}

fn describe(plans: &[ServicePlan], output: Output) -> String {
    let mut text = String::new();
    for plan in plans {
        let (mark, word, parts) = match &plan.change {
            Change::Create => (output.green("+"), "will be created", &[][..]),
            Change::Update { parts } => (output.green("~"), "will change", parts.as_slice()),
            Change::Unchanged => (output.dim("="), "is unchanged", &[][..]),
        };
        let name = output.bold(&plan.service.to_string());
        let _ = writeln!(text, "{mark} {name} {word} (release {})", plan.release.0.short());
        for part in parts {
            let _ = writeln!(text, "  {} {part}", output.green("~"));
        }
        let _ = writeln!(
            text,
            "  reads at most {} rows, {} bytes; data as of {}",
            plan.rows_estimated.map_or("?".to_owned(), grouped),
            plan.bytes_estimated.map_or("?".to_owned(), grouped),
            plan.watermark.map_or("?".to_owned(), |at| at.format("%Y-%m-%d %H:%M UTC").to_string()),
        );
        for step in &plan.steps {
            let _ = writeln!(text, "  {}", output.dim(&step.name));
            for line in sides(step).lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
        text.push('\n');
    }
    let changed = plans.iter().filter(|plan| !matches!(plan.change, Change::Unchanged)).count();
    let _ = write!(text, "{} would change; nothing was run", counted(changed, "service"));
    text
}

/// What a step expects and gives, side by side.
fn sides(step: &StepView) -> String {
    let longest = step.expected.len().max(step.given.len());
    let side = |ports: &[cameo_pipeline::Port], index: usize| {
        ports
            .get(index)
            .map_or_else(String::new, |port| format!("{} {}", port.name, in_sql(&port.kind)))
    };
    table(
        &["expects", "gives"],
        (0..longest).map(|index| vec![side(&step.expected, index), side(&step.given, index)]),
    )
}

/// An Arrow type in the words of whoever writes SQL; others as they are.
fn in_sql(kind: &str) -> &str {
    match kind {
        "Int64" => "INT64",
        "Float64" => "FLOAT64",
        "Float32" => "FLOAT32",
        "Utf8" => "STRING",
        "Boolean" => "BOOL",
        "Date32" => "DATE",
        timestamp if timestamp.starts_with("Timestamp(") => "TIMESTAMP",
        other => other,
    }
}
