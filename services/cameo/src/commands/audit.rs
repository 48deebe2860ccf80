//! `cameo audit`: who changed what, and whether the trail is as it was written.

use std::process::ExitCode;

use anyhow::Context;
use cameo_store::audit::{self, AuditEntry, AuditFilter, Break, Verified};

use crate::{
    cli::{Audit, AuditList, Global},
    deployment::Deployment,
    output::{Output, grouped, table},
};

/// Longest detail that fits beside the rest of an entry.
const DETAIL_CHARACTERS_MAX: usize = 60;

pub(crate) async fn run(
    global: &Global,
    wanted: Audit,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    match wanted {
        Audit::List(wanted) => list(&deployment, wanted, output).await,
        Audit::Verify => verify(&deployment, output).await,
    }
}

async fn list(
    deployment: &Deployment,
    wanted: AuditList,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let (tenant, service) = wanted.of.map(|of| (of.tenant, of.service)).unzip();
    let filter = AuditFilter {
        tenant,
        service: service.flatten(),
        since: wanted.since,
        before: wanted.before,
        limit: wanted.limit,
        ..AuditFilter::default()
    };
    let entries = audit::list(&deployment.store, &filter).await?;
    output.show(&entries, |entries| {
        if entries.is_empty() {
            return "no changes are on record".to_owned();
        }
        table(
            &["entry", "at", "actor", "from", "service", "action", "subject", "detail"],
            entries.iter().map(row),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn row(entry: &AuditEntry) -> Vec<String> {
    let tenant = entry.tenant.as_deref().unwrap_or("-");
    let subject = match &entry.subject {
        hash if hash.len() == 64 => hash[..12].to_owned(),
        subject => subject.clone(),
    };
    vec![
        entry.entry.to_string(),
        entry.at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
        entry.actor.clone(),
        entry.origin.clone(),
        entry.service.as_ref().map_or(tenant.to_owned(), |service| format!("{tenant}/{service}")),
        entry.action.clone(),
        subject,
        shortened(&entry.detail.to_string()),
    ]
}

fn shortened(detail: &str) -> String {
    if detail.chars().count() <= DETAIL_CHARACTERS_MAX {
        return detail.to_owned();
    }
    let start: String = detail.chars().take(DETAIL_CHARACTERS_MAX - 1).collect();
    format!("{start}…")
}

async fn verify(deployment: &Deployment, output: Output) -> anyhow::Result<ExitCode> {
    // Before the chain: an anchor that is written meanwhile would have an entry not seen here.
    let anchors = deployment.artifacts.anchors().await.context("could not read the anchors")?;
    let verified = audit::verify(&deployment.store, anchors).await?;
    output.show(&verified, |verified| describe(verified, output))?;
    Ok(if verified.broken.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(verified: &Verified, output: Output) -> String {
    let entries = grouped(verified.entries.unsigned_abs());
    let Some(broken) = &verified.broken else {
        let compared = match verified.anchors {
            0 => "no anchor is written yet".to_owned(),
            1 => "it agrees with 1 anchor".to_owned(),
            anchors => format!("it agrees with {anchors} anchors"),
        };
        return format!(
            "{} the audit trail is whole: {entries} entries; {compared}\n{}",
            output.green("✓"),
            output.dim(&format!("head {}", verified.hash))
        );
    };
    format!(
        "{} the audit trail breaks at entry {}: {}\n  {}\n{}",
        output.red("✗"),
        broken.entry,
        in_words(broken.how),
        broken.detail,
        output.dim(&format!("the {entries} entries before are as they were written"))
    )
}

fn in_words(how: Break) -> &'static str {
    match how {
        Break::Edited => "it was edited",
        Break::Missing => "it is missing",
        Break::Reordered => "it was moved",
        Break::Truncated => "it and all after it are gone",
        Break::HeadDiffers => "the head row was edited",
        Break::AnchorDiffers => "it is not the one that was anchored",
        Break::AnchorMissing => "its anchor is gone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let cut = shortened(&"ü".repeat(200));
        assert_eq!(cut.chars().count(), DETAIL_CHARACTERS_MAX);
        assert!(cut.ends_with("ü…"));
    }
}
