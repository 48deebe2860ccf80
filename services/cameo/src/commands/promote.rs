//! `cameo promote` and `cameo approve`: a release moves from stage to stage.

use std::process::ExitCode;

use cameo_domain::{ServicePath, Stage};
use cameo_store::{
    By,
    releases::{self, Moved, Promotion, StagedRelease},
};
use chrono::Utc;
use serde::Serialize;

use crate::{
    cli::{Approve, Global, Promote},
    deployment::{Deployment, actor},
    output::Output,
};

#[derive(Debug, Serialize)]
struct Promoted {
    path: ServicePath,
    #[serde(flatten)]
    release: StagedRelease,
    to: Stage,
    #[serde(flatten)]
    moved: Moved,
}

pub(crate) async fn run(
    global: &Global,
    wanted: Promote,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let (store, path) = (&deployment.store, wanted.service);
    deployment.service(&path).await?;
    let release = releases::named(store, &path.tenant, &path.service, &wanted.release).await?;
    let to = wanted.to.or_else(|| release.next_stage()).unwrap_or(release.stage);
    let promotion = Promotion {
        path: path.clone(),
        release: release.release,
        to,
        reason: wanted.reason,
        by: By::new(actor(), "cli"),
        now: Utc::now(),
    };
    let moved = releases::promote(store, &promotion).await?;
    let promoted = Promoted { path, release, to, moved };
    output.show(&promoted, |promoted| describe(promoted, output))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn approve(
    global: &Global,
    wanted: Approve,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let (store, path) = (&deployment.store, wanted.service);
    deployment.service(&path).await?;
    let release = releases::named(store, &path.tenant, &path.service, &wanted.release).await?;
    let (reason, by) = (wanted.reason.as_deref(), By::new(actor(), "cli"));
    let now = Utc::now();
    let moved = releases::approve(store, &path, release.release, reason, &by, now).await?;
    let promoted = Promoted { path, release, to: Stage::Production, moved };
    output.show(&promoted, |promoted| describe(promoted, output))?;
    Ok(ExitCode::SUCCESS)
}

fn describe(promoted: &Promoted, output: Output) -> String {
    let Promoted { path, release, to, moved } = promoted;
    let name = format!("{path} release {} ({})", release.release.0.short(), release.version);
    match moved {
        Moved::Unchanged => format!("{} {name} is in {to} already", output.dim("=")),
        Moved::AwaitsApproval { .. } => format!(
            "{} {name} stays in {} until somebody else approves it\n{}",
            output.green("+"),
            release.stage,
            output.dim(&format!("`cameo approve {path} {}`", release.release.0.short())),
        ),
        Moved::Moved { from, replaced } => {
            let replaced = replaced.map_or_else(String::new, |replaced| {
                format!(", release {} made room for it", replaced.0.short())
            });
            let next = match to {
                Stage::Production => format!(
                    "the next run publishes it; `cameo run --now {path}` is the next, \
                     `cameo rollback {path}` undoes it"
                ),
                Stage::Shadow | Stage::Canary => format!(
                    "it runs beside production from the next instant on; `cameo releases {path}` \
                     shows how it compares"
                ),
                _ => "nothing runs it".to_owned(),
            };
            let arrow = format!("{} {name} went from {from} to {to}{replaced}", output.green("~"));
            format!("{arrow}\n{}", output.dim(&next))
        }
    }
}
