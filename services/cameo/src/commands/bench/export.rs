//! Exports of a segment over HTTP: rows per second of each format, and what they cost in memory.

use std::{fs::File, process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use arrow::{
    array::{ArrayRef, Float64Array, Int64Array},
    datatypes::{DataType, Field, Schema},
    record_batch::RecordBatch,
};
use cameo_domain::{RunState, Scope, Scopes, ServicePath, Sha256};
use cameo_segment::membership::{BATCH_ROWS, Label, MembershipWriter};
use cameo_snapshot::Digesting;
use cameo_store::segments::{self, Made, SegmentTask};
use reqwest::{Client, header};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    measure::{Measured, measure},
    setting::Setting,
};
use crate::{
    cli::{BenchExport, Role},
    commands::{apply, demo_data, keys, run},
    output::{Output, grouped, table},
    roles::Roles,
};

/// Customers of the run that the segment is defined over; its members are made up.
const CUSTOMERS: u64 = 1_000;
const SEGMENT: &str = "everybody";
/// How long a lease on the segment lasts: longer than its file takes to be written.
const LEASE_SECONDS: u32 = 3_600;

pub(super) async fn run(wanted: BenchExport, output: Output) -> anyhow::Result<ExitCode> {
    let setting = Setting::new().await?;
    let path = published(&setting, &wanted, output).await?;
    let shutdown = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url =
        format!("http://{}/v1/tenants/{}/segments/{SEGMENT}", listener.local_addr()?, path.tenant);
    let roles = Roles::start(&[Role::Api], &setting.deployment, listener, &shutdown).await?;
    let scopes = Scopes::only(&[Scope::Read, Scope::Segment]);
    let store = &setting.deployment.store;
    let key = keys::create(store, Some(&path.tenant), "bench", scopes, None).await?;
    let client = Caller { client: Client::new(), url, key: key.reveal().to_owned() };
    client.define(&path).await?;
    materialise(&setting, wanted.members).await?;
    // The first one verifies the file, which later ones need not.
    client.export("arrow", "none", wanted.members).await?;
    let mut measured = Vec::new();
    for (format, compression) in [
        ("arrow", "none"),
        ("arrow", "zstd"),
        ("parquet", "none"),
        ("ndjson", "none"),
        ("csv", "none"),
    ] {
        let what = format!("{format}, {compression}");
        let one = measure(&what, client.export(format, compression, wanted.members));
        measured.push(one.await?);
    }
    shutdown.cancel();
    roles.wait().await?;
    setting.close().await?;
    output.show(&measured, |measured| {
        table(&["export over HTTP", "rows/s", "MB", "CPU s", "peak MB"], measured.iter().map(shown))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn shown(one: &Measured) -> Vec<String> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
    let rate = (one.rows as f64 / one.seconds) as u64;
    vec![
        one.what.clone(),
        grouped(rate),
        one.steps.clone(),
        format!("{:.1}", one.cpu_seconds),
        format!("{:.0}", one.peak_mb),
    ]
}

/// Publishes a service, whose columns the segment names.
async fn published(
    setting: &Setting,
    wanted: &BenchExport,
    output: Output,
) -> anyhow::Result<ServicePath> {
    let deployment = &setting.deployment;
    demo_data::generate(deployment.places.lake(), CUSTOMERS).await?;
    let applied = apply::apply(deployment, &wanted.bundle, output)
        .await?
        .context("the bundle has problems")?;
    let path = applied.services.first().context("no bundle was found")?.path.clone();
    let shutdown = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let roles = Roles::start(&[Role::Worker], deployment, listener, &shutdown).await?;
    let requested = run::request(&deployment.store, &path, &run::fresh_key()).await?;
    let ended = run::watch(&deployment.store, &path, requested.run, output).await?;
    shutdown.cancel();
    roles.wait().await?;
    if ended.state != RunState::Published {
        bail!("{}", run::describe(&ended, output));
    }
    Ok(path)
}

/// Gives the segment `members` members with two attributes each.
async fn materialise(setting: &Setting, members: u64) -> anyhow::Result<()> {
    let deployment = &setting.deployment;
    let task = segments::claim(&deployment.store, LEASE_SECONDS)
        .await?
        .context("the segment is not due")?;
    let place = deployment.places.data().join("members.arrow");
    let (written, to) = (task.clone(), place.clone());
    let (sha256, bytes) =
        tokio::task::spawn_blocking(move || write(&written, &to, members)).await??;
    deployment.artifacts.put_file(&place, &sha256).await?;
    let made = Made { members, profiles: members, sha256, bytes };
    segments::complete(&deployment.store, &task, made).await?;
    Ok(())
}

/// Gives the digest and the size of the file.
fn write(task: &SegmentTask, to: &std::path::Path, members: u64) -> anyhow::Result<(Sha256, u64)> {
    let label = Label {
        tenant: task.tenant.clone(),
        segment: task.segment.clone(),
        number: task.number,
        as_of: task.as_of(),
        generations: task.generations(),
    };
    let attribute = |name: &str| Field::new(name, DataType::Float64, true);
    let schema = Arc::new(Schema::new(vec![
        Field::new("user_id", DataType::Int64, false),
        attribute("gender.male_percentile"),
        attribute("gender.female_percentile"),
    ]));
    let mut file = Digesting::new(File::create(to)?);
    let mut writer = MembershipWriter::new(&mut file, &label, &schema)?;
    let members = i64::try_from(members)?;
    let batch_rows = i64::try_from(BATCH_ROWS)?;
    let mut from = 1;
    while from <= members {
        let keys = from..(from + batch_rows).min(members + 1);
        // Digits as of a model: a number of few digits would be written faster.
        let share = |key: i64| (key as f64 * 0.618_033_988_75).fract();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(keys.clone().collect::<Int64Array>()),
            Arc::new(keys.clone().map(share).collect::<Float64Array>()),
            Arc::new(keys.clone().map(|key| 1.0 - share(key)).collect::<Float64Array>()),
        ];
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
        from = keys.end;
    }
    writer.finish()?;
    let bytes = file.bytes();
    Ok((file.finish().0, bytes))
}

struct Caller {
    client: Client,
    url: String,
    key: String,
}

impl Caller {
    async fn define(&self, path: &ServicePath) -> anyhow::Result<()> {
        let body =
            serde_json::json!({ "condition": format!("{}.male_percentile >= 0", path.service) });
        let request = self
            .client
            .put(&self.url)
            .bearer_auth(&self.key)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string());
        let answer = request.send().await?;
        if !answer.status().is_success() {
            bail!("the segment was not defined: {}", answer.text().await?);
        }
        Ok(())
    }

    /// Reads an export to its end; gives its rows and megabytes.
    async fn export(
        &self,
        format: &str,
        compression: &str,
        members: u64,
    ) -> anyhow::Result<(u64, String)> {
        let url = format!("{}/members?format={format}&compression={compression}", self.url);
        let mut answer = self.client.get(url).bearer_auth(&self.key).send().await?;
        if !answer.status().is_success() {
            bail!("the export was refused: {}", answer.text().await?);
        }
        let (mut bytes, mut lines) = (0_u64, 0_u64);
        let is_lines = matches!(format, "ndjson" | "csv");
        while let Some(piece) = answer.chunk().await? {
            bytes += piece.len() as u64;
            if is_lines {
                lines += piece.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
            }
        }
        let expected = members + u64::from(format == "csv");
        if is_lines && lines != expected {
            bail!("expected {expected} lines of {format}, found {lines}");
        }
        Ok((members, format!("{:.0}", bytes as f64 / 1e6)))
    }
}
