//! What this process used.

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};

/// Forgets the peak so far, so that the next one belongs to the next measurement.
pub(super) fn forget_peak() {
    // Needs no privilege for the own process; where /proc is read-only the peak stays cumulative.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Peak resident memory since the start or [`forget_peak`], in MB.
pub(super) fn peak_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kibibytes: f64 =
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0.0);
    kibibytes / 1024.0
}

/// CPU seconds that this process has used.
pub(super) fn cpu_seconds() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
        let seconds =
            |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    })
}
