//! What a model's process may use.

use std::{ffi::OsString, time::Duration};

/// Least memory of a child: less would not hold the program itself.
const MEMORY_BYTES_MIN: u64 = 64 << 20;

/// What a model's process may use before it is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Memory that it may write to, in bytes: models, what they are compiled to, and batches.
    pub memory_bytes: u64,
    /// CPU time of all its threads together, to the second.
    pub cpu_time: Duration,
    /// Time that one call may take: loading a model, or one batch.
    pub call_time: Duration,
    /// Calls that it works on at the same time.
    pub threads: usize,
}

impl Default for Allowance {
    /// Room for one large model, as to look at it.
    fn default() -> Self {
        Self {
            memory_bytes: 2 << 30,
            cpu_time: Duration::from_mins(10),
            call_time: Duration::from_mins(1),
            threads: 2,
        }
    }
}

impl Allowance {
    /// As the arguments of a child, which holds itself to them; how long a call takes is its parent's to watch.
    pub(crate) fn to_arguments(self) -> [OsString; 3] {
        let memory = self.memory_bytes.max(MEMORY_BYTES_MIN);
        let cpu = self.cpu_time.as_secs().max(1);
        [memory.to_string(), cpu.to_string(), self.threads.max(1).to_string()].map(OsString::from)
    }

    /// What [`Allowance::to_arguments`] wrote.
    pub(crate) fn from_arguments(arguments: &[OsString]) -> Option<Self> {
        let [memory, cpu, threads] = arguments else { return None };
        Some(Self {
            memory_bytes: memory.to_str()?.parse().ok()?,
            cpu_time: Duration::from_secs(cpu.to_str()?.parse().ok()?),
            threads: threads.to_str()?.parse().ok()?,
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_reads_what_its_parent_grants() {
        let granted = Allowance { memory_bytes: 512 << 20, threads: 3, ..Allowance::default() };
        assert_eq!(Allowance::from_arguments(&granted.to_arguments()), Some(granted));
        assert_eq!(Allowance::from_arguments(&["512".into()]), None);
        assert_eq!(Allowance::from_arguments(&["a".into(), "1".into(), "1".into()]), None);
    }
}
