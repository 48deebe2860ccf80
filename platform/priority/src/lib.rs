//! Which threads give way to which.
//!
//! Requests are answered at the usual priority, within milliseconds. Runs and mirrors give way to them, and a query to
//! everything else: it is the one part of a run that may go on without an end. Threads inherit the priority of the
//! thread that starts them, so those of a query engine have that of the query.

use std::io;

/// What a thread works on, from what gives way least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Runs and mirrors: beside a request they get a quarter of a core. Less, and requests without end would keep
    /// them from getting on at all.
    Background,
    /// Queries: beside another part of a run they get a quarter of a core.
    Query,
}

impl Priority {
    /// The nice value, on the scale from 0, the usual one, to 19.
    #[must_use]
    pub fn niceness(self) -> i32 {
        match self {
            Self::Background => 5,
            Self::Query => 10,
        }
    }

    /// Gives the calling thread this priority, for good. Where the process was started with a lower one the system
    /// refuses, and the thread keeps that.
    #[expect(
        unsafe_code,
        reason = "one call of the system with three numbers, which no crate here wraps"
    )]
    pub fn take(self) -> io::Result<()> {
        // To Linux, process 0 is the calling thread.
        let answer = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, self.niceness()) };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nice value of the calling thread: the 19th field, the 17th after the name in brackets.
    fn niceness() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("the thread's state");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        fields.split(' ').nth(16).and_then(|nice| nice.parse().ok()).expect("a number")
    }

    #[test]
    fn a_thread_and_what_it_starts_have_the_priority_that_it_took_and_others_keep_theirs() {
        let usual = niceness();
        let query = std::thread::spawn(|| {
            Priority::Query.take().expect("lower than the usual one");
            (niceness(), std::thread::spawn(niceness).join().expect("a number"))
        });
        let query = query.join().expect("numbers");
        assert_eq!(query, (Priority::Query.niceness(), Priority::Query.niceness()));
        assert_eq!(niceness(), usual);
        assert!(Priority::Background.niceness() < Priority::Query.niceness());
    }
}
