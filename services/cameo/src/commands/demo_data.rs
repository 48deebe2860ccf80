//! `cameo demo-data`: customers made from nothing but their number.

use std::{path::Path, process::ExitCode, time::Instant};

use anyhow::Context;
use serde::Serialize;

use crate::{
    cli::{DemoData, Global},
    deployment::Places,
    output::{Output, grouped},
};

/// The generator: DuckDB SQL with `{customers}` and `{file}`, streamed row group by row group.
const CUSTOMERS_SQL: &str = include_str!("../../../../deploy/demo/customers.sql");

#[derive(Serialize)]
struct Made {
    file: String,
    customers: u64,
    seconds: f64,
}

pub(crate) async fn run(
    global: &Global,
    data: DemoData,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let places = Places::prepare(global)?;
    let started = Instant::now();
    let file = generate(places.lake(), data.customers).await?;
    let made = Made { file, customers: data.customers, seconds: started.elapsed().as_secs_f64() };
    output.show(&made, |made| {
        format!("{} customers in {} ({:.1} s)", grouped(made.customers), made.file, made.seconds)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Writes `marketing/demo/customers.parquet` into the Lake; readers see the old file or the new.
pub(crate) async fn generate(lake: &Path, customers: u64) -> anyhow::Result<String> {
    let folder = lake.join("marketing").join("demo");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("could not make {}", folder.display()))?;
    let file = folder.join("customers.parquet");
    let part = folder.join("customers.parquet.part");
    let quoted = part.display().to_string().replace('\'', "''");
    let sql =
        CUSTOMERS_SQL.replace("{customers}", &customers.to_string()).replace("{file}", &quoted);
    tokio::task::spawn_blocking(move || cameo_warehouse::run_unconfined(&sql))
        .await?
        .context("could not generate the customers")?;
    std::fs::rename(&part, &file)?;
    Ok(file.display().to_string())
}
