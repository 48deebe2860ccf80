//! Which cores threads and processes may use.

use std::io;

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::other;

const CALLING_THREAD: Pid = Pid::from_raw(super::CALLING_THREAD);

/// A set of cores. Threads and processes have that of the thread that starts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cores(CpuSet);

impl Cores {
    /// Those that the calling thread may use.
    pub fn of_this_thread() -> io::Result<Self> {
        Ok(Self(sched_getaffinity(CALLING_THREAD)?))
    }

    /// Those that the calling thread is kept to, where its process may use others.
    pub fn kept_to() -> io::Result<Option<Self>> {
        let own = Self::of_this_thread()?;
        Ok((own.0 != sched_getaffinity(Pid::this())?).then_some(own))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.numbers().count()
    }

    /// These without the first `left`, which are left to others; nothing where that is all of them.
    #[must_use]
    pub fn but_first(mut self, left: usize) -> Option<Self> {
        let first: Vec<usize> = self.numbers().take(left).collect();
        for core in first {
            self.0.unset(core).ok()?;
        }
        (self.count() > 0).then_some(self)
    }

    /// Keeps the calling thread, and what it starts, to these.
    pub fn take(&self) -> io::Result<()> {
        Ok(sched_setaffinity(CALLING_THREAD, &self.0)?)
    }

    /// Keeps another process of one thread to these, which must be of the same user or the caller root.
    pub fn give(&self, process: u32) -> io::Result<()> {
        Ok(sched_setaffinity(Pid::from_raw(other(process)?), &self.0)?)
    }

    fn numbers(&self) -> impl Iterator<Item = usize> {
        let set = self.0;
        (0..CpuSet::count()).filter(move |core| set.is_set(*core).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        thread,
    };

    use super::*;

    #[test]
    fn what_a_thread_starts_stays_on_its_cores_and_something_is_always_left() {
        let all = Cores::of_this_thread().expect("the cores");
        assert!(all.but_first(all.count()).is_none());
        assert_eq!(all.but_first(0).expect("all").count(), all.count());
        // On a single core there is nothing to leave to others.
        let Some(some) = all.but_first(1) else { return };
        let inherited = thread::spawn(move || {
            assert_eq!(Cores::kept_to().expect("the cores"), None);
            some.take().expect("fewer than before");
            assert_eq!(Cores::kept_to().expect("the cores"), Some(some));
            thread::spawn(|| Cores::of_this_thread().expect("the cores").count()).join()
        });
        let inherited = inherited.join().expect("no panic").expect("a number");
        assert_eq!(inherited, all.count() - 1);
        assert_eq!(Cores::of_this_thread().expect("the cores").count(), all.count());

        let mut other =
            Command::new("cat").stdin(Stdio::piped()).spawn().expect("a process that waits");
        some.give(other.id()).expect("one of our own");
        let pid = Pid::from_raw(other.id().try_into().expect("a number"));
        let given = Cores(sched_getaffinity(pid).expect("its cores"));
        assert_eq!(given.count(), all.count() - 1);
        other.kill().expect("the end");
        other.wait().expect("the end");
    }
}
