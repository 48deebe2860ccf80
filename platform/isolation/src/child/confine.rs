//! What a child gives up before it reads a stranger's byte.

use std::{collections::BTreeMap, fs};

use nix::sys::resource::{Resource, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

use crate::Allowance;

/// CPU seconds between the signal that says so and the one that cannot be caught.
const CPU_GRACE_SECONDS: u64 = 5;
/// Files that may be open: two pipes, standard error, and their copies.
const FILES_MAX: u64 = 16;

/// All that a model needs of the system: memory, locks, its pipes, the time, random numbers for hash maps, and
/// to end. What is not here fails with EPERM.
const ALLOWED: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_prctl,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Holds this process to its allowance. Gives what the system refuses, in words.
pub(super) fn limit(allowance: Allowance) -> Vec<String> {
    let memory = allowance.memory_bytes;
    let cpu = allowance.cpu_time.as_secs();
    let limits = [
        ("its memory", Resource::RLIMIT_DATA, memory, memory),
        ("its CPU time", Resource::RLIMIT_CPU, cpu, cpu + CPU_GRACE_SECONDS),
        ("its open files", Resource::RLIMIT_NOFILE, FILES_MAX, FILES_MAX),
        ("what it writes to files", Resource::RLIMIT_FSIZE, 0, 0),
        ("its memory being written to a file when it crashes", Resource::RLIMIT_CORE, 0, 0),
    ];
    let mut kept = Vec::new();
    for (what, resource, soft, hard) in limits {
        if let Err(error) = setrlimit(resource, soft, hard) {
            kept.push(format!("{what} could not be limited: {error}"));
        }
    }
    // Where the system runs out of memory, the model goes first. It is no loss where this cannot be said.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    kept
}

/// Gives up all calls but [`ALLOWED`], for all threads and for good. Gives what the system refuses, in words.
pub(super) fn close() -> Option<String> {
    let closed = filter()
        .and_then(|filter| apply_filter_all_threads(&filter).map_err(|error| error.to_string()));
    closed.err().map(|problem| format!("its system calls could not be confined: {problem}"))
}

fn filter() -> Result<BpfProgram, String> {
    let allowed: BTreeMap<i64, Vec<_>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let machine = std::env::consts::ARCH.try_into().map_err(|error| format!("{error}"))?;
    SeccompFilter::new(allowed, refused, SeccompAction::Allow, machine)
        .and_then(BpfProgram::try_from)
        .map_err(|error| error.to_string())
}
