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
    let rolled =
        generations::rollback(&deployment.store, &path.tenant, &path.service, wanted.to, &actor())
            .await?;
    output.show(&rolled, |rolled| {
        format!("{path} serves generation {} instead of {}", rolled.to, rolled.from)
    })?;
    Ok(ExitCode::SUCCESS)
}
