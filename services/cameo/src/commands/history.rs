//! `cameo history`: what happened to a service, and how it stood at an instant.

use std::process::ExitCode;

use cameo_domain::{ReleaseId, ServicePath};
use cameo_store::releases::{self, AsOf, LedgerEntry, Move};
use chrono::{DateTime, Utc};

use crate::{
    cli::{Global, History},
    deployment::Deployment,
    output::{Output, table},
};

/// Ledgers tell instants exactly.
const EXACT: &str = "%Y-%m-%d %H:%M:%S%.6fZ";

pub(crate) async fn run(
    global: &Global,
    wanted: History,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let (store, path) = (&deployment.store, wanted.service);
    deployment.service(&path).await?;
    if let Some(at) = wanted.at {
        let found = releases::as_of(store, &path.tenant, &path.service, at).await?;
        output.show(&found, |found| describe(&path, found))?;
        return Ok(ExitCode::SUCCESS);
    }
    let entries = releases::ledger(store, &path.tenant, &path.service, None, wanted.limit).await?;
    output.show(&entries, |entries| {
        table(&["at", "what", "who", "reason"], entries.iter().map(row))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn row(entry: &LedgerEntry) -> Vec<String> {
    let mut who = entry.actor.clone();
    if let Move::Promotion { requested_by: Some(asked_by), .. } = &entry.moved {
        who.push_str(&format!(" for {asked_by}"));
    }
    vec![
        exact(entry.at),
        what(&entry.moved),
        who,
        entry.reason.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

fn what(moved: &Move) -> String {
    match moved {
        Move::Promotion { action, release, version, from, to, .. } => {
            let from = from.map_or_else(|| "new".to_owned(), |from| from.to_string());
            format!("{action}: {} ({version}) {from} → {to}", release.0.short())
        }
        Move::Publication { action, generation, previous, release, version } => {
            let number = |id: &Option<cameo_domain::GenerationId>| {
                id.map_or_else(|| "nothing".to_owned(), |id| format!("generation {id}"))
            };
            let made_by = match (release, version) {
                (Some(release), Some(version)) => format!(" of {} ({version})", release.0.short()),
                _ => String::new(),
            };
            format!("{action}: {} → {}{made_by}", number(previous), number(generation))
        }
    }
}

fn describe(path: &ServicePath, found: &AsOf) -> String {
    let at = exact(found.at);
    let of = |release: ReleaseId, version: Option<&str>, commit: Option<&str>| {
        let version = version.unwrap_or("?");
        let commit = commit.map_or_else(String::new, |commit| format!(", commit {commit}"));
        format!("release {release} ({version}{commit})")
    };
    let production = match &found.production {
        None => "nothing".to_owned(),
        Some(entry) => format!(
            "{} since {}, by {}",
            of(entry.release, found.version.as_deref(), found.git_commit.as_deref()),
            exact(entry.at),
            entry.actor
        ),
    };
    let served = match &found.served {
        None => "nothing".to_owned(),
        Some(served) => format!(
            "generation {} of {} since {}",
            served.generation,
            of(served.release, Some(&served.version), served.git_commit.as_deref()),
            exact(served.since)
        ),
    };
    format!("{path} at {at}\n  in production: {production}\n  served: {served}")
}

fn exact(at: DateTime<Utc>) -> String {
    at.format(EXACT).to_string()
}
