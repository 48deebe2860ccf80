//! `cameo keys new-master`, `rotate-tenant-key`, `rewrap`: what sensitive predictions are sealed with.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use cameo_domain::TenantName;
use cameo_sealing::MasterKey;
use serde::Serialize;

use crate::{deployment::Deployment, output::Output};

/// Its owner alone reads a master key.
const SECRET_MODE: u32 = 0o600;

#[derive(Serialize)]
struct Made {
    file: PathBuf,
    master: String,
}

#[derive(Serialize)]
struct Rotated {
    tenant: TenantName,
    version: u32,
}

#[derive(Serialize)]
struct Rewrapped {
    keys: u64,
    master: String,
}

/// Reads a master key from its file.
pub(crate) fn read(file: &Path) -> anyhow::Result<MasterKey> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("could not read the master key {}", file.display()))?;
    text.parse().with_context(|| format!("{} holds no master key", file.display()))
}

pub(crate) fn make(file: &Path, output: Output) -> anyhow::Result<ExitCode> {
    let text = MasterKey::generate()?;
    let key: MasterKey = text.parse()?;
    // One that is there is never written over: what it has wrapped would be lost.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(SECRET_MODE)
        .open(file)
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .with_context(|| format!("could not write {}", file.display()))?;
    let made = Made { file: file.to_owned(), master: key.name().to_owned() };
    output.show(&made, |made| {
        let file = made.file.display();
        format!(
            "{} start every process with --master-key-file {file}, and keep a copy elsewhere: without it \
             what is sealed is lost",
            output.green("+")
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn rotate(
    deployment: &Deployment,
    tenant: TenantName,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let version = deployment.tenant_keys.rotate(&tenant).await?.version();
    output.show(&Rotated { tenant, version }, |rotated| {
        format!(
            "version {} of the key of {} seals from the next run on; older ones still open what they sealed",
            rotated.version, rotated.tenant
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn rewrap(
    deployment: &Deployment,
    before: &Path,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let master = deployment.tenant_keys.master()?.name().to_owned();
    let keys = deployment.tenant_keys.rewrap(&read(before)?).await?;
    output.show(&Rewrapped { keys, master }, |rewrapped| {
        format!("{} keys of tenants are wrapped by {} now", rewrapped.keys, rewrapped.master)
    })?;
    Ok(ExitCode::SUCCESS)
}
