//! `cameo rollback`: an earlier generation is served again.

use std::process::ExitCode;

use cameo_store::{
    By,
    generations::{self, Releases},
};

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
    let by = By::new(actor(), "cli");
    let (tenant, service) = (&path.tenant, &path.service);
    let releases = if wanted.keep_release { Releases::Keep } else { Releases::Follow };
    let store = &deployment.store;
    let rolled = generations::rollback(store, tenant, service, wanted.to, releases, &by).await?;
    output.show(&rolled, |rolled| {
        let release = rolled.release.map_or_else(String::new, |release| {
            format!(", and release {} is in production again", release.0.short())
        });
        format!(
            "{path} serves generation {} instead of {}{release}\n{}",
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
