//! `cameo archive`: a service is taken out of use.

use std::process::ExitCode;

use cameo_domain::{ReleaseId, ServicePath};
use cameo_store::{By, Store, generations::ARCHIVED_KEPT_SECONDS, releases};
use serde::Serialize;

use crate::{
    cli::{Archive, Global},
    deployment::{Deployment, actor},
    output::Output,
};

const SECONDS_PER_DAY: u32 = 24 * 3600;

/// A service that was taken out of use.
#[derive(Debug, Serialize)]
pub(crate) struct Archived {
    path: ServicePath,
    applied: &'static str,
    /// The releases that were in use; none where the service was archived before.
    releases: Vec<ReleaseId>,
}

pub(crate) async fn run(
    global: &Global,
    wanted: Archive,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    deployment.service(&wanted.service).await?;
    let archived = archive(&deployment.store, &wanted.service, &wanted.reason).await?;
    output.show(&archived, |archived| describe(archived, output))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn archive(
    store: &Store,
    path: &ServicePath,
    reason: &str,
) -> anyhow::Result<Archived> {
    let by = By::new(actor(), "cli");
    let releases = releases::archive(store, path, Some(reason), &by).await?;
    let applied = if releases.is_empty() { "unchanged" } else { "archived" };
    Ok(Archived { path: path.clone(), applied, releases })
}

pub(crate) fn describe(archived: &Archived, output: Output) -> String {
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
