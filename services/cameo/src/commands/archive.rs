//! `cameo archive`: a service is taken out of use.

use std::process::ExitCode;

use cameo_registry::ArchivedService;
use cameo_store::{By, generations::ARCHIVED_KEPT_SECONDS};

use crate::{
    cli::{Archive, Global},
    deployment::{Deployment, actor},
    output::Output,
};

const SECONDS_PER_DAY: u32 = 24 * 3600;

pub(crate) async fn run(
    global: &Global,
    wanted: Archive,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    deployment.service(&wanted.service).await?;
    let by = By::new(actor(), "cli");
    let archived =
        cameo_registry::archive(&deployment.store, &wanted.service, &wanted.reason, &by).await?;
    output.show(&archived, |archived| describe(archived, output))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn describe(archived: &ArchivedService, output: Output) -> String {
    let path = &archived.path;
    if archived.releases.is_empty() {
        return format!("{} {path} was archived before", output.dim("="));
    }
    let days = ARCHIVED_KEPT_SECONDS / SECONDS_PER_DAY;
    format!(
        "{} {path} archived: nothing is due any more, what is published stays served for {days} days",
        output.red("-")
    )
}
