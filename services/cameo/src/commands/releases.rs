//! `cameo releases`: which versions there are and where each stands.

use std::process::ExitCode;

use cameo_store::{
    releases::{self, StagedRelease},
    verdicts::{self, Verdict},
};
use serde::Serialize;

use crate::{
    cli::{Global, ServiceArgument},
    commands::verdicts::summary,
    deployment::Deployment,
    output::{Output, table},
};

/// Latest verdicts of each release that are shown.
const VERDICTS_SHOWN: u32 = 3;
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
    let store = &deployment.store;
    let mut listed = Vec::new();
    for release in releases::list(store, &path.tenant, &path.service).await? {
        let of = Some(release.release);
        let verdicts =
            verdicts::list(store, &path.tenant, &path.service, of, VERDICTS_SHOWN).await?;
        listed.push(Compared { release, verdicts });
    }
    output.show(&listed, |listed| {
        let mut text = table(
            &["release", "version", "stage", "since", "protected", "compared", "commit", "by"],
            listed.iter().map(|one| row(&one.release)),
        );
        for Compared { release: one, verdicts } in listed {
            let short = one.release.0.short();
            for verdict in verdicts {
                text.push_str(&format!("\n{short} {}", summary(verdict, output)));
            }
            if let Some(asked_by) = &one.approval_asked_by {
                text.push_str(&format!(
                    "\n{short} awaits an approval that {asked_by} asked for: `cameo approve {path} {short}`"
                ));
            }
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A release with its latest verdicts.
#[derive(Serialize)]
struct Compared {
    #[serde(flatten)]
    release: StagedRelease,
    verdicts: Vec<Verdict>,
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
