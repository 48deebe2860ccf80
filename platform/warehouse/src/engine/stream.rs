//! A query's rows as bounded streams.
//!
//! The query runs on a thread of its own and waits when nobody takes its batches, so memory stays
//! bounded however large the result is.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
};

use arrow::record_batch::RecordBatch;
use cameo_priority::Priority;
use futures_util::{Stream, future::select_all};
use tokio::{
    runtime::Handle,
    sync::{
        mpsc::{Receiver, Sender, channel},
        oneshot,
    },
};

use super::{Cancel, CancelOnDrop, Engine};
use crate::{
    BatchStream, ReadOptions, ReadOutcome, WarehouseError, batches::Shaper, error::from_duckdb,
};

/// Batches that wait in each stream.
const BATCHES_WAITING_MAX: usize = 2;
/// Most streams of one query.
const PARTITIONS_MAX: usize = 256;

type Item = Result<RecordBatch, WarehouseError>;

struct Partition {
    receiver: Receiver<Item>,
    _cancel: Arc<CancelOnDrop>,
}

impl Stream for Partition {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        self.receiver.poll_recv(context)
    }
}

/// Runs the query that `prepare` gives on the engine that it opens and lets watch.
///
/// `prepare` runs on the query's thread as well. Returns when the first rows are on their way.
pub(crate) async fn stream<F>(
    prepare: F,
    options: ReadOptions,
) -> Result<ReadOutcome, WarehouseError>
where
    F: FnOnce(&Cancel) -> Result<(Engine, String), WarehouseError> + Send + 'static,
{
    let partitions = options.partitions.clamp(1, PARTITIONS_MAX);
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..partitions).map(|_| channel(BATCHES_WAITING_MAX)).unzip();
    // Held by this future until the streams hold it: dropping the future cancels as well.
    let (cancel, guard) = Cancel::new();
    let guard = Arc::new(guard);
    let (started, start) = oneshot::channel();
    let runtime = Handle::current();
    let query = move || {
        let _entered = runtime.enter();
        // A query may go on without an end, and its engine's threads are as many as there are cores. Where the
        // priority cannot be lowered it stays as it is.
        let _ = Priority::Query.take();
        produce(prepare, options, &cancel, senders, started);
    };
    // A thread of its own: one of the runtime's would keep the priority for whatever it does next.
    thread::Builder::new()
        .name("cameo-query".to_owned())
        .spawn(query)
        .map_err(|error| WarehouseError::Transient(format!("no thread for a query: {error}")))?;
    let schema = start
        .await
        .map_err(|_| WarehouseError::Transient("the query's thread ended early".to_owned()))??;
    let partitions = receivers.into_iter().map(|receiver| {
        Box::pin(Partition { receiver, _cancel: Arc::clone(&guard) }) as BatchStream
    });
    Ok(ReadOutcome { schema, partitions: partitions.collect() })
}

type Started = oneshot::Sender<Result<arrow::datatypes::SchemaRef, WarehouseError>>;

fn produce<F>(
    prepare: F,
    options: ReadOptions,
    cancel: &Cancel,
    senders: Vec<Sender<Item>>,
    started: Started,
) where
    F: FnOnce(&Cancel) -> Result<(Engine, String), WarehouseError>,
{
    let mut started = Some(started);
    let mut deal = Deal { senders, next: 0, runtime: Handle::current() };
    let outcome = run(prepare, options, cancel, &mut started, &mut deal);
    cancel.ended();
    if let Err(error) = outcome {
        match started.take() {
            Some(started) => drop(started.send(Err(error))),
            // Nobody left to tell is no fault.
            None => drop(deal.send(Err(error))),
        }
    }
}

fn run<F>(
    prepare: F,
    options: ReadOptions,
    cancel: &Cancel,
    started: &mut Option<Started>,
    deal: &mut Deal,
) -> Result<(), WarehouseError>
where
    F: FnOnce(&Cancel) -> Result<(Engine, String), WarehouseError>,
{
    let (engine, sql) = prepare(cancel)?;
    let mut statement = engine.connection().prepare(&sql).map_err(|error| from_duckdb(&error))?;
    drop(statement.stream_arrow([]).map_err(|error| from_duckdb(&error))?);
    let mut shaper = Shaper::new(&statement.schema(), options.batch_rows);
    if let Some(started) = started.take() {
        drop(started.send(Ok(shaper.schema())));
    }
    // `step` rather than the iterator of `stream_arrow`, which panics when a chunk fails.
    while let Some(chunk) = statement.step().map_err(|error| from_duckdb(&error))? {
        shaper.push(RecordBatch::from(&chunk))?;
        while let Some(batch) = shaper.next() {
            if !deal.send(Ok(batch?)) {
                return Ok(());
            }
        }
    }
    shaper.finish()?;
    while let Some(batch) = shaper.next() {
        if !deal.send(Ok(batch?)) {
            return Ok(());
        }
    }
    Ok(())
}

/// Deals batches to the streams: each to the next one that has room, so that a stream that nobody
/// reads at the moment holds up none of the others.
struct Deal {
    senders: Vec<Sender<Item>>,
    next: usize,
    runtime: Handle,
}

impl Deal {
    /// Waits for room. `false` when nobody listens any more.
    fn send(&mut self, item: Item) -> bool {
        loop {
            self.senders.retain(|sender| !sender.is_closed());
            if self.senders.is_empty() {
                return false;
            }
            self.next = (self.next + 1) % self.senders.len();
            let (before, after) = self.senders.split_at(self.next);
            // In turn, so that equally fast readers get equally much.
            let in_turn = after.iter().chain(before);
            let room = select_all(in_turn.map(|sender| Box::pin(sender.reserve())));
            if let (Ok(room), _, _) = self.runtime.block_on(room) {
                room.send(item);
                return true;
            }
        }
    }
}
