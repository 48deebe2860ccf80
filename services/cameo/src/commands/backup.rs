//! `cameo backup`: everything that cannot be made again, in one folder.

use std::process::ExitCode;

use cameo_backup::{Checked, Taken};
use serde::Serialize;

use crate::{
    cli::{Backup, Global},
    deployment::Deployment,
    output::{Output, grouped},
};

/// A backup that was checked, for programs.
#[derive(Serialize)]
struct Sound {
    taken_at: String,
    cameo: String,
    schema: i64,
    rows: u64,
    artifacts: usize,
}

pub(crate) async fn run(
    global: &Global,
    backup: Backup,
    output: Output,
) -> anyhow::Result<ExitCode> {
    if backup.check {
        let Checked { manifest, .. } = cameo_backup::check(&backup.folder).await?;
        let sound = Sound {
            taken_at: manifest.contents.taken_at.to_rfc3339(),
            cameo: manifest.cameo.clone(),
            schema: manifest.contents.schema.version(),
            rows: manifest.rows_total(),
            artifacts: manifest.contents.artifacts.len(),
        };
        output.show(&sound, |sound| {
            let Sound { taken_at, cameo, schema, rows, artifacts } = sound;
            format!(
                "{} as of {taken_at}, by Cameo {cameo} with schema {schema}: {} rows, {artifacts} \
                 artifacts; every file is as it was written",
                output.green("✓"),
                grouped(*rows)
            )
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    // Not migrated: a backup is what one takes before that.
    let deployment = Deployment::reach(global).await?;
    let taken =
        cameo_backup::take(&deployment.store, &deployment.artifacts, &backup.folder).await?;
    output.show(&taken, |taken| {
        let Taken { folder, schema, tables, rows, artifacts, bytes } = taken;
        format!(
            "{} {} with schema {schema}: {} rows of {tables} tables, {artifacts} artifacts, {} bytes",
            output.green("✓"),
            folder.display(),
            grouped(*rows),
            grouped(*bytes)
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
