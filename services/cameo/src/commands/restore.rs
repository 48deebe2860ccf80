//! `cameo restore`: a backup into an empty database.

use std::{process::ExitCode, sync::Arc};

use cameo_backup::{Checked, Restored};

use crate::{
    cli::{Global, Restore},
    commands::up::start_postgres,
    deployment::{Deployment, Places},
    output::{Output, grouped, table},
};

pub(crate) async fn run(
    global: &Global,
    restore: Restore,
    output: Output,
) -> anyhow::Result<ExitCode> {
    // All of it, before anything is made.
    let checked = cameo_backup::check(&restore.folder).await?;
    let places = Places::prepare(global)?;
    let restored = if let Some(url) = &global.database_url {
        into(places, url, &checked).await?
    } else {
        let postgres = start_postgres(&places).await?;
        let restored = into(places, &postgres.url(), &checked).await;
        if let Some(postgres) = Arc::into_inner(postgres) {
            tokio::task::spawn_blocking(move || postgres.stop()).await?;
        }
        restored?
    };
    output.show(&restored, |restored| {
        let Restored { taken_at, from, to, rows, artifacts, breaches } = restored;
        let done = format!(
            "{} rows and {artifacts} artifacts as of {taken_at}, with schema {from}, now {to}",
            grouped(*rows)
        );
        if breaches.is_empty() {
            return format!("{} {done}; every invariant holds", output.green("✓"));
        }
        let found = table(
            &["invariant", "detail"],
            breaches.iter().map(|breach| vec![breach.invariant.clone(), breach.detail.clone()]),
        );
        format!("{} {done}, but not everything holds:\n{found}", output.red("✗"))
    })?;
    Ok(if restored.breaches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn into(places: Places, url: &str, checked: &Checked) -> anyhow::Result<Restored> {
    let Deployment { store, artifacts, .. } = Deployment::open(places, url).await?;
    let restored = cameo_backup::restore(&store, &artifacts, checked).await;
    store.close().await;
    Ok(restored?)
}
