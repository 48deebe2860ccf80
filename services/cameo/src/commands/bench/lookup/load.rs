//! The load: requests over kept connections, on a thread of its own, as cheaply as they can be sent.

use std::{
    collections::BTreeMap,
    io::Write,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::super::http::Connection;

/// Longest latency that is told apart, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// Before a client asks again that was not answered with 200.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);
/// In how many parts what is observed can be told apart.
pub(super) const PHASES: usize = 3;

/// What is asked.
#[derive(Clone)]
pub(super) enum Requests {
    /// `head`, a key between 1 and `keys`, `tail`: every key is as likely as any other.
    OneKey { head: String, tail: String, keys: u64 },
    /// One of these, rendered before the clock runs.
    Rendered(Arc<Vec<Vec<u8>>>),
}

/// How it is asked.
#[derive(Clone)]
pub(super) struct Load {
    pub(super) address: SocketAddr,
    pub(super) requests: Requests,
    pub(super) connections: usize,
    /// Requests per second over all connections; without it, each asks as soon as it has its answer.
    pub(super) rate: Option<f64>,
}

/// What others may change while the load runs.
#[derive(Clone, Default)]
pub(super) struct Control {
    phase: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Control {
    /// From now on the next phase is measured.
    pub(super) fn next_phase(&self) {
        self.phase.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What was observed in one phase.
#[derive(Clone)]
pub(super) struct Observed {
    /// In microseconds, of the requests that were answered with 200.
    pub(super) latencies: Histogram<u64>,
    /// Requests that were not, by what was answered.
    pub(super) failed: BTreeMap<String, u64>,
}

impl Observed {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latencies: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?,
            failed: BTreeMap::new(),
        })
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latencies.add(&other.latencies)?;
        for (answer, count) in &other.failed {
            *self.failed.entry(answer.clone()).or_default() += count;
        }
        Ok(())
    }

    pub(super) fn ms(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

/// Runs the load for a time and gives what was observed, with the requests per second.
pub(super) async fn run_for(load: &Load, seconds: u64) -> anyhow::Result<(Observed, f64)> {
    let control = Control::default();
    let running = start(load, &control);
    let started = Instant::now();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    control.stop();
    let [observed, ..] = running.await??;
    let rate = observed.latencies.len() as f64 / started.elapsed().as_secs_f64();
    Ok((observed, rate))
}

/// Starts the load on a thread of its own, so that it shares no queue of tasks with what it loads. It gives what
/// was observed in each phase.
pub(super) fn start(
    load: &Load,
    control: &Control,
) -> tokio::task::JoinHandle<anyhow::Result<[Observed; PHASES]>> {
    let (load, control) = (load.clone(), control.clone());
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(all_clients(load, control))
    })
}

fn phases() -> anyhow::Result<[Observed; PHASES]> {
    Ok([Observed::new()?, Observed::new()?, Observed::new()?])
}

async fn all_clients(load: Load, control: Control) -> anyhow::Result<[Observed; PHASES]> {
    let mut clients = JoinSet::new();
    for client in 0..load.connections {
        clients.spawn(one_client(load.clone(), control.clone(), client));
    }
    let mut all = phases()?;
    while let Some(client) = clients.join_next().await {
        for (all, one) in all.iter_mut().zip(client??) {
            all.add(&one)?;
        }
    }
    Ok(all)
}

async fn one_client(
    load: Load,
    control: Control,
    client: usize,
) -> anyhow::Result<[Observed; PHASES]> {
    let mut observed = phases()?;
    let mut connection = Connection::open(load.address).await?;
    // Keys of its own: clients that followed each other through the same ones would find them in the caches.
    let mut draw = Rng::with_seed(client as u64);
    let mut request = Vec::with_capacity(1_024);
    let pause = load.rate.map(|rate| Duration::from_secs_f64(load.connections as f64 / rate));
    // Connections take turns.
    let turn = client as f64 / load.connections as f64;
    let mut due = Instant::now() + pause.unwrap_or_default().mul_f64(turn);
    while !control.stop.load(Ordering::Relaxed) {
        let asked = load.requests.next(&mut draw, &mut request);
        let mut since = Instant::now();
        if let Some(pause) = pause {
            if since < due {
                // The timer's own lateness is none of the server's.
                tokio::time::sleep_until(due.into()).await;
                since = Instant::now();
            } else {
                // The answer before came late: this request has waited for it.
                since = due;
            }
            due += pause;
        }
        let status = connection.ask(asked).await;
        let phase = &mut observed[control.phase.load(Ordering::Relaxed).min(PHASES - 1)];
        if let Ok(200) = status {
            let took = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
            phase.latencies.saturating_record(took.max(1));
            continue;
        }
        let answer = match &status {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        *phase.failed.entry(answer).or_default() += 1;
        tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        if status.is_err() {
            connection = Connection::open(load.address).await?;
        }
    }
    Ok(observed)
}

impl Requests {
    /// The request that is drawn next.
    fn next<'a>(&'a self, draw: &mut Rng, room: &'a mut Vec<u8>) -> &'a [u8] {
        match self {
            Self::OneKey { head, tail, keys } => {
                let key = draw.u64(1..=*keys);
                room.clear();
                room.extend_from_slice(head.as_bytes());
                let _infallible = write!(room, "{key}");
                room.extend_from_slice(tail.as_bytes());
                room
            }
            Self::Rendered(all) => &all[draw.usize(..all.len())],
        }
    }
}
