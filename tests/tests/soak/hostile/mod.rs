//! Bundles that were made to do harm: each is refused or ends with its reason, in bounded time and memory, and
//! the next tenant notices nothing.

mod apart;
mod archives;
mod broken;
mod models;
mod onnx;
mod queries;
mod yaml;

use std::time::{Duration, Instant};

/// How long one hostile thing may keep anybody busy.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Longest reason: of a graph within graphs it tells the way down.
const REASON_BYTES_MAX: usize = 4_096;
/// What all of a corpus may add to the memory of the process that looks at it, one after the other.
const MEMORY_MAX_MB: u64 = 256;

/// What was tried, and what came of it: for a snapshot, and for the figures.
struct Corpus {
    lines: Vec<String>,
    slowest: Duration,
    memory_before_mb: u64,
}

impl Corpus {
    fn new() -> Self {
        Self { lines: Vec::new(), slowest: Duration::ZERO, memory_before_mb: peak_mb() }
    }

    /// Tries one thing, which must be refused with a reason.
    fn refused(&mut self, name: &str, attempt: impl FnOnce() -> Result<(), String>) {
        let started = Instant::now();
        let outcome = attempt();
        self.note(name, outcome, started.elapsed());
    }

    fn note(&mut self, name: &str, outcome: Result<(), String>, took: Duration) {
        let Err(reason) = outcome else { panic!("{name} was let through") };
        assert!(
            reason.len() > 10 && reason.len() < REASON_BYTES_MAX,
            "{name}: no explanation: {reason}"
        );
        assert!(took < TIME_MAX, "{name} took {took:?}");
        self.slowest = self.slowest.max(took);
        self.lines.push(format!("{name}\n    {}", reason.trim().replace('\n', "\n    ")));
    }

    /// The lines for a snapshot. The figures go to whoever runs `tests/soak`.
    fn end(self, what: &str) -> String {
        let memory = peak_mb() - self.memory_before_mb;
        assert!(memory < MEMORY_MAX_MB, "{what} took {memory} MB");
        let slowest = format!("{:.1}", self.slowest.as_secs_f64() * 1e3);
        cameo_tests::report(
            what,
            &[
                ("refused with a reason", &self.lines.len()),
                ("let through", &0),
                ("slowest, ms", &slowest),
                ("memory added, MB", &memory),
            ],
        );
        self.lines.join("\n")
    }
}

/// The most memory that this process has ever had.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kilobytes: u64 =
        peak.split_whitespace().next().expect("a number").parse().expect("a number");
    kilobytes / 1_024
}
