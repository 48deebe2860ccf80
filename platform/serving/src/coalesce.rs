//! Many single look-ups, one query.
//!
//! A worker that has its turn takes what is queued, and what requests that are ready to be read put there: alone, a
//! look-up waits for nothing; under load, one round trip answers hundreds. Measured against one query per look-up on
//! a pool, that is 2.7 times the requests per second, and the more the fewer queries run at once: the longer a
//! queue waits, the more of it one query answers. So a query keeps the next one waiting, unless it is slow. The queue is
//! bounded, so overload is refused here and not discovered in the pool. Queries run in the workers' own tasks and are
//! never cut off by a caller that goes away.

use std::{collections::HashMap, ops::RangeInclusive, pin::pin, sync::Arc, time::Duration};

use cameo_domain::{GenerationId, Key};
use cameo_store::{Store, StoreError, lookup::Reader};
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::yield_now,
    time::timeout,
};

use crate::{current::Current, error::LookupError, render::Values};

/// Most look-ups that wait.
pub(crate) const QUEUE_MAX: usize = 4_096;
/// Most look-ups of one query.
const BATCH_MAX: usize = 512;
/// Fewest and most queries that run at once: one per core, but never one alone, which a slow query would hold.
const WORKERS: RangeInclusive<usize> = 2..=8;
/// Of the workers, so many have a turn at once: the other half of the cores answers.
const WORKERS_PER_TURN: usize = 2;
/// A query that takes longer gives its turn to another one.
const TURN: Duration = Duration::from_millis(3);

type Answer = Result<Option<Values>, Arc<StoreError>>;

struct Lookup {
    current: Arc<Current>,
    key: Key,
    reply: oneshot::Sender<Answer>,
}

/// The queue and its workers; they end when it is dropped.
pub(crate) struct Coalescer {
    queue: mpsc::Sender<Lookup>,
}

impl Coalescer {
    /// Starts the workers; must be called within a Tokio runtime.
    pub(crate) fn start(store: &Store) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        let cores = std::thread::available_parallelism().map_or(*WORKERS.start(), usize::from);
        let workers = cores.clamp(*WORKERS.start(), *WORKERS.end());
        let turns = Arc::new(Semaphore::new(workers / WORKERS_PER_TURN));
        for _ in 0..workers {
            tokio::spawn(work(Reader::new(store.clone()), waiting.clone(), turns.clone()));
        }
        Self { queue }
    }

    /// What `current` says about `key`.
    pub(crate) async fn find(
        &self,
        current: &Arc<Current>,
        key: Key,
    ) -> Result<Answer, LookupError> {
        let (reply, answer) = oneshot::channel();
        let lookup = Lookup { current: current.clone(), key, reply };
        self.queue.try_send(lookup).map_err(|_| LookupError::Overloaded { limit: QUEUE_MAX })?;
        answer.await.map_err(|_| LookupError::Overloaded { limit: QUEUE_MAX })
    }
}

async fn work(
    mut reader: Reader,
    waiting: Arc<Mutex<mpsc::Receiver<Lookup>>>,
    turns: Arc<Semaphore>,
) {
    let mut lookups = Vec::with_capacity(BATCH_MAX);
    loop {
        // Nobody closes it.
        let Ok(turn) = turns.clone().acquire_owned().await else { return };
        // The lock is held while waiting: one worker waits, the others are busy or next.
        let mut queue = waiting.lock().await;
        let Some(first) = queue.recv().await else { return };
        lookups.push(first);
        // Connections that are ready by now ask before the query is sent, and it answers them as well.
        yield_now().await;
        while lookups.len() < BATCH_MAX
            && let Ok(next) = queue.try_recv()
        {
            lookups.push(next);
        }
        drop(queue);
        let answered = pin!(answer_all(&mut reader, &mut lookups));
        within(turn, answered).await;
    }
}

/// Waits for `work`, and from [`TURN`] on without the turn.
async fn within(turn: OwnedSemaphorePermit, mut work: impl Future<Output = ()> + Unpin) {
    if timeout(TURN, &mut work).await.is_err() {
        drop(turn);
        work.await;
    }
}

async fn answer_all(reader: &mut Reader, lookups: &mut Vec<Lookup>) {
    let mut groups: HashMap<GenerationId, Vec<Lookup>> = HashMap::new();
    for lookup in lookups.drain(..) {
        // Whoever went away in the meantime needs no answer.
        if !lookup.reply.is_closed() {
            groups.entry(lookup.current.served.generation).or_default().push(lookup);
        }
    }
    for mut group in groups.into_values() {
        // A service that ranks gives many rows per key: its queries take fewer keys at once.
        let keys_max = group.first().map_or(BATCH_MAX, |first| first.current.served.keys_max());
        while group.len() > keys_max {
            let rest = group.split_off(keys_max);
            answer(reader, std::mem::replace(&mut group, rest)).await;
        }
        answer(reader, group).await;
    }
}

async fn answer(reader: &mut Reader, group: Vec<Lookup>) {
    let Some(first) = group.first() else { return };
    let current = first.current.clone();
    if group.len() == 1 {
        for lookup in group {
            let found = reader.one(&current.served, &lookup.key).await;
            let found = found.map(|found| found.map(|found| found.values)).map_err(Arc::new);
            let _gone = lookup.reply.send(found);
        }
        return;
    }
    let (keys, replies): (Vec<Key>, Vec<_>) =
        group.into_iter().map(|lookup| (lookup.key, lookup.reply)).unzip();
    match reader.many(&current.served, &keys).await {
        Ok(found) => {
            for (found, reply) in found.into_iter().zip(replies) {
                let _gone = reply.send(Ok(found.map(|found| found.values)));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for reply in replies {
                let _gone = reply.send(Err(error.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_query_keeps_its_turn_unless_it_is_slow() {
        let turns = Arc::new(Semaphore::new(1));
        let turn = || turns.clone().try_acquire_owned();
        within(turn().expect("a turn"), pin!(async { assert!(turn().is_err()) })).await;
        let slow = turn().expect("given back");
        let (end, ended) = oneshot::channel::<()>();
        let query = tokio::spawn(async move {
            within(slow, pin!(async { ended.await.expect("an end") })).await;
        });
        let next = turns.clone().acquire_owned().await.expect("its turn");
        assert!(!query.is_finished(), "the slow one goes on");
        end.send(()).expect("it waits");
        query.await.expect("no panic");
        drop(next);
    }
}
