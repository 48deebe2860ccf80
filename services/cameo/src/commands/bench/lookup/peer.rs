//! `pgbench -S`: the same look-up over the Unix socket, without HTTP, keys or JSON; as a prepared statement, and as it
//! runs unless told otherwise, with the text of the statement each time.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, bail};
use cameo_domain::ServicePath;
use hdrhistogram::Histogram;

use super::{super::setting::Setting, Measured, What};
use crate::cli::BenchLookup;

/// How the files begin into which it writes latencies.
const LOG_PREFIX: &str = "pgbench_log";

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

pub(super) fn run(
    setting: &Setting,
    pgbench: &PathBuf,
    path: &ServicePath,
    wanted: &BenchLookup,
    what: What,
) -> anyhow::Result<Measured> {
    let protocol = if what == What::Pgbench { "prepared" } else { "simple" };
    let script = setting.deployment.places.data().join("select.sql");
    let view = format!("tenant_{}.{}", path.tenant, path.service);
    std::fs::write(
        &script,
        format!("\\set k random(1, {})\nselect * from {view} where user_id = :k;\n", wanted.rows),
    )?;
    let log = setting.deployment.places.data().join(LOG_PREFIX);
    let connection = setting.postgres.connection();
    let result = Command::new(pgbench)
        .args(["-n", "-M", protocol, "-j", "2", "-c", &wanted.connections.to_string()])
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
    Ok(Measured { what, per_second: rate, p50_ms: ms(0.5), p99_ms: ms(0.99), failed: 0 })
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
