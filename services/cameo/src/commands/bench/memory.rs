//! Peak memory of a run over ever more customers: it must not grow with them.

use std::process::ExitCode;

use anyhow::Context;

use super::{measure::whole_run, setting::Setting};
use crate::{
    cli::BenchMemory,
    commands::{apply, demo_data},
    output::{Output, grouped, table},
};

pub(super) async fn run(wanted: BenchMemory, output: Output) -> anyhow::Result<ExitCode> {
    let setting = Setting::new().await?;
    let mut measured = Vec::new();
    for customers in wanted.customers {
        demo_data::generate(setting.deployment.places.lake(), customers).await?;
        let applied = apply::apply(&setting.deployment, &wanted.bundle, output)
            .await?
            .context("the bundle has problems")?;
        let path = &applied.services.first().context("no bundle was found")?.path;
        measured.push(whole_run("published and mirrored", &setting, path, output).await?);
    }
    setting.close().await?;
    output.show(&measured, |measured| {
        table(
            &["rows", "seconds", "rows/s", "peak MB", "steps, s"],
            measured.iter().map(|one| {
                let rate = one.rows as f64 / one.seconds;
                vec![
                    grouped(one.rows),
                    format!("{:.1}", one.seconds),
                    format!("{rate:.0}"),
                    format!("{:.0}", one.peak_mb),
                    one.steps.clone(),
                ]
            }),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
