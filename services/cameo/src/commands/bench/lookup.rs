//! Point look-ups over HTTP, beside `pgbench -S` on the same rows.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use cameo_domain::{RunState, Scope, Scopes, ServicePath};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{http::Connection, setting::Setting};
use crate::{
    cli::{BenchLookup, Role},
    commands::{apply, demo_data, keys, run},
    output::{Output, grouped, table},
    roles::Roles,
};

#[derive(Debug, Serialize)]
struct Measured {
    what: String,
    requests: u64,
    requests_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

pub(super) async fn run(wanted: BenchLookup, output: Output) -> anyhow::Result<ExitCode> {
    let setting = Setting::new().await?;
    let deployment = &setting.deployment;
    demo_data::generate(deployment.places.lake(), wanted.rows).await?;
    let applied = apply::apply(deployment, &wanted.bundle, output)
        .await?
        .context("the bundle has problems")?;
    let path = applied.services.first().context("no bundle was found")?.path.clone();

    let shutdown = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let roles = Roles::start(&[Role::Api, Role::Worker], deployment, listener, &shutdown);
    let requested = run::request(&deployment.store, &path, &run::fresh_key()).await?;
    let ended = run::watch(&deployment.store, &path, requested.run, output).await?;
    if ended.state != RunState::Published {
        bail!("{}", run::describe(&ended, output));
    }
    let scopes = Scopes::only(&[Scope::Read]);
    let key = keys::create(&deployment.store, Some(&path.tenant), "bench", scopes, None).await?;

    let load = Load { address, path: path.clone(), key: key.reveal().to_owned(), wanted: &wanted };
    let mut measured = vec![load.run().await?];
    if let Some(pgbench) = find_pgbench() {
        measured.push(peer(&setting, &pgbench, &path, &wanted)?);
    } else {
        output.line("pgbench was not found; install Debian's package postgresql");
    }
    shutdown.cancel();
    roles.wait().await?;
    setting.close().await?;
    output.show(&measured, |measured| {
        table(
            &["look-ups by key", "requests/s", "p50 ms", "p99 ms"],
            measured.iter().map(|one| {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a rate"
                )]
                let rate = one.requests_per_second as u64;
                vec![
                    one.what.clone(),
                    grouped(rate),
                    format!("{:.2}", one.p50_ms),
                    format!("{:.2}", one.p99_ms),
                ]
            }),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

struct Load<'a> {
    address: SocketAddr,
    path: ServicePath,
    key: String,
    wanted: &'a BenchLookup,
}

impl Load<'_> {
    /// Asks for keys all over the range on every connection until the time is up.
    async fn run(&self) -> anyhow::Result<Measured> {
        let mut clients = JoinSet::new();
        let started = Instant::now();
        let end = started + Duration::from_secs(self.wanted.seconds);
        for client in 0..self.wanted.connections {
            let head = format!(
                "GET /v1/tenants/{}/services/{}/predictions/",
                self.path.tenant, self.path.service
            );
            let tail =
                format!(" HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\r\n", self.key);
            clients.spawn(one_client(
                self.address,
                head,
                tail,
                self.wanted.rows,
                client as u64,
                end,
            ));
        }
        let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
        while let Some(client) = clients.join_next().await {
            latencies.add(client??)?;
        }
        let seconds = started.elapsed().as_secs_f64();
        let ms = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Ok(Measured {
            what: format!("cameo API, {} connections, with keys", self.wanted.connections),
            requests: latencies.len(),
            requests_per_second: latencies.len() as f64 / seconds,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
        })
    }
}

async fn one_client(
    address: SocketAddr,
    head: String,
    tail: String,
    rows: u64,
    client: u64,
    end: Instant,
) -> anyhow::Result<Histogram<u64>> {
    let mut connection = Connection::open(address).await?;
    let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    let mut request = Vec::with_capacity(head.len() + tail.len() + 20);
    let mut draw = client.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while Instant::now() < end {
        // Weyl steps through a mixer: every key is as likely as any other.
        draw = draw.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let key = 1 + (draw ^ (draw >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) % rows;
        request.clear();
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(key.to_string().as_bytes());
        request.extend_from_slice(tail.as_bytes());
        let sent = Instant::now();
        let status = connection.ask(&request).await?;
        if status != 200 {
            bail!("the look-up of {key} answered {status}");
        }
        latencies.record(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX).max(1))?;
    }
    Ok(latencies)
}

fn find_pgbench() -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin/pgbench"))
        .filter(|place| place.is_file())
        .collect();
    places.sort();
    places.pop()
}

/// The same look-up as a prepared statement, over the Unix socket, without HTTP, keys or JSON.
fn peer(
    setting: &Setting,
    pgbench: &PathBuf,
    path: &ServicePath,
    wanted: &BenchLookup,
) -> anyhow::Result<Measured> {
    let script = setting.deployment.places.data().join("select.sql");
    let view = format!("tenant_{}.{}", path.tenant, path.service);
    std::fs::write(
        &script,
        format!("\\set k random(1, {})\nselect * from {view} where user_id = :k;\n", wanted.rows),
    )?;
    let log = setting.deployment.places.data().join("pgbench_log");
    let connection = setting.postgres.connection();
    let result = Command::new(pgbench)
        .args(["-n", "-M", "prepared", "-j", "2", "-c", &wanted.connections.to_string()])
        .args(["-T", &wanted.seconds.to_string(), "--sampling-rate", "0.1", "-l"])
        .arg("--log-prefix")
        .arg(&log)
        .arg("-f")
        .arg(&script)
        .arg("-h")
        .arg(&connection.socket_dir)
        .args(["-p", &connection.port.to_string(), "-U", &connection.user, &connection.database])
        .output()
        .context("could not start pgbench")?;
    let text = String::from_utf8_lossy(&result.stdout);
    if !result.status.success() {
        bail!("pgbench failed: {}", String::from_utf8_lossy(&result.stderr));
    }
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .and_then(|rest| rest.split(' ').next())
        .context("pgbench printed no rate")?
        .parse::<f64>()?;
    let latencies = logged(setting)?;
    let ms = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let requests = (rate * wanted.seconds as f64) as u64;
    Ok(Measured {
        what: format!("pgbench -S on the same rows, {} connections", wanted.connections),
        requests,
        requests_per_second: rate,
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
    })
}

/// The latencies that pgbench logged: the third word of each line, in microseconds.
fn logged(setting: &Setting) -> anyhow::Result<Histogram<u64>> {
    let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    for entry in std::fs::read_dir(setting.deployment.places.data())? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with("pgbench_log") {
            continue;
        }
        for line in std::fs::read_to_string(entry.path())?.lines() {
            if let Some(latency) = line.split(' ').nth(2).and_then(|word| word.parse().ok()) {
                latencies.saturating_record(latency);
            }
        }
    }
    Ok(latencies)
}
