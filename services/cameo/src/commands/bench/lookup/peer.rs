//! `pgbench -S` over the Unix socket, without HTTP, keys or JSON, as a prepared statement: on a table of its own with as
//! many rows, as everybody runs it, and on the rows that are served.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use cameo_domain::ServicePath;
use hdrhistogram::Histogram;

use super::{super::setting::Setting, Measured, What};
use crate::cli::BenchLookup;

/// How the files begin into which it writes latencies.
const LOG_PREFIX: &str = "pgbench_log";
/// Accounts per unit of its scale.
const ACCOUNTS: u64 = 100_000;

/// The newest pgbench of this machine.
pub(super) fn find() -> Option<PathBuf> {
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

/// Makes pgbench's own table, with at least as many accounts as there are rows.
pub(super) fn prepare(
    setting: &Setting,
    pgbench: &Path,
    wanted: &BenchLookup,
) -> anyhow::Result<()> {
    let scale = wanted.rows.div_ceil(ACCOUNTS).to_string();
    call(setting, pgbench, &["-i", "-q", "-s", &scale]).map(drop)
}

pub(super) fn run(
    setting: &Setting,
    pgbench: &Path,
    path: &ServicePath,
    wanted: &BenchLookup,
    what: What,
) -> anyhow::Result<Measured> {
    let data = setting.deployment.places.data();
    let (log, script) = (data.join(LOG_PREFIX), data.join("select.sql"));
    let view = format!("tenant_{}.{}", path.tenant, path.service);
    std::fs::write(
        &script,
        format!("\\set k random(1, {})\nselect * from {view} where user_id = :k;\n", wanted.rows),
    )?;
    let (log, script) = (log.to_string_lossy(), script.to_string_lossy());
    let asked: &[&str] = if what == What::Pgbench { &["-S"] } else { &["-f", &script] };
    let (connections, seconds) = (wanted.connections.to_string(), wanted.seconds.to_string());
    let how = ["-n", "-M", "prepared", "-j", "2", "-c", &connections, "-T", &seconds];
    let logged_as = ["-l", "--sampling-rate", "0.1", "--log-prefix", &log];
    let text = call(setting, pgbench, &[&how[..], &logged_as[..], asked].concat())?;
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .and_then(|rest| rest.split(' ').next())
        .context("pgbench printed no rate")?
        .parse::<f64>()?;
    let latencies = logged(setting)?;
    let ms = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
    let failed = BTreeMap::new();
    Ok(Measured { what, per_second: rate, p50_ms: ms(0.5), p99_ms: ms(0.99), failed })
}

fn call(setting: &Setting, pgbench: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let connection = setting.postgres.connection();
    let result = Command::new(pgbench)
        .args(arguments)
        .arg("-h")
        .arg(&connection.socket_dir)
        .args(["-p", &connection.port.to_string(), "-U", &connection.user, &connection.database])
        .output()
        .context("could not start pgbench")?;
    if !result.status.success() {
        bail!("pgbench failed: {}", String::from_utf8_lossy(&result.stderr));
    }
    Ok(String::from_utf8_lossy(&result.stdout).into_owned())
}

/// The latencies that pgbench logged, the third word of each line in microseconds; the files go.
fn logged(setting: &Setting) -> anyhow::Result<Histogram<u64>> {
    let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    for entry in std::fs::read_dir(setting.deployment.places.data())? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(LOG_PREFIX) {
            continue;
        }
        for line in std::fs::read_to_string(entry.path())?.lines() {
            if let Some(latency) = line.split(' ').nth(2).and_then(|word| word.parse().ok()) {
                latencies.saturating_record(latency);
            }
        }
        std::fs::remove_file(entry.path())?;
    }
    Ok(latencies)
}
