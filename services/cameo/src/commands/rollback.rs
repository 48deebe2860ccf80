//! `cameo rollback`: an earlier generation is served again.

use std::process::ExitCode;

use cameo_store::generations;

use crate::{
    cli::{Global, Rollback},
    deployment::{Deployment, actor},
    output::Output,
};

pub(crate) async fn run(
    global: &Global,
    wanted: Rollback,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let path = &wanted.service;
    deployment.service(path).await?;
    let rolled =
        generations::rollback(&deployment.store, &path.tenant, &path.service, wanted.to, &actor())
            .await?;
    output.show(&rolled, |rolled| {
        format!(
            "{path} serves generation {} instead of {}\n{}",
            rolled.to,
            rolled.from,
            output.dim(&format!(
                "the next run publishes a new one; `cameo rollback {path} --to {}` undoes this",
                rolled.from
            )),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
