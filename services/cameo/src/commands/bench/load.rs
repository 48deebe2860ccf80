//! Load on a server over HTTP, cheap enough to share the machine with what it measures.
//!
//! *Closed* load asks on every connection as soon as the answer before is there: it finds how much the
//! server can do. *Open* load asks at a rate, whatever the server does: it finds what the server does with
//! more than it can. The generator has threads and runtimes of its own, so that its turns are not
//! the server's; each thread keeps its share of the connections.

use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use fastrand::Rng;
use hdrhistogram::Histogram;
use tokio::{
    task::LocalSet,
    time::{sleep_until, timeout_at},
};

use super::http::Connection;

/// Longest latency that is told apart, in microseconds.
const LATENCY_MICROSECONDS_MAX: u64 = 60_000_000;
/// How late a request of open load may be sent, because every connection waits for an answer, before its
/// client gives up.
const PATIENCE: Duration = Duration::from_millis(10);
/// How long a client whose connection broke waits before it connects again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(10);

/// What is asked: the text before the key, the key, the text after it.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    head: String,
    tail: String,
    keys: u64,
}

impl Requests {
    /// Look-ups of keys from 1 to `keys`, each as likely as any other, below `path` (which ends before the
    /// key) with an API key.
    pub(super) fn look_ups(path: &str, api_key: &str, keys: u64) -> Self {
        Self {
            head: format!("GET {path}"),
            tail: format!(" HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {api_key}\r\n\r\n"),
            keys,
        }
    }

    /// Writes the request that is drawn next in place of what is in `request`.
    pub(super) fn write(&self, draw: &mut Rng, request: &mut Vec<u8>) {
        let key = draw.u64(1..=self.keys);
        request.clear();
        request.extend_from_slice(self.head.as_bytes());
        request.extend_from_slice(key.to_string().as_bytes());
        request.extend_from_slice(self.tail.as_bytes());
    }
}

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// The next request of a connection follows its answer.
    Closed,
    /// So many requests per second.
    Open(f64),
}

/// Load on one server.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// The server.
    pub(super) address: SocketAddr,
    /// What is asked.
    pub(super) requests: Requests,
    /// Kept connections, over all threads.
    pub(super) connections: usize,
    /// Threads of the generator.
    pub(super) threads: usize,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    /// Microseconds from sending to the complete answer, of requests that were answered 200.
    pub(super) served: Histogram<u64>,
    /// The same of requests that were answered 429 or 503.
    pub(super) refused: Histogram<u64>,
    /// Requests that were answered otherwise, or not at all.
    pub(super) failed: u64,
    /// Requests that no connection was free for.
    pub(super) given_up: u64,
    /// How long it took.
    pub(super) elapsed: Duration,
}

impl Tally {
    fn new() -> anyhow::Result<Self> {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MICROSECONDS_MAX, 3)?;
        Ok(Self {
            served: latencies.clone(),
            refused: latencies,
            failed: 0,
            given_up: 0,
            elapsed: Duration::ZERO,
        })
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.served.add(&other.served)?;
        self.refused.add(&other.refused)?;
        self.failed += other.failed;
        Ok(())
    }

    /// Counts a request by the status of its answer, if it got one.
    fn note(&mut self, status: Option<u16>, took: Duration) {
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        match status {
            Some(200) => self.served.saturating_record(microseconds),
            Some(429 | 503) => self.refused.saturating_record(microseconds),
            _ => self.failed += 1,
        }
    }

    /// Answers of 200 per second.
    pub(super) fn served_per_second(&self) -> f64 {
        self.served.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// A quantile of the latency of served requests, in milliseconds.
    pub(super) fn served_ms(&self, quantile: f64) -> f64 {
        self.served.value_at_quantile(quantile) as f64 / 1000.0
    }
}

impl Load {
    /// Asks for as long as `duration`, on threads of its own.
    pub(super) async fn run(&self, pace: Pace, duration: Duration) -> anyhow::Result<Tally> {
        let load = self.clone();
        tokio::task::spawn_blocking(move || load.on_threads(pace, duration)).await?
    }

    fn on_threads(&self, pace: Pace, duration: Duration) -> anyhow::Result<Tally> {
        let arrivals = Arc::new(Arrivals::new(pace, Instant::now(), duration));
        let threads = self.threads.clamp(1, self.connections.max(1));
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let (load, arrivals) = (self.clone(), Arc::clone(&arrivals));
                let own =
                    self.connections / threads + usize::from(thread < self.connections % threads);
                thread::Builder::new()
                    .name(format!("load-{thread}"))
                    .spawn(move || load.on_one_thread(thread, own, &arrivals))
            })
            .collect();
        let mut tally = Tally::new()?;
        for thread in running {
            let ended = thread.context("could not start a thread")?.join();
            tally.add(&ended.map_err(|_| anyhow!("a thread of the load panicked"))??)?;
        }
        tally.elapsed = duration;
        tally.given_up = arrivals.given_up.load(Ordering::Relaxed);
        Ok(tally)
    }

    fn on_one_thread(
        &self,
        thread: usize,
        connections: usize,
        arrivals: &Arc<Arrivals>,
    ) -> anyhow::Result<Tally> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tasks = LocalSet::new();
        // One for all: a histogram is larger than all else that a connection needs, and takes longer to make.
        let tally = Rc::new(RefCell::new(Tally::new()?));
        let mut clients = Vec::with_capacity(connections);
        for connection in 0..connections {
            let seed = (thread << 32 | connection) as u64;
            let (load, arrivals, tally) = (self.clone(), Arc::clone(arrivals), Rc::clone(&tally));
            clients.push(tasks.spawn_local(Client { load, arrivals, tally, seed }.run()));
        }
        let all = async {
            for client in clients {
                client.await?;
            }
            anyhow::Ok(())
        };
        let in_time = async { timeout_at(arrivals.end.into(), all).await };
        // Refusals may be held back for seconds: their clients are gone when the time is up.
        if let Ok(ended) = runtime.block_on(tasks.run_until(in_time)) {
            ended?;
        }
        Ok(tally.borrow().clone())
    }
}

/// Which request is next, and when. Shared by all connections.
struct Arrivals {
    pace: Pace,
    start: Instant,
    end: Instant,
    /// How many requests were taken up or given up.
    taken: AtomicU64,
    given_up: AtomicU64,
}

impl Arrivals {
    fn new(pace: Pace, start: Instant, duration: Duration) -> Self {
        let (taken, given_up) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { pace, start, end: start + duration, taken, given_up }
    }

    /// When the caller's next request is due; nothing when the time is up.
    fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        let Pace::Open(rate) = self.pace else {
            return (now < self.end).then_some(now);
        };
        // Those whose clients have given up by now need no connection.
        let waited = now.duration_since(self.start).saturating_sub(PATIENCE);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let gone = (waited.as_secs_f64() * rate) as u64;
        let before = self.taken.fetch_max(gone, Ordering::Relaxed);
        self.given_up.fetch_add(gone.saturating_sub(before), Ordering::Relaxed);
        let arrival = self.taken.fetch_add(1, Ordering::Relaxed);
        let due = self.start + Duration::from_secs_f64(arrival as f64 / rate);
        (due < self.end && now < self.end).then_some(due)
    }
}

/// One connection.
struct Client {
    load: Load,
    arrivals: Arc<Arrivals>,
    tally: Rc<RefCell<Tally>>,
    seed: u64,
}

impl Client {
    async fn run(self) {
        let mut draw = Rng::with_seed(self.seed);
        let mut request = Vec::new();
        let mut kept = None;
        while let Some(due) = self.arrivals.next() {
            if due > Instant::now() {
                sleep_until(due.into()).await;
            }
            self.load.requests.write(&mut draw, &mut request);
            let sent = Instant::now();
            let answer = ask(&mut kept, self.load.address, &request).await;
            self.tally.borrow_mut().note(answer.as_ref().ok().copied(), sent.elapsed());
            if answer.is_err() {
                kept = None;
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
    }
}

async fn ask(
    kept: &mut Option<Connection>,
    address: SocketAddr,
    request: &[u8],
) -> anyhow::Result<u16> {
    if kept.is_none() {
        *kept = Some(Connection::open(address).await?);
    }
    let connection = kept.as_mut().context("a connection was just made")?;
    connection.ask(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_load_gives_up_what_no_connection_was_free_for() {
        let start = Instant::now().checked_sub(Duration::from_secs(1)).expect("a second ago");
        let arrivals = Arrivals::new(Pace::Open(1_000.0), start, Duration::from_mins(1));
        let due = arrivals.next().expect("the time is not up");
        assert!(due.elapsed() <= PATIENCE * 2, "older requests are given up");
        let given_up = arrivals.given_up.load(Ordering::Relaxed);
        assert!((985..=995).contains(&given_up), "{given_up}");
        let ended = Arrivals::new(Pace::Open(1_000.0), start, Duration::from_millis(900));
        assert!(ended.next().is_none());
    }

    #[test]
    fn no_two_clients_draw_the_same_numbers() {
        let drawn = (0..64).flat_map(|client| {
            let mut draw = Rng::with_seed(client);
            (0..1_000).map(move |_| draw.u64(..))
        });
        assert_eq!(drawn.collect::<std::collections::HashSet<_>>().len(), 64_000);
    }

    #[test]
    fn keys_are_drawn_from_all_over_the_range() {
        let requests = Requests::look_ups("/p/", "k", 100);
        let (mut draw, mut request) = (Rng::with_seed(1), Vec::new());
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10_000 {
            requests.write(&mut draw, &mut request);
            let text = String::from_utf8(request.clone()).expect("text");
            let key = text.trim_start_matches("GET /p/").split(' ').next().expect("a key");
            seen.insert(key.parse::<u64>().expect("a number"));
        }
        assert_eq!((seen.first(), seen.last(), seen.len()), (Some(&1), Some(&100), 100));
    }
}
