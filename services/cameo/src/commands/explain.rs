//! `cameo explain`: why a customer's prediction is what it is, computed on demand.

use std::{fmt::Write, process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use cameo_bundle::ReleaseManifest;
use cameo_domain::{GenerationId, Key, ReleaseId, Schedule, ServicePath};
use cameo_isolation::Allowance;
use cameo_pipeline::{ExplainedCustomer, ModelFiles, Plan, explain_one, model_memory, start_host};
use cameo_store::{
    lookup::{self, ServedGeneration},
    releases,
};
use cameo_warehouse::{Parameters, ReadOptions};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    bars::{self, Step},
    cli::{Explain, Global},
    deployment::Deployment,
    output::Output,
};

/// Memory of the engine that reads one customer, unless the release allows less.
const MEMORY_BYTES: u64 = 1 << 30;
/// Contributions that the picture shows one by one; the rest are one line.
const SHOWN_MAX: usize = 12;

/// One customer's prediction, taken apart.
#[derive(Debug, Serialize)]
struct Explained {
    service: ServicePath,
    /// The generation that is served; its release explains.
    generation: Option<GenerationId>,
    release: ReleaseId,
    /// `@run_time` of the features: the instant of the served generation.
    features_as_of: DateTime<Utc>,
    /// What is published about the customer.
    published: Option<Map<String, Value>>,
    #[serde(flatten)]
    customer: ExplainedCustomer,
}

pub(crate) async fn run(
    global: &Global,
    wanted: Explain,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let path = &wanted.service;
    let service = deployment.service(path).await?;
    let served = lookup::current(&deployment.store, Some(&path.tenant)).await?;
    let served = served.into_iter().find(|served| served.path == *path);
    let key = Key::parse(&wanted.key, service.schema.key().data_type)
        .with_context(|| format!("--key is not a key of {path}"))?;

    let release = served.as_ref().map_or(service.release, |served| served.release);
    let manifest = manifest(&deployment, path, release).await?;
    let schedule = Schedule::parse(&manifest.cron, &manifest.timezone)?;
    let run_time = served.as_ref().map_or_else(Utc::now, |served| served.due_at);
    let parameters =
        Parameters { run_time, run_date: run_time.with_timezone(&schedule.zone()).date_naive() };
    let files = Arc::new(files(&deployment, &manifest).await?);
    let read = ReadOptions {
        memory_limit_bytes: manifest.run.memory_limit_bytes().min(MEMORY_BYTES),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        partitions: 1,
        batch_rows: 1_024,
    };
    let warehouse = deployment.warehouse.as_ref();
    let memory_bytes = model_memory(manifest.run.memory_limit_bytes());
    let allowance = Allowance { memory_bytes, ..Allowance::default() };
    let host = start_host(&deployment.isolation, allowance).await?;
    let plan = Plan::prepare(manifest, Arc::clone(&files), warehouse, parameters, host).await?;
    let customer = explain_one(&plan, files, &deployment.store, warehouse, &read, &key).await?;
    let Some(customer) = customer else {
        bail!("features.sql of {path} gives no customer `{key}`; is the key right?");
    };
    if customer.contributions.iter().any(|one| !one.contribution.is_finite()) {
        bail!(
            "the model gives no number when some values of customer `{key}` stand beside others' values, so \
             its answer cannot be taken apart; let it answer every combination of features, missing ones too"
        );
    }
    let explained = Explained {
        service: path.clone(),
        generation: served.as_ref().map(|served| served.generation),
        release,
        features_as_of: run_time,
        published: published(&deployment, served.as_ref(), &key).await?,
        customer,
    };
    output.show(&explained, |explained| describe(explained, output))?;
    Ok(ExitCode::SUCCESS)
}

async fn manifest(
    deployment: &Deployment,
    path: &ServicePath,
    release: ReleaseId,
) -> anyhow::Result<ReleaseManifest> {
    let record = releases::find(&deployment.store, &path.tenant, &path.service, release).await?;
    let record = record.with_context(|| format!("release {release} of {path} has vanished"))?;
    serde_json::from_value(record.manifest)
        .context("the release was written by an incompatible version; apply the bundle again")
}

async fn files(deployment: &Deployment, manifest: &ReleaseManifest) -> anyhow::Result<ModelFiles> {
    let get = async |hash| {
        let bytes = deployment.artifacts.get(&hash).await;
        bytes.map(|bytes| bytes.to_vec()).with_context(|| format!("could not fetch model {hash}"))
    };
    Ok(ModelFiles {
        model: get(manifest.model).await?,
        preprocess: match manifest.preprocess {
            Some(hash) => Some(get(hash).await?),
            None => None,
        },
    })
}

async fn published(
    deployment: &Deployment,
    served: Option<&ServedGeneration>,
    key: &Key,
) -> anyhow::Result<Option<Map<String, Value>>> {
    let Some(served) = served else { return Ok(None) };
    let found = lookup::one(&deployment.store, served, key).await?;
    Ok(found.map(|found| found.to_json(&served.schema)))
}

fn describe(explained: &Explained, output: Output) -> String {
    let Explained { service, customer, .. } = explained;
    let ExplainedCustomer { key, explanation, outputs, contributions, .. } = customer;
    let of = match explained.generation {
        Some(generation) => format!("generation {generation}"),
        None => "nothing published yet".to_owned(),
    };
    let mut text = format!(
        "{}\n{}\n\n",
        output.bold(&format!("{service}, customer {key}")),
        output.dim(&format!(
            "{of}, release {}, features as of {}",
            explained.release.0.short(),
            explained.features_as_of.format("%Y-%m-%d %H:%M:%SZ")
        )),
    );
    let published = explained.published.iter().flatten().filter(|(name, _)| *name != "explanation");
    let _ = writeln!(text, "  model      {}", listed(outputs.iter()));
    if explained.published.is_some() {
        let _ = writeln!(text, "  published  {}", listed(published));
    }
    let shown = contributions.len().min(SHOWN_MAX);
    let mut steps: Vec<Step> = contributions[..shown]
        .iter()
        .map(|one| Step {
            label: format!("{} = {}", one.feature, plain(&one.value)),
            change: one.contribution,
        })
        .collect();
    let rest = &contributions[shown..];
    if !rest.is_empty() {
        steps.push(Step {
            label: format!("{} other features", rest.len()),
            change: rest.iter().map(|one| one.contribution).sum(),
        });
    }
    let total = format!("{} ({})", explanation.output, explanation.unit.as_str());
    text.push('\n');
    text.push_str(&bars::waterfall(
        ("expected of anybody", explanation.base_value),
        &steps,
        (&total, customer.explained),
        output,
    ));
    let error = explanation.standard_error;
    let error =
        error.map_or(String::new(), |error| format!("; standard error {}", bars::number(error)));
    let _ = write!(text, "\n{}", output.dim(&format!("{}{error}", explanation.description)));
    text
}

fn listed<'v>(values: impl Iterator<Item = (&'v String, &'v Value)>) -> String {
    let values: Vec<_> = values.map(|(name, value)| format!("{name} {}", plain(value))).collect();
    values.join("   ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            bars::number(number.as_f64().unwrap_or_default())
        }
        Value::Null => "unknown".to_owned(),
        other => other.to_string(),
    }
}
