//! One run from features to mirror, beside the bare feature query and beside the peer pipeline.

use std::{
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, bail};
use cameo_bundle::{Bundle, load};
use cameo_registry::inspection::parameters;
use cameo_warehouse::{Query, ReadOptions};
use futures_util::StreamExt;

use super::{
    measure::{Measured, measure, whole_run},
    median,
    setting::Setting,
};
use crate::{
    cli::BenchRun,
    commands::apply,
    output::{Output, grouped, table},
};

pub(super) async fn run(wanted: BenchRun, output: Output) -> anyhow::Result<ExitCode> {
    let setting = Setting::new().await?;
    let bundle = prepare(&setting, &wanted).await?;
    let mut measured = Vec::new();
    for repetition in 1..=wanted.repeat.max(1) {
        output.line(output.dim(&format!("repetition {repetition} of {}", wanted.repeat)));
        measured.push(floor(&setting, &bundle).await?);
        measured.push(
            whole_run("cameo, published and mirrored", &setting, &bundle.path, output).await?,
        );
        if let Some(python) = &wanted.peer {
            measured.push(peer(&setting, &wanted, python)?);
        }
    }
    setting.close().await?;
    output.show(&measured, |measured| report(measured))?;
    Ok(ExitCode::SUCCESS)
}

/// Copies the bundle, puts the model into it and applies it.
async fn prepare(setting: &Setting, wanted: &BenchRun) -> anyhow::Result<Bundle> {
    let orders = wanted.data.join("orders.parquet");
    setting.add_table("bench", "retail", "orders", &orders)?;
    let folder = setting.deployment.places.data().join("bundles").join("bench").join("clv");
    std::fs::create_dir_all(&folder)?;
    for file in ["config.yaml", "features.sql"] {
        let from = wanted.bundle.join(file);
        std::fs::copy(&from, folder.join(file))
            .with_context(|| format!("could not copy {}", from.display()))?;
    }
    std::fs::copy(&wanted.model, folder.join("model.onnx"))
        .with_context(|| format!("could not copy {}", wanted.model.display()))?;
    let output = Output::new(None);
    apply::apply(&setting.deployment, &folder, output)
        .await?
        .context("the bench bundle has problems")?;
    load(&folder).map_err(|problems| anyhow::anyhow!("{} problems in the bundle", problems.len()))
}

/// The feature query alone, drained.
async fn floor(setting: &Setting, bundle: &Bundle) -> anyhow::Result<Measured> {
    let query = Query { sql: bundle.feature_sql.text.to_string(), parameters: parameters(bundle) };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let options = ReadOptions {
        memory_limit_bytes: 1536 << 20,
        threads,
        partitions: threads,
        batch_rows: 16 << 10,
    };
    measure("bare feature query", async {
        let warehouse = &setting.deployment.warehouse;
        let source = warehouse.read(&bundle.path.tenant, &query, &options).await?;
        let mut drains = tokio::task::JoinSet::new();
        for mut partition in source.partitions {
            drains.spawn(async move {
                let mut rows = 0;
                while let Some(batch) = partition.next().await {
                    rows += batch?.num_rows() as u64;
                }
                anyhow::Ok(rows)
            });
        }
        let mut rows = 0;
        while let Some(drained) = drains.join_next().await {
            rows += drained??;
        }
        Ok((rows, String::new()))
    })
    .await
}

/// `tests/peers/pipeline.py` on the same data and the same Postgres.
fn peer(setting: &Setting, wanted: &BenchRun, python: &Path) -> anyhow::Result<Measured> {
    let mirror = setting.deployment.places.data().join("peer_mirror.parquet");
    let result = Command::new(python)
        .arg(&wanted.peer_script)
        .args([&wanted.data, &wanted.model])
        .arg(setting.postgres.url())
        .arg(&mirror)
        .output()
        .with_context(|| format!("could not start {}", python.display()))?;
    if !result.status.success() {
        bail!("the peer failed: {}", String::from_utf8_lossy(&result.stderr));
    }
    let line = String::from_utf8_lossy(&result.stdout).trim().to_owned();
    let figure = |name: &str| -> anyhow::Result<f64> {
        let prefix = format!("{name}=");
        let found = line.split_whitespace().find_map(|word| word.strip_prefix(prefix.as_str()));
        Ok(found.with_context(|| format!("the peer did not print {name}: {line}"))?.parse()?)
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a row count")]
    let rows = figure("rows")? as u64;
    Ok(Measured {
        what: "peer: DuckDB, ONNX Runtime, ADBC".to_owned(),
        rows,
        seconds: figure("total_s")?,
        cpu_seconds: figure("cpu_s")?,
        peak_mb: figure("peak_mb")?,
        steps: format!(
            "features {:.2} · score {:.2} · write {:.2} · mirror {:.2}",
            figure("features_s")?,
            figure("score_s")?,
            figure("write_s")?,
            figure("mirror_s")?
        ),
    })
}

/// Medians over the repetitions, each as a ratio to the bare query.
fn report(measured: &[Measured]) -> String {
    let mut whats: Vec<&str> = Vec::new();
    for one in measured {
        if !whats.contains(&one.what.as_str()) {
            whats.push(&one.what);
        }
    }
    let middle = |what: &str, figure: fn(&Measured) -> f64| {
        median(measured.iter().filter(|one| one.what == what).map(figure).collect())
    };
    let floor = whats.first().map_or(f64::NAN, |what| middle(what, |one| one.seconds));
    table(
        &[
            "median of the repetitions",
            "rows",
            "seconds",
            "× bare",
            "cpu s",
            "peak MB",
            "last steps, s",
        ],
        whats.iter().map(|what| {
            let last = measured.iter().rev().find(|one| one.what == *what);
            let seconds = middle(what, |one| one.seconds);
            vec![
                (*what).to_owned(),
                last.map_or_else(String::new, |one| grouped(one.rows)),
                format!("{seconds:.2}"),
                format!("{:.2}", seconds / floor),
                format!("{:.2}", middle(what, |one| one.cpu_seconds)),
                format!("{:.0}", middle(what, |one| one.peak_mb)),
                last.map_or_else(String::new, |one| one.steps.clone()),
            ]
        }),
    )
}
