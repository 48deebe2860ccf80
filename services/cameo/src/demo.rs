//! The demo: real data in, predictions out, and how to ask for them.

use std::{
    fs, io::Write, net::SocketAddr, os::unix::fs::OpenOptionsExt, path::Path, time::Duration,
};

use anyhow::{Context, bail};
use cameo_access::{ApiKey, PresentedKey};
use cameo_domain::{RunState, Scopes, ServicePath, TenantName};
use cameo_store::{keys, outbox, runs::RunRecord, services};

use crate::{
    commands::{apply, demo_data, importance, keys as key_commands, run},
    deployment::Deployment,
    output::{Output, grouped},
    picture,
};

/// The demo's tables, laid out as in a Lake.
const TABLES: &str = "deploy/demo/lake";
/// The demo's bundles.
const TENANTS: &str = "tenants";
/// Features in the picture of what matters.
const FEATURES_SHOWN: usize = 5;
/// How long the mirror may take before the pictures are left out.
const MIRROR_MAX: Duration = Duration::from_secs(30);

/// Seeds the Lake, applies the bundles, runs them and prints how to call them.
pub(crate) async fn run(
    deployment: &Deployment,
    customers: u64,
    api: SocketAddr,
    output: Output,
) -> anyhow::Result<()> {
    if !Path::new(TABLES).is_dir() || !Path::new(TENANTS).is_dir() {
        bail!("the demo needs {TABLES} and {TENANTS}; run it in a checkout of the repository");
    }
    let lake = deployment.places.lake();
    seed(Path::new(TABLES), lake)?;
    demo_data::generate(lake, customers).await?;
    output.line(format!(
        "{} Lake with 69,659 purchases of CDNOW and {} generated customers",
        output.green("✓"),
        grouped(customers)
    ));

    let applied = apply::apply(deployment, Path::new(TENANTS), output).await?;
    let applied = applied.context("nothing was applied: the bundles have problems")?.services;
    for bundle in &applied {
        output.line(apply::describe(bundle, output));
    }
    for bundle in &applied {
        let ended = run_once(deployment, &bundle.path, output).await?;
        output.line(run::describe(&ended, output));
    }
    wait_for_mirror(deployment).await?;
    let mut asks = Vec::new();
    for bundle in &applied {
        let path = &bundle.path;
        let service = services::find(&deployment.store, &path.tenant, &path.service)
            .await?
            .with_context(|| format!("{path} has vanished"))?;
        output.line(picture::of_current(deployment, &service).await?);
        let found = importance::of_current(&deployment.store, path).await?;
        output.line(importance::describe(path, &found, FEATURES_SHOWN, output));
        let key = key_of(deployment, &path.tenant).await?;
        asks.push(calls(path, &key, api, found.importance.is_some(), output));
    }
    for ask in asks {
        output.line(ask);
    }
    let program = std::env::current_exe().context("could not tell where this program is")?;
    output.line(format!(
        "\n{}\n  alias cameo='CAMEO_DATA_DIR=\"{}\" \"{}\"'",
        output.bold("In another terminal:"),
        deployment.places.data().display(),
        program.display()
    ));
    output.line(output.dim("Ctrl-C stops everything; the same command continues where it was."));
    Ok(())
}

/// Copies the demo's tables, unless they are there.
fn seed(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("could not make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("could not read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            seed(&entry.path(), &target)?;
        } else if !target.exists() {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("could not write {}", target.display()))?;
        }
    }
    Ok(())
}

async fn run_once(
    deployment: &Deployment,
    path: &ServicePath,
    output: Output,
) -> anyhow::Result<RunRecord> {
    let store = &deployment.store;
    let requested = run::request(store, path, &run::fresh_key()).await?;
    let ended = run::watch(store, path, requested.run, output).await?;
    if ended.state != RunState::Published {
        bail!("the demo's run did not publish\n{}", run::describe(&ended, output));
    }
    Ok(ended)
}

async fn wait_for_mirror(deployment: &Deployment) -> anyhow::Result<()> {
    let mirrored = async {
        while outbox::lag(&deployment.store).await?.pending > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(MIRROR_MAX, mirrored)
        .await
        .context("the mirror did not catch up; `cameo doctor` and the log say why")?
}

/// The tenant's key of the demo. It is kept in the data directory, readable by its owner alone, so
/// that the printed lines work after a restart too.
async fn key_of(deployment: &Deployment, tenant: &TenantName) -> anyhow::Result<String> {
    let file = deployment.places.data().join(format!("demo-key-{tenant}"));
    if let Ok(kept) = fs::read_to_string(&file)
        && let Ok(parsed) = PresentedKey::parse(&kept)
        && keys::list(&deployment.store, Some(tenant))
            .await?
            .iter()
            .any(|key| key.prefix == parsed.prefix())
    {
        return Ok(kept);
    }
    let key: ApiKey =
        key_commands::create(&deployment.store, Some(tenant), "demo", Scopes::all(), None).await?;
    let mut open = fs::OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o600);
    open.open(&file)?.write_all(key.reveal().as_bytes())?;
    Ok(key.reveal().to_owned())
}

/// Calls that are answered: a service that is not explained has no importance of features to ask for.
fn calls(
    path: &ServicePath,
    key: &str,
    api: SocketAddr,
    is_explained: bool,
    output: Output,
) -> String {
    let base = format!("http://{api}/v1/tenants/{}/services/{}", path.tenant, path.service);
    let header = format!("-H 'Authorization: Bearer {key}'");
    let importance =
        if is_explained { format!("\n  curl {header} {base}/importance") } else { String::new() };
    format!(
        "\n{}\n  curl {header} {base}/predictions/1\n  curl {header} {base}/predictions:batchGet \
         --json '{{\"keys\": [1, 2, 3]}}'\n  curl {header} {base}/runs\n  curl -X POST {header} \
         -H 'Idempotency-Key: again' {base}/runs{importance}\n  cameo explain {path} --key 1",
        output.bold(&format!("Ask {path}:")),
    )
}
