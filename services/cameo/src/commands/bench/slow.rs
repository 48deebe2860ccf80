//! What thousands of slow connections do to everybody else.

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};

use super::{
    load::{Pace, Tally},
    serving::Serving,
};
use crate::{
    cli::BenchSlow,
    output::{Output, grouped, table},
};

/// The load of the others, as a share of the peak.
const LOAD: f64 = 0.25;
/// How long the peak is looked for.
const PEAK: Duration = Duration::from_secs(5);
/// How often a slow client sends a byte.
const BYTE_INTERVAL: Duration = Duration::from_secs(1);
/// Over which time they come, as those who know nothing of one another do: all at once they would also be cut, and ask
/// for their batches again, all at once.
const ARRIVING: Duration = Duration::from_secs(15);
/// How much longer it is waited until most of them are open.
const OPENING_MAX: Duration = Duration::from_secs(10);
/// Keys of a batch whose answer fills a connection's buffers when nobody reads it.
const BATCH_KEYS: usize = 5_000;
/// Bytes that the system takes for a client that does not read: few, so that one small batch is enough.
const RECEIVE_BUFFER: u32 = 4 << 10;

#[derive(Debug, Serialize)]
struct Measured {
    slow_connections: usize,
    /// Of them, open at the end of the measurement; each was opened again as soon as it was cut.
    open: usize,
    cut: u64,
    alone: Row,
    beside: Row,
}

#[derive(Debug, Serialize)]
struct Row {
    served_per_second: f64,
    refused: u64,
    failed: u64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Row {
    fn new(tally: &Tally) -> Self {
        Self {
            served_per_second: tally.served_per_second(),
            refused: tally.refused.len(),
            failed: tally.failed,
            p50_ms: tally.served_ms(0.5),
            p99_ms: tally.served_ms(0.99),
        }
    }

    fn cells(&self, what: String) -> Vec<String> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
        let rate = grouped(self.served_per_second.round() as u64);
        vec![
            what,
            rate,
            self.refused.to_string(),
            self.failed.to_string(),
            format!("{:.2}", self.p50_ms),
            format!("{:.2}", self.p99_ms),
        ]
    }
}

/// The ways of being slow.
#[derive(Debug, Clone, Copy)]
enum Slowness {
    /// A head that never ends.
    Head,
    /// A body that never ends.
    Body,
    /// Answers that nobody reads.
    Reader,
}

pub(super) async fn run(wanted: BenchSlow, output: Output) -> anyhow::Result<ExitCode> {
    let serving = Serving::start(&wanted.bundle, wanted.rows, output).await?;
    let measured = measure(&serving, &wanted, output).await;
    serving.stop().await?;
    output.show(&measured?, |measured| {
        let beside = format!("beside {} slow connections", measured.slow_connections);
        let rows = table(
            &["look-ups", "served/s", "refused", "failed", "p50 ms", "p99 ms"],
            [measured.alone.cells("alone".to_owned()), measured.beside.cells(beside)],
        );
        format!("{rows}\n{} slow connections open at the end, {} cut", measured.open, measured.cut)
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(
    serving: &Serving,
    wanted: &BenchSlow,
    output: Output,
) -> anyhow::Result<Measured> {
    let others = serving.look_ups(wanted.connections);
    let peak = others.run(Pace::Closed, PEAK).await?;
    let pace = Pace::Open(peak.served_per_second() * LOAD);
    let duration = Duration::from_secs(wanted.seconds);
    output.line("alone: a quarter of the peak");
    let alone = others.run(pace, duration).await?;

    output.line("beside slow connections");
    let (open, cut) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
    // On threads of their own: what they cost themselves is none of the server's.
    let clients =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let apart = ARRIVING.div_f64(wanted.slow.max(1) as f64);
    for at in 0..wanted.slow {
        let slowness = [Slowness::Head, Slowness::Body, Slowness::Reader][at % 3];
        let request = request(serving, slowness);
        let stay = stay(serving.address, request, Arc::clone(&open), Arc::clone(&cut));
        let comes_after = apart.mul_f64(at as f64);
        clients.spawn(async move {
            tokio::time::sleep(comes_after).await;
            stay.await;
        });
    }
    let settled = tokio::time::Instant::now() + ARRIVING + OPENING_MAX;
    // Some are always between two connections.
    let enough = wanted.slow * 19 / 20;
    while open.load(Ordering::Relaxed) < enough && tokio::time::Instant::now() < settled {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let beside = others.run(pace, duration).await?;
    let still_open = open.load(Ordering::Relaxed);
    clients.shutdown_background();
    Ok(Measured {
        slow_connections: wanted.slow,
        open: still_open,
        cut: cut.load(Ordering::Relaxed),
        alone: Row::new(&alone),
        beside: Row::new(&beside),
    })
}

/// What a slow client sends at once; what would follow it sends byte by byte.
fn request(serving: &Serving, slowness: Slowness) -> Vec<u8> {
    let path = serving.predictions();
    let key = serving.key();
    let head = |length: usize| {
        format!(
            "POST {path}:batchGet HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    match slowness {
        Slowness::Head => format!("GET {path}/1 HTTP/1.1\r\nHost: bench\r\nX-Slow: ").into_bytes(),
        Slowness::Body => (head(100_000) + "{\"keys\": [").into_bytes(),
        Slowness::Reader => {
            let keys: Vec<String> = (1..=BATCH_KEYS).map(|key| key.to_string()).collect();
            let body = format!("{{\"keys\":[{}]}}", keys.join(","));
            (head(body.len()) + &body).into_bytes()
        }
    }
}

/// Opens a slow connection whenever there is none.
async fn stay(address: SocketAddr, request: Vec<u8>, open: Arc<AtomicUsize>, cut: Arc<AtomicU64>) {
    loop {
        if let Ok(mut stream) = connect(address).await {
            open.fetch_add(1, Ordering::Relaxed);
            trickle(&mut stream, &request).await;
            open.fetch_sub(1, Ordering::Relaxed);
            cut.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.connect(address).await
}

/// Sends the request and then a byte now and then, until the server has enough of it.
async fn trickle(stream: &mut TcpStream, request: &[u8]) {
    if stream.write_all(request).await.is_err() {
        return;
    }
    let mut peeked = [0; 1];
    loop {
        tokio::time::sleep(BYTE_INTERVAL).await;
        if stream.write_all(b"1").await.is_err() {
            return;
        }
        // Looking at what came takes nothing from the connection: the answer stays unread.
        let looked = tokio::time::timeout(Duration::from_millis(1), stream.peek(&mut peeked)).await;
        if matches!(looked, Ok(Ok(0) | Err(_))) {
            return;
        }
    }
}
