//! `cameo releases`: which versions there are and where each stands.

use std::process::ExitCode;

use cameo_store::releases::{self, StagedRelease};

use crate::{
    cli::{Global, ServiceArgument},
    deployment::Deployment,
    output::{Output, table},
};

/// Digits of a commit that people read.
const COMMIT_DIGITS: usize = 12;

pub(crate) async fn run(
    global: &Global,
    wanted: ServiceArgument,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let path = wanted.service;
    deployment.service(&path).await?;
    let listed = releases::list(&deployment.store, &path.tenant, &path.service).await?;
    output.show(&listed, |listed| {
        let mut text = table(
            &["release", "version", "stage", "since", "protected", "compared", "commit", "by"],
            listed.iter().map(row),
        );
        for one in listed {
            if let Some(asked_by) = &one.approval_asked_by {
                let short = one.release.0.short();
                text.push_str(&format!(
                    "\n{short} awaits an approval that {asked_by} asked for: `cameo approve {path} {short}`"
                ));
            }
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

fn row(one: &StagedRelease) -> Vec<String> {
    let compared = match (one.comparisons_passed, one.shadow_runs_min) {
        (0, 0) => "-".to_owned(),
        (passed, 0) => format!("{passed} passed"),
        (passed, wanted) => format!("{passed} of {wanted} passed"),
    };
    let commit =
        one.git_commit.as_deref().map(|commit| commit.get(..COMMIT_DIGITS).unwrap_or(commit));
    vec![
        one.release.0.short(),
        one.version.clone(),
        one.stage.to_string(),
        one.since.format("%Y-%m-%d %H:%M:%SZ").to_string(),
        if one.protected { "yes" } else { "no" }.to_owned(),
        compared,
        commit.unwrap_or("-").to_owned(),
        one.applied_by.clone(),
    ]
}
