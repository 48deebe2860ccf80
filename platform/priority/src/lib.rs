//! Which threads and processes give way to which, and which cores they may use.
//!
//! Requests are answered at the usual priority, within milliseconds. Runs and mirrors give way to them, and a query to
//! everything else: it is the one part of a run that may go on without an end. Threads inherit the priority of the
//! thread that starts them, so those of a query engine have that of the query.
//!
//! A nice value says who gets how much, not how soon: the system lets whoever computes go on for some milliseconds before
//! it looks who else has woken up. A thread with a short slice interrupts one with a longer slice at once (Linux from
//! 6.12 on; older ones take the slice and go on as before).

pub mod cores;
pub mod sessions;

use std::{io, mem};

/// The slice of who answers requests, the shortest that the system knows: of all who have not had their share, the one
/// whose slice would end first goes on.
const REQUEST_SLICE_NS: u64 = 100_000;
/// The slice of runs, some times what passes between two looks at who computes. With the usual one, which is shorter than
/// that, a run that stands in line behind another is mostly overdue, and goes on before a request that wakes up.
const RUN_SLICE_NS: u64 = 20_000_000;
/// Each thread a task of its own to Linux, and 0 the calling one.
const CALLING_THREAD: libc::pid_t = 0;
const NO_FLAGS: libc::c_uint = 0;

/// What a thread or a process works on, from what gives way least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Requests: they interrupt whatever else computes.
    Request,
    /// Runs and mirrors: beside requests without end they get a thirtieth of a core. With a larger share, a request that
    /// follows upon another has had more than its own, and waits until the system looks again.
    Background,
    /// Queries: beside another part of a run they get a third of a core.
    Query,
}

impl Priority {
    /// How much it takes from others, from 0, as usual, to 19.
    #[must_use]
    pub fn niceness(self) -> i32 {
        match self {
            Self::Request => 0,
            Self::Background => 15,
            Self::Query => 19,
        }
    }

    fn slice_ns(self) -> u64 {
        match self {
            Self::Request => REQUEST_SLICE_NS,
            Self::Background | Self::Query => RUN_SLICE_NS,
        }
    }

    /// Gives the calling thread this priority, for good. One that has given way more keeps to that.
    pub fn take(self) -> io::Result<()> {
        self.apply(CALLING_THREAD)
    }

    /// Gives it to another process of one thread, which must be of the same user or the caller root.
    pub fn give(self, process: u32) -> io::Result<()> {
        self.apply(other(process)?)
    }

    fn apply(self, thread: libc::pid_t) -> io::Result<()> {
        apply(thread, self.niceness(), self.slice_ns())
    }
}

/// Gives another process of one thread the priority of the calling thread, as if it had been started by it.
pub fn share(process: u32) -> io::Result<()> {
    let own = attributes(CALLING_THREAD)?;
    apply(other(process)?, own.sched_nice, own.sched_runtime)
}

fn apply(thread: libc::pid_t, niceness: i32, slice_ns: u64) -> io::Result<()> {
    let mut attributes = attributes(thread)?;
    attributes.sched_nice = attributes.sched_nice.max(niceness);
    attributes.sched_runtime = slice_ns;
    set_attributes(thread, &attributes)
}

/// The system's number for another process: 0 would be the calling thread.
fn other(process: u32) -> io::Result<libc::pid_t> {
    let process = libc::pid_t::try_from(process).ok().filter(|process| *process > 0);
    process.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[expect(unsafe_code, reason = "a call of the system that neither nix nor libc wraps")]
fn attributes(thread: libc::pid_t) -> io::Result<libc::sched_attr> {
    let size = size_of::<libc::sched_attr>();
    // All of it are numbers, which the call fills in, at most so many bytes as it is told.
    let mut attributes: libc::sched_attr = unsafe { mem::zeroed() };
    let answer = unsafe {
        libc::syscall(libc::SYS_sched_getattr, thread, &raw mut attributes, size, NO_FLAGS)
    };
    if answer == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

#[expect(unsafe_code, reason = "a call of the system that neither nix nor libc wraps")]
fn set_attributes(thread: libc::pid_t, attributes: &libc::sched_attr) -> io::Result<()> {
    // It reads as many bytes as the attributes themselves say, which is what `attributes` wrote there.
    let answer =
        unsafe { libc::syscall(libc::SYS_sched_setattr, thread, &raw const *attributes, NO_FLAGS) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        thread,
    };

    use super::*;

    fn niceness() -> i32 {
        attributes(CALLING_THREAD).expect("the thread's attributes").sched_nice
    }

    #[test]
    fn a_thread_and_what_it_starts_have_the_priority_that_it_took_and_others_keep_theirs() {
        let usual = niceness();
        let query = thread::spawn(|| {
            Priority::Query.take().expect("lower than the usual one");
            (niceness(), thread::spawn(niceness).join().expect("a number"))
        });
        let query = query.join().expect("numbers");
        assert_eq!(query, (Priority::Query.niceness(), Priority::Query.niceness()));
        assert_eq!(niceness(), usual);
        assert!(Priority::Background.niceness() < Priority::Query.niceness());
    }

    #[test]
    fn requests_have_a_short_slice_and_what_a_thread_starts_for_runs_a_long_one() {
        let slices = thread::spawn(|| {
            let slice = || attributes(CALLING_THREAD).expect("attributes").sched_runtime;
            let usual = slice();
            Priority::Request.take().expect("of the usual priority");
            let run = thread::spawn(move || {
                Priority::Background.take().expect("lower than the usual one");
                slice()
            });
            (usual, slice(), run.join().expect("a number"))
        });
        let (usual, request, run) = slices.join().expect("numbers");
        // Before 6.12 the system has no slices, and tells none.
        let has_slices = usual > 0;
        assert_eq!(
            (request, run),
            if has_slices { (REQUEST_SLICE_NS, RUN_SLICE_NS) } else { (0, 0) }
        );
    }

    #[test]
    fn another_process_shares_the_priority_of_a_thread() {
        let mut other =
            Command::new("cat").stdin(Stdio::piped()).spawn().expect("a process that waits");
        let process = other.id();
        let sharing = thread::spawn(move || {
            Priority::Background.take().expect("lower than the usual one");
            share(process).expect("one of our own");
        });
        sharing.join().expect("no panic");
        let thread = libc::pid_t::try_from(other.id()).expect("a number");
        let shared = attributes(thread).expect("its attributes");
        assert_eq!(shared.sched_nice, Priority::Background.niceness());
        assert!([0, RUN_SLICE_NS].contains(&shared.sched_runtime), "{}", shared.sched_runtime);
        other.kill().expect("the end");
        other.wait().expect("the end");
    }

    #[test]
    fn another_process_is_given_a_priority_and_keeps_a_lower_one() {
        let mut other =
            Command::new("cat").stdin(Stdio::piped()).spawn().expect("a process that waits");
        let niceness = || {
            let thread = libc::pid_t::try_from(other.id()).expect("a number");
            attributes(thread).expect("its attributes").sched_nice
        };
        Priority::Query.give(other.id()).expect("one of our own");
        assert_eq!(niceness(), Priority::Query.niceness());
        Priority::Background.give(other.id()).expect("one of our own");
        assert_eq!(niceness(), Priority::Query.niceness());
        other.kill().expect("the end");
        other.wait().expect("the end");
        let nobody = Priority::Query.give(0).expect_err("the calling thread is not another one");
        assert_eq!(nobody.kind(), io::ErrorKind::InvalidInput);
    }
}
