//! How long a connection waited for its turn.
//!
//! A look-up takes microseconds and does not wait in between, so under overload the number of requests in
//! flight stays small: they queue before that, as connections that are ready to be read but not yet looked at. What
//! tells the length of that queue is the time from waking a connection's task to running it.

use std::{
    cell::Cell,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_util::task::AtomicWaker;

use super::now;

thread_local! {
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// How long the connection that is being served by this thread waited for that; zero without one.
pub(crate) fn waited() -> Duration {
    WAITED.get()
}

/// A connection whose waiting is timed.
pub(crate) struct Timed<F> {
    connection: Pin<Box<F>>,
    wakes: Arc<Wakes>,
    waker: Waker,
}

impl<F> Timed<F> {
    pub(crate) fn new(connection: F) -> Self {
        let wakes = Arc::new(Wakes { woken_at: AtomicU64::new(now()), task: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&wakes));
        Self { connection: Box::pin(connection), wakes, waker }
    }
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.wakes.task.register(context.waker());
        let woken_at = this.wakes.woken_at.swap(0, Ordering::AcqRel);
        let waited = if woken_at == 0 { 0 } else { now().saturating_sub(woken_at) };
        WAITED.set(Duration::from_nanos(waited));
        let polled = this.connection.as_mut().poll(&mut Context::from_waker(&this.waker));
        WAITED.set(Duration::ZERO);
        polled
    }
}

/// Notes the first wake since the task ran, and passes all of them on.
struct Wakes {
    /// Zero while nobody woke it.
    woken_at: AtomicU64,
    task: AtomicWaker,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Only the first wake counts; the clock is not asked for the others.
        if self.woken_at.load(Ordering::Relaxed) == 0 {
            let _earlier =
                self.woken_at.compare_exchange(0, now(), Ordering::AcqRel, Ordering::Relaxed);
        }
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_time_between_wake_and_turn_is_told_inside_and_only_there() {
        let (ring, rung) = tokio::sync::oneshot::channel::<()>();
        let connection = Timed::new(async move {
            rung.await.expect("rung");
            waited()
        });
        let served = tokio::spawn(connection);
        tokio::task::yield_now().await;
        ring.send(()).expect("it waits");
        // The one thread of this test is busy while the connection is ready.
        std::thread::sleep(Duration::from_millis(20));
        let waited_for = served.await.expect("no panic");
        assert!(waited_for >= Duration::from_millis(20), "{waited_for:?}");
        assert_eq!(waited(), Duration::ZERO);
    }
}
