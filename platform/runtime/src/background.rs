//! Threads that give way.
//!
//! A run uses every core for as long as it lasts, and somebody waits for the answer to a request for as long as a
//! request lasts. On one machine both are fast only if the system knows which is which: threads of a
//! [`Background`] have a low priority, and so has everything that they start, such as the threads of a query engine or a
//! child process. A machine that has nothing else to do gives them all it has.

use std::io;

use cameo_priority::{Priority, cores::Cores};
use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime for work that nobody waits for at this moment.
///
/// Connections belong to the runtime that opened them: give what runs here a store of its own.
#[derive(Debug)]
pub struct Background(Option<Runtime>);

impl Background {
    /// Starts the threads, which are called `name`, on all cores but the first `left`, which are for others. At least
    /// one must remain.
    pub fn start(name: &str, left: usize) -> io::Result<Self> {
        let cores = if left == 0 { None } else { Some(all_but(left)?) };
        let mut builder = Builder::new_multi_thread();
        if let Some(cores) = &cores {
            builder.worker_threads(cores.count());
        }
        builder.thread_name(name).on_thread_start(move || give_way(cores)).enable_all();
        Ok(Self(Some(builder.build()?)))
    }

    /// Where its tasks are spawned.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the runtime is taken by drop alone")]
    pub fn handle(&self) -> &Handle {
        self.0.as_ref().expect("a runtime until it is dropped").handle()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // In the midst of another runtime its threads cannot be waited for.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn all_but(left: usize) -> io::Result<Cores> {
    let all = Cores::of_this_thread()?;
    all.but_first(left).ok_or_else(|| {
        let most = all.count() - 1;
        let text = format!("expected at most {most} cores that are left to requests, found {left}");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

/// The work is worth more than its priority: where it cannot be lowered, it stays as it is.
fn give_way(cores: Option<Cores>) {
    let given = Priority::Background.take();
    if let Err(error) = given.and_then(|()| cores.map_or(Ok(()), |cores| cores.take())) {
        tracing::debug!(%error, "the priority of a background thread stays as it is");
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
    fn what_runs_in_the_background_and_what_it_starts_gives_way() {
        let background = Background::start("background", 0).expect("threads");
        let usual = niceness();
        let (task, blocking, started) = background
            .handle()
            .block_on(background.handle().spawn(async {
                let blocking = tokio::task::spawn_blocking(|| {
                    (niceness(), std::thread::spawn(niceness).join().expect("a number"))
                });
                let (blocking, started) = blocking.await.expect("numbers");
                (niceness(), blocking, started)
            }))
            .expect("the task ends");
        assert_eq!([task, blocking, started], [usual.max(Priority::Background.niceness()); 3]);
        assert_eq!(niceness(), usual, "others keep what they have");
    }

    #[test]
    fn a_core_is_always_left_for_the_background_and_so_many_for_others() {
        let all = Cores::of_this_thread().expect("the cores").count();
        let refused = Background::start("background", all).expect_err("nothing would be left");
        assert!(refused.to_string().contains(&format!("at most {}", all - 1)), "{refused}");
        let kept_to = |left| {
            let background = Background::start("background", left).expect("threads");
            let told = background.handle().spawn(async { Cores::kept_to().expect("the cores") });
            background.handle().block_on(told).expect("no panic").map(|cores| cores.count())
        };
        assert_eq!(kept_to(0), None);
        if all > 1 {
            assert_eq!(kept_to(1), Some(all - 1));
        }
    }
}
