//! `cameo package`: a bundle as one file, for teams whose CI builds elsewhere.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use cameo_bundle::{Bundle, Diagnostic, Discovery, discover};
use cameo_domain::{ServicePath, Sha256};
use cameo_package::{EXTENSION, Package, PublicKey, SigningKey};
use cameo_registry::release::git_commit;
use serde::Serialize;

use crate::{
    cli::{Keygen, Package as Wanted, PackageCommand},
    commands::check::{inspect_all, show_problems},
    output::{Output, grouped},
};

/// Nobody but the owner reads a secret key.
const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

#[derive(Debug, Serialize)]
struct Packed {
    file: PathBuf,
    service: ServicePath,
    commit: Option<String>,
    bytes: u64,
    sha256: Sha256,
    signed_by: Option<PublicKey>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Generated {
    secret_key: PathBuf,
    public_key: PathBuf,
    key: PublicKey,
}

pub(crate) async fn run(wanted: Wanted, output: Output) -> anyhow::Result<ExitCode> {
    match (wanted.command, &wanted.bundle) {
        (Some(PackageCommand::Keygen(keygen)), _) => generate(&keygen, output),
        (None, Some(folder)) => {
            pack(folder, wanted.out.as_deref(), wanted.sign.as_deref(), output).await
        }
        (None, None) => bail!("name the bundle's folder, such as tenants/crm/clv"),
    }
}

async fn pack(
    folder: &Path,
    out: Option<&Path>,
    key_file: Option<&Path>,
    output: Output,
) -> anyhow::Result<ExitCode> {
    // A key that cannot be read is told before the work.
    let key = key_file.map(read_key).transpose()?;
    let Discovery { bundles, diagnostics: mut problems, .. } = discover(folder);
    problems.extend(inspect_all(bundles.clone(), None, &Arc::default()).await?);
    if problems.iter().any(Diagnostic::is_error) {
        show_problems(&problems, "; nothing was packed", output)?;
        return Ok(ExitCode::FAILURE);
    }
    let [bundle] = &bundles[..] else {
        bail!(
            "{} holds {} bundles; a package holds one, so name the folder of one service",
            folder.display(),
            bundles.len()
        )
    };
    let commit = git_commit(bundle);
    let bytes = Package::pack(bundle, commit.clone(), key.as_ref())?;
    let file = out.map_or_else(|| default_name(bundle), Path::to_owned);
    write_whole(&file, &bytes)?;
    let packed = Packed {
        file,
        service: bundle.path.clone(),
        commit,
        bytes: bytes.len() as u64,
        sha256: Sha256::of(&bytes),
        signed_by: key.map(|key| key.public()),
    };
    output.show(&packed, |packed| {
        let signed =
            packed.signed_by.map_or("not signed".to_owned(), |key| format!("signed by {key}"));
        format!(
            "{} {} in {}, {} bytes, SHA-256 {}, {signed}",
            output.green("✓"),
            packed.service,
            packed.file.display(),
            grouped(packed.bytes),
            packed.sha256.short(),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn default_name(bundle: &Bundle) -> PathBuf {
    let version = &bundle.config.prediction.version.value;
    PathBuf::from(format!("{}-{}-{version}.{EXTENSION}", bundle.path.tenant, bundle.path.service))
}

/// Readers see the old file or the new one.
pub(crate) fn write_whole(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("could not write {}", file.display());
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut part = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(PUBLIC_MODE))
        .tempfile_in(folder)
        .with_context(failed)?;
    part.write_all(bytes).with_context(failed)?;
    part.persist(file).with_context(failed)?;
    Ok(())
}

pub(crate) fn read_key(file: &Path) -> anyhow::Result<SigningKey> {
    let text =
        fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))?;
    text.parse().with_context(|| format!("{} holds no secret key", file.display()))
}

fn generate(wanted: &Keygen, output: Output) -> anyhow::Result<ExitCode> {
    let generated = write_pair(&wanted.out)?;
    output.show(&generated, |generated| {
        format!(
            "{} sign with --sign {}, which stays secret\n{} trust it with --trusted-key {}",
            output.green("+"),
            generated.secret_key.display(),
            output.green("+"),
            generated.public_key.display(),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a pair of keys beside each other, under the endings `.key` and `.pub` of `out`.
pub(crate) fn write_pair(out: &Path) -> anyhow::Result<Generated> {
    let key = SigningKey::generate()?;
    let generated = Generated {
        secret_key: out.with_extension("key"),
        public_key: out.with_extension("pub"),
        key: key.public(),
    };
    write_new(&generated.secret_key, &key.to_secret_text(), SECRET_MODE)?;
    write_new(&generated.public_key, &format!("{}\n", generated.key), PUBLIC_MODE)?;
    Ok(generated)
}

/// A key that is there is never written over: packages that it signed would be worth nothing.
fn write_new(file: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(file)
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .with_context(|| format!("could not write {}", file.display()))
}
