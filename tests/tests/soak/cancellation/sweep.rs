//! Dropping a call at each of its await points, and looking at what is left.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use cameo_domain::Key;
use cameo_store::{
    ConnectOptions, Store,
    lookup::{self, ServedGeneration, Value},
    runs::{self, ClaimedRun, Progress},
};
use cameo_tests::eventually;
use sqlx::PgConnection;
use tokio::sync::Notify;

use crate::ground::{Ground, LEASE_SECONDS, score};

/// The name under which Postgres shows the connections of what is dropped.
const SWEPT: &str = "cameo-swept";
/// A call that is not over after so many awaits goes round in circles.
const POLLS_MAX: usize = 2_000;
/// How long a call that waits is waited for: longer than anything here takes.
const WAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A customer whom everybody looks up.
const CUSTOMER: i64 = 7;

/// The calls that were dropped everywhere.
pub(crate) struct Sweep {
    /// One connection of each kind: what a dropped call leaves on it meets the next user for certain.
    pub(crate) store: Store,
    watch: PgConnection,
    held: ClaimedRun,
    served: ServedGeneration,
    /// How often each was dropped.
    pub(crate) dropped: BTreeMap<String, u64>,
    looks: u64,
}

impl Sweep {
    pub(crate) async fn start(ground: &Ground) -> Self {
        ground.tenant("watched", 1).await;
        let path = ground.service("watched/probe").await;
        ground.published(&path, 2 * CUSTOMER).await;
        let held = ground.claimed(&path).await;
        let served = lookup::current(ground.store(), Some(&path.tenant)).await.expect("an answer");
        let store = Store::connect(&options(ground)).await.expect("Postgres answers");
        let watch = ground.world.connection().await;
        let served = served.into_iter().next().expect("a generation");
        Self { store, watch, held, served, dropped: BTreeMap::new(), looks: 0 }
    }

    /// Drops a call after one await, after two, and so on, until it ends before; gives its answer.
    pub(crate) async fn call<T>(
        &mut self,
        name: &str,
        mut make: impl AsyncFnMut(&Store) -> T,
    ) -> T {
        self.prepared(name, async || (), async |store, ()| make(store).await).await
    }

    /// [`Sweep::call`] of something that needs the ground prepared before each time.
    pub(crate) async fn prepared<P, T>(
        &mut self,
        name: &str,
        mut prepare: impl AsyncFnMut() -> P,
        mut make: impl AsyncFnMut(&Store, P) -> T,
    ) -> T {
        // What is over at its first poll has no await to be dropped at.
        self.dropped.entry(name.to_owned()).or_default();
        for polls in 1..POLLS_MAX {
            let (prepared, store) = (prepare().await, self.store.clone());
            let answer = dropped_after(polls, make(&store, prepared)).await;
            self.look(name, polls).await;
            if let Some(answer) = answer {
                return answer;
            }
            *self.dropped.entry(name.to_owned()).or_default() += 1;
        }
        panic!("{name} is not over after {POLLS_MAX} awaits");
    }

    /// [`Sweep::call`] of something that waits for ever.
    pub(crate) async fn endless<T>(
        &mut self,
        name: &str,
        polls_max: usize,
        mut make: impl AsyncFnMut(&Store) -> T,
    ) {
        for polls in 1..=polls_max {
            let store = self.store.clone();
            {
                let mut future = pin!(make(&store));
                for _ in 0..polls {
                    let woken = Arc::new(Woken::default());
                    let waker = Waker::from(Arc::clone(&woken));
                    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                    assert!(polled.is_pending(), "{name} ends");
                    let _ =
                        tokio::time::timeout(Duration::from_millis(20), woken.0.notified()).await;
                }
            }
            self.look(name, polls).await;
            *self.dropped.entry(name.to_owned()).or_default() += 1;
        }
    }

    /// Waits until Postgres has ended the statements of those who are gone: the next call is not to meet them.
    async fn settled(&mut self) {
        let busy = "select count(*) from pg_stat_activity
                    where application_name = $1 and state = 'active' and pid <> pg_backend_pid()";
        for _ in 0..500 {
            let busy: i64 = sqlx::query_scalar(busy)
                .bind(SWEPT)
                .fetch_one(&mut self.watch)
                .await
                .expect("Postgres answers");
            if busy == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether the next user of each connection is well served, and nothing is held by nobody.
    async fn look(&mut self, name: &str, polls: usize) {
        self.settled().await;
        self.looks += 1;
        let Self { store, watch, held, served, looks, .. } = self;
        let what = format!("after {name} was dropped at its await {polls}");
        let progress = Progress { rows_read: *looks, ..Progress::default() };
        runs::heartbeat(store, held.run, held.epoch, LEASE_SECONDS, &progress)
            .await
            .unwrap_or_else(|error| panic!("a write {what}: {error}"));
        let found = runs::find(store, &held.path.tenant, held.run).await;
        let found = found.unwrap_or_else(|error| panic!("a read {what}: {error}"));
        let read = found.and_then(|run| run.progress).map(|progress| progress.rows_read);
        assert_eq!(read, Some(*looks), "what was read {what}");
        let found = lookup::one(store, served, &Key::Int(CUSTOMER)).await;
        let found = found.unwrap_or_else(|error| panic!("a look-up {what}: {error}"));
        let values = found.map(|prediction| prediction.values);
        assert_eq!(values, Some(vec![Value::Float(score(CUSTOMER))]), "what was looked up {what}");
        let written: i64 = sqlx::query_scalar(
            "select (progress ->> 'rows_read')::bigint from cameo.runs where run = $1",
        )
        .bind(held.run.0)
        .fetch_one(&mut *watch)
        .await
        .expect("an answer");
        assert_eq!(written.unsigned_abs(), *looks, "what was written {what}");
        // Work that goes on without its caller ends, whether or not it is done; then no transaction is open, and no
        // lock is held.
        eventually(&format!("{what} every connection rests"), async || {
            let busy: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity a
                 where a.application_name = $1
                   and (a.state <> 'idle' or exists (select from pg_locks l where l.pid = a.pid))",
            )
            .bind(SWEPT)
            .fetch_one(&mut *watch)
            .await
            .expect("an answer");
            (busy == 0).then_some(())
        })
        .await;
    }

    /// How often each call was dropped.
    pub(crate) async fn end(self) -> BTreeMap<String, u64> {
        self.store.close().await;
        self.dropped
    }
}

/// Where and as who everything is dropped.
pub(crate) fn options(ground: &Ground) -> ConnectOptions {
    ConnectOptions::from_url(&ground.world.place.database_url)
        .expect("a URL")
        .application_name(SWEPT)
        .control_connections(1)
        .lookup_connections(1)
}

/// Tells that a future wants to be polled again.
#[derive(Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Polls a future this many times, each time when it wants to be, and drops it where it then stands.
async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    for poll in 1..=polls {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(answer);
        }
        if poll < polls {
            let waked = tokio::time::timeout(WAKE_TIMEOUT, woken.0.notified()).await;
            assert!(waked.is_ok(), "nothing wakes the call at its await {poll}");
        }
    }
    None
}
