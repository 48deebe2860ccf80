//! `cameo erase`, `cameo erasures` and `cameo suppressions`: customers who ask to be forgotten.

use std::{fs::File, io::Read, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use cameo_domain::{ErasureId, TenantName};
use cameo_erasure::receipt::{self, RECEIPT_BYTES_MAX, Receipt, Statement};
use cameo_package::PublicKey;
use cameo_store::{
    By,
    erasures::{self, ErasureRecord, ErasureState, KeyType, NewErasure, StepRecord},
};
use serde::Serialize;

use crate::{
    cli::{
        Erase, ErasureReceipt, ErasureVerify, Erasures, ErasuresCommand, Global, MeantAs,
        Suppressions,
    },
    commands::package::write_whole,
    deployment::{Deployment, actor},
    output::{Output, grouped, print, table},
    source::trusted_keys,
};

/// How often is looked whether an erasure is done.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    erasure: ErasureRecord,
    steps: Vec<StepRecord>,
}

#[derive(Serialize)]
struct Written {
    file: PathBuf,
    signed_by: PublicKey,
}

#[derive(Serialize)]
struct Verified {
    statement: Statement,
    signed_by: PublicKey,
}

fn key_type(meant: MeantAs) -> KeyType {
    match meant {
        MeantAs::Any => KeyType::Any,
        MeantAs::Int => KeyType::Int,
        MeantAs::String => KeyType::String,
    }
}

pub(crate) async fn erase(
    global: &Global,
    wanted: Erase,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let new = NewErasure {
        key: wanted.key,
        key_type: key_type(wanted.key_type),
        services: Some(wanted.service).filter(|services| !services.is_empty()),
        reason: wanted.reason,
    };
    let by = By::new(actor(), "cli");
    let asked = erasures::request(&deployment.store, &wanted.tenant, &new, &by).await?;
    let mut told = Told { erasure: asked.into_erasure(), steps: Vec::new() };
    while wanted.wait && told.erasure.state == ErasureState::Erasing {
        tokio::time::sleep(LOOK_EVERY).await;
        let number = told.erasure.erasure;
        let found = erasures::find(&deployment.store, &wanted.tenant, number).await?;
        let (erasure, steps) = found.context("the erasure is gone")?;
        told = Told { erasure, steps };
    }
    output.show(&told, |told| describe(told, output))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn run(
    global: &Global,
    wanted: Erasures,
    output: Output,
) -> anyhow::Result<ExitCode> {
    match (wanted.command, wanted.tenant) {
        (Some(ErasuresCommand::Receipt(wanted)), _) => receipt(global, wanted, output).await,
        (Some(ErasuresCommand::Verify(wanted)), _) => verify(&wanted, output),
        (None, Some(tenant)) => list(global, &tenant, wanted.erasure, output).await,
        (None, None) => bail!("name the tenant whose erasures to list"),
    }
}

async fn list(
    global: &Global,
    tenant: &TenantName,
    erasure: Option<ErasureId>,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let store = &deployment.store;
    if let Some(number) = erasure {
        let found = erasures::find(store, tenant, number).await?;
        let (erasure, steps) =
            found.with_context(|| format!("{tenant} has no erasure {number}"))?;
        output.show(&Told { erasure, steps }, |told| describe(told, output))?;
        return Ok(ExitCode::SUCCESS);
    }
    let listed = erasures::list(store, tenant).await?;
    output.show(&listed, |listed| {
        if listed.is_empty() {
            return format!("nobody was erased yet; `cameo erase {tenant} <key>` does so");
        }
        table(
            &["erasure", "requested", "state", "places", "rows removed", "by"],
            listed.iter().map(|one| {
                vec![
                    one.erasure.to_string(),
                    one.requested_at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
                    word(one.state).to_owned(),
                    format!("{}/{}", one.places_done, one.places),
                    grouped(one.rows_removed),
                    one.actor.clone(),
                ]
            }),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn receipt(
    global: &Global,
    wanted: ErasureReceipt,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let ErasureReceipt { tenant, erasure, key, out, signer } = wanted;
    let signer = deployment.places.receipt_key(signer.named())?.context(
        "there is no key to sign receipts with; `cameo package keygen` makes one, and --receipt-key-file \
         names its secret half",
    )?;
    let store = &deployment.store;
    let signed = receipt::receipt(store, &signer, &tenant, erasure, key.as_deref()).await?;
    let signed = signed.with_context(|| format!("{tenant} has no erasure {erasure}"))?;
    let Some(file) = out else {
        print(&serde_json::to_string_pretty(&signed)?)?;
        return Ok(ExitCode::SUCCESS);
    };
    let mut text = serde_json::to_vec_pretty(&signed)?;
    text.push(b'\n');
    write_whole(&file, &text)?;
    let written = Written { file, signed_by: signer.public() };
    output.show(&written, |written| {
        format!(
            "{} {}, signed by {}; whoever has that key checks it with `cameo erasures verify`",
            output.green("✓"),
            written.file.display(),
            written.signed_by
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn verify(wanted: &ErasureVerify, output: Output) -> anyhow::Result<ExitCode> {
    let trusted = trusted_keys(&wanted.trusted_keys)?.context("name a key with --trusted-key")?;
    let file = &wanted.receipt;
    let failed = || format!("could not read {}", file.display());
    let opened = File::open(file).with_context(failed)?;
    let mut bytes = Vec::new();
    opened.take(RECEIPT_BYTES_MAX).read_to_end(&mut bytes).with_context(failed)?;
    let signed: Receipt = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} holds no receipt", file.display()))?;
    let (statement, signed_by) = signed.verify(&trusted)?;
    output.show(&Verified { statement, signed_by }, |verified| {
        let Statement { tenant, erasure, key, finished_at, places, .. } = &verified.statement;
        let whom = key.as_ref().map_or_else(String::new, |key| format!(" of customer {key}"));
        let rows: u64 = places.iter().map(|place| place.rows_removed).sum();
        format!(
            "{} erasure {erasure} of {tenant}{whom}: {} rows removed from {} places, nothing was found again \
             on {}\n{}",
            output.green("✓"),
            grouped(rows),
            grouped(places.len() as u64),
            finished_at.format("%Y-%m-%d %H:%M:%SZ"),
            output.dim(&format!("signed by {}", verified.signed_by)),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn suppressions(
    global: &Global,
    wanted: Suppressions,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let store = &deployment.store;
    let listed = match wanted {
        Suppressions::List { tenant } => erasures::suppressions(store, &tenant).await?,
        Suppressions::Lift { tenant, key, key_type: meant, reason } => {
            let by = By::new(actor(), "cli");
            erasures::lift(store, &tenant, &key, key_type(meant), &reason, &by).await?
        }
    };
    output.show(&listed, |listed| {
        if listed.is_empty() {
            return "nobody is left out".to_owned();
        }
        table(
            &["suppression", "key type", "fingerprint", "service", "since", "lifted"],
            listed.iter().map(|one| {
                vec![
                    one.suppression.to_string(),
                    one.key_type.clone(),
                    one.fingerprint.short(),
                    one.service.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string),
                    one.created_at.format("%Y-%m-%d").to_string(),
                    one.lift_reason.clone().unwrap_or_else(|| "-".to_owned()),
                ]
            }),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn word(state: ErasureState) -> &'static str {
    match state {
        ErasureState::Erasing => "erasing",
        ErasureState::Done => "done",
    }
}

fn describe(told: &Told, output: Output) -> String {
    let Told { erasure, steps } = told;
    let (number, tenant) = (erasure.erasure, &erasure.tenant);
    let mut text = match erasure.state {
        ErasureState::Done => format!(
            "{} erasure {number}: every place was searched again and nothing is left",
            output.green("✓")
        ),
        ErasureState::Erasing => format!(
            "{} erasure {number}: nothing is served any more; old generations and copies follow\n{}",
            output.yellow("·"),
            output.dim(&format!("`cameo erasures {tenant} {number}` shows how far it is")),
        ),
    };
    if !steps.is_empty() {
        let rows = steps.iter().map(|step| {
            let again = step.rows_found_again.map_or_else(|| "-".to_owned(), grouped);
            vec![
                step.place.clone(),
                step.service.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
                step.subject.map_or_else(|| "-".to_owned(), |subject| subject.to_string()),
                step.state.clone(),
                grouped(step.rows_removed),
                again,
            ]
        });
        let header = ["place", "service", "which", "state", "removed", "found again"];
        text.push_str(&format!("\n{}", table(&header, rows)));
    }
    text
}
