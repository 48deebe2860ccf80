//! `cameo new`: a trained model becomes a bundle that passes `cameo check` as it is.

pub(crate) mod answers;
mod features;
mod files;
mod predictions;
mod sql;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
};

use anyhow::{Context, bail};
use arrow::datatypes::{Field, Schema};
use cameo_bundle::{Diagnostic, Discovery, PREDICTIONS_SQL_FILE, TENANT_FILE, discover};
use cameo_domain::ServicePath;
use cameo_registry::{Models, inspect};
use cameo_scoring::{Scorer, ScoringLimits, anatomy};
use cameo_warehouse::{Parameters, Query, Warehouse};
use chrono::Utc;
use serde::Serialize;

use self::{
    answers::{Answers, Table},
    features::{Feature, Takes},
    files::{Draft, FEATURES_FILE, MODEL_FILE, PREPROCESS_FILE},
    predictions::Prediction,
};
use crate::{
    cli::{Global, New},
    commands::{
        check::{self, counted},
        model::read_file,
    },
    deployment::{actor, open_lake},
    output::Output,
};

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    service: ServicePath,
    folder: PathBuf,
    files: Vec<PathBuf>,
    features: Vec<Feature>,
    predictions: Vec<Prediction>,
    /// What to do now, in this order.
    next: Vec<String>,
}

pub(crate) async fn run(global: &Global, wanted: New, output: Output) -> anyhow::Result<ExitCode> {
    let service = &wanted.service;
    let tenant_folder = wanted.tenants.join(service.tenant.as_str());
    let folder = tenant_folder.join(service.service.as_str());
    let models = Models {
        model: read_file(&wanted.model)?,
        preprocess: wanted.preprocess.as_deref().map(read_file).transpose()?,
    };
    let limits = ScoringLimits::default();
    let take_apart = |bytes: &[u8], place: &Path| {
        anatomy(bytes, &limits).with_context(|| format!("{} is refused", place.display()))
    };
    let model = take_apart(&models.model, &wanted.model)?;
    let first = match (&models.preprocess, &wanted.preprocess) {
        (Some(bytes), Some(place)) => Some(take_apart(bytes, place)?),
        _ => None,
    };
    refuse_to_overwrite(&folder, wanted.force)?;
    let answers = Answers::collect(&wanted, &owner(&tenant_folder))?;
    let entry = first.as_ref().unwrap_or(&model);
    let mut takes = features::of_model(entry, wanted.features.as_deref(), &answers.key)?;
    let warehouse = warehouse(global, answers.table.as_ref())?;
    if let (Some(table), Some(warehouse)) = (&answers.table, &warehouse) {
        let columns = columns(warehouse.as_ref(), service, table).await?;
        takes.find_in(table, &columns, &answers.key)?;
    }
    let given = outputs(&models, &takes, &limits)?;
    let predictions = predictions::of_model(&model, &given, service, &answers.key)?;
    let draft = Draft {
        path: service,
        answers: &answers,
        model: &model,
        takes: &takes,
        predictions: &predictions,
        has_preprocess: models.preprocess.is_some(),
    };

    // What is not sound is never seen below `tenants/`.
    let place = tempfile::tempdir().context("could not make a temporary folder")?;
    let staged_tenant = place.path().join(service.tenant.as_str());
    let staged = staged_tenant.join(service.service.as_str());
    write(&draft, &models, &staged)?;
    write_tenant(&draft, &tenant_folder, &staged_tenant)?;
    let problems = problems(&staged, place.path(), warehouse.as_ref()).await;
    if problems.iter().any(Diagnostic::is_error) {
        check::show_problems(&problems, "; nothing was written", output)?;
        return Ok(ExitCode::FAILURE);
    }
    let mut files = write(&draft, &models, &folder)?;
    files.extend(write_tenant(&draft, &tenant_folder, &tenant_folder)?);
    let written = Written {
        service: service.clone(),
        next: next(&folder, &files, &takes, service),
        folder,
        files,
        features: takes.features,
        predictions,
    };
    output.show(&written, |written| describe(written, output))?;
    Ok(ExitCode::SUCCESS)
}

/// What a model file or an earlier bundle would lose is not written over by mistake.
fn refuse_to_overwrite(folder: &Path, force: bool) -> anyhow::Result<()> {
    let names = [
        "config.yaml",
        FEATURES_FILE,
        PREDICTIONS_SQL_FILE,
        "CARD.md",
        MODEL_FILE,
        PREPROCESS_FILE,
    ];
    let there: Vec<&str> =
        names.into_iter().filter(|name| folder.join(name).symlink_metadata().is_ok()).collect();
    if !there.is_empty() && !force {
        bail!(
            "{} already has {}; choose another name, or replace them with --force",
            folder.display(),
            there.join(", ")
        );
    }
    Ok(())
}

/// Who answers for the service as far as it is known: the tenant's owner, else whoever types this.
fn owner(tenant_folder: &Path) -> String {
    let found = discover(tenant_folder);
    let of_tenant = found.tenants.first().and_then(|tenant| tenant.config.owners.first().cloned());
    of_tenant.or_else(git_address).unwrap_or_else(|| actor().trim_start_matches("cli:").to_owned())
}

fn git_address() -> Option<String> {
    let output = Command::new("git").args(["config", "user.email"]).output().ok()?;
    let address = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    Some(address).filter(|address| output.status.success() && !address.is_empty())
}

/// The Lake that was named, or that of the data directory where a table of it is meant.
fn warehouse(global: &Global, table: Option<&Table>) -> anyhow::Result<Option<Arc<dyn Warehouse>>> {
    let own = global.data_dir.join("lake");
    if global.lake.is_none() && table.is_some() && own.is_dir() {
        return Ok(Some(open_lake(&own, &std::env::temp_dir())?));
    }
    check::lake(global)
}

/// The columns of a table.
async fn columns(
    warehouse: &dyn Warehouse,
    service: &ServicePath,
    table: &Table,
) -> anyhow::Result<Schema> {
    let run_time = Utc::now();
    let query = Query {
        sql: format!("SELECT * FROM {table}"),
        parameters: Parameters { run_time, run_date: run_time.date_naive() },
    };
    let description = warehouse
        .describe(&service.tenant, &query)
        .await
        .with_context(|| format!("could not look at the table {table}"))?;
    Ok(description.schema.as_ref().clone())
}

/// The columns that the model gives, which only loading it settles.
fn outputs(models: &Models, takes: &Takes, limits: &ScoringLimits) -> anyhow::Result<Vec<Field>> {
    let schema = Arc::new(takes.schema());
    let scorer = Scorer::load(&models.model, models.preprocess.as_deref(), &schema, limits)
        .context("the model cannot be run here")?;
    Ok(scorer.output_schema().fields().iter().map(|field| field.as_ref().clone()).collect())
}

/// Writes the bundle's folder and says what it wrote.
fn write(draft: &Draft<'_>, models: &Models, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let failed = |file: &Path| format!("could not write {}", file.display());
    fs::create_dir_all(folder).with_context(|| failed(folder))?;
    let mut contents: Vec<(PathBuf, Vec<u8>)> =
        draft.texts().into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    if contents.iter().all(|(name, _)| *name != Path::new(PREDICTIONS_SQL_FILE)) {
        // One that an earlier model needed would be read with this one.
        let _ = fs::remove_file(folder.join(PREDICTIONS_SQL_FILE));
    }
    let copies = [(MODEL_FILE, Some(&models.model)), (PREPROCESS_FILE, models.preprocess.as_ref())];
    for (name, bytes) in copies {
        contents.extend(bytes.map(|bytes| (PathBuf::from(name), bytes.clone())));
    }
    let mut files = Vec::new();
    for (name, bytes) in contents {
        let file = folder.join(name);
        fs::write(&file, bytes).with_context(|| failed(&file))?;
        files.push(file);
    }
    Ok(files)
}

/// Gives the tenant a file unless it has one, which is then copied to where it is checked.
fn write_tenant(
    draft: &Draft<'_>,
    tenant_folder: &Path,
    target: &Path,
) -> anyhow::Result<Option<PathBuf>> {
    let existing = tenant_folder.join(TENANT_FILE);
    let file = target.join(TENANT_FILE);
    if existing.is_file() {
        if existing != file {
            fs::copy(&existing, &file).context("could not copy tenant.yaml")?;
        }
        return Ok(None);
    }
    let (_, text) = draft.tenant();
    fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
    Ok(Some(file))
}

async fn problems(
    bundle: &Path,
    root: &Path,
    warehouse: Option<&Arc<dyn Warehouse>>,
) -> Vec<Diagnostic> {
    let Discovery { bundles, diagnostics: mut problems, .. } = discover(bundle);
    for bundle in &bundles {
        problems.extend(inspect(bundle, warehouse).await.diagnostics);
    }
    for problem in &mut problems {
        problem.relative_to(root);
    }
    problems
}

fn next(folder: &Path, files: &[PathBuf], takes: &Takes, service: &ServicePath) -> Vec<String> {
    let shown = folder.display();
    let unknown = takes.unknown();
    let mut steps = Vec::new();
    if !unknown.is_empty() {
        steps.push(format!(
            "edit {shown}/{FEATURES_FILE}: say where {} come{} from",
            few(&unknown),
            if unknown.len() == 1 { "s" } else { "" }
        ));
    }
    if files.iter().any(|file| file.ends_with(PREDICTIONS_SQL_FILE)) {
        steps.push(format!("look at {shown}/{PREDICTIONS_SQL_FILE}: it names the predictions"));
    }
    steps.push(format!("edit {shown}/CARD.md: say what the model is for"));
    steps.extend(["check", "plan", "apply"].map(|command| format!("cameo {command} {shown}")));
    steps.push(format!("cameo promote {service} RELEASE, which plan and apply name"));
    steps.push(format!("cameo run {service} --now --wait"));
    steps
}

/// The first of many names.
fn few(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}

fn describe(written: &Written, output: Output) -> String {
    let takes = written.features.len();
    let names: Vec<&str> =
        written.predictions.iter().map(|prediction| prediction.name.as_str()).collect();
    let mut lines = vec![
        output.green(&format!(
            "✓ {} is a bundle that `cameo check` accepts",
            written.folder.display()
        )),
        format!("  takes {}, publishes {}", counted(takes, "feature"), few(&names)),
        String::new(),
    ];
    lines.extend(
        written.files.iter().map(|file| format!("  {} {}", output.green("+"), file.display())),
    );
    lines.extend([String::new(), "Next:".to_owned()]);
    let steps = written.next.iter().enumerate();
    lines.extend(steps.map(|(index, step)| format!("  {}. {step}", index + 1)));
    lines.join("\n")
}
