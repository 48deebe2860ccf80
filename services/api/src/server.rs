//! Connections: accept, serve, cut the slow ones, drain at the end.
//!
//! HTTP/1.1 only, on purpose: hyper-util's automatic builder waits without a limit for a client that
//! sends a part of the HTTP/2 preface, and what terminates TLS in front of the API speaks HTTP/1.1
//! to it. hyper's limit on reading a head does nothing without a timer; here it has one, and it
//! bounds idle connections as well.

use std::{sync::Arc, time::Duration};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, net::TcpStream, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tower::Layer;

use crate::{
    acting::Peer,
    addresses::Addresses,
    app::App,
    config::Config,
    limits::queue::Timed,
    metrics::{Cut, Metrics},
    progress::Progress,
};

/// Longest head that is read, in bytes; also the read buffer of a connection.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// How long to wait between two connections while requests are shed: whoever connects anew for each request is
/// slowed down like those that do not.
const ACCEPT_PAUSE_SHEDDING: Duration = Duration::from_millis(1);
/// How long to wait after the system could not accept a connection, which mostly means that no
/// file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `shutdown`; then drains, at most for the configured time.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    app: &App,
    shutdown: CancellationToken,
) {
    let config = &app.config;
    let connections = Arc::new(Semaphore::new(config.connections_max));
    let graceful = GracefulShutdown::new();
    let addresses = Addresses::new(config.connections_per_address_max);
    let builder = builder(config);
    let draining = drained(app, &shutdown);
    tokio::pin!(draining);
    loop {
        // A place first: connections over the limit wait in the system's queue.
        let place = tokio::select! {
            biased;
            () = &mut draining => break,
            place = connections.clone().acquire_owned() => place,
        };
        let (stream, peer) = tokio::select! {
            biased;
            () = &mut draining => break,
            accepted = accept(&listener) => accepted,
        };
        if app.limits.is_shedding() {
            tokio::time::sleep(ACCEPT_PAUSE_SHEDDING).await;
        }
        let Some(of_address) = addresses.enter(peer.0) else {
            app.metrics.cut(Cut::Address);
            continue;
        };
        let router = Extension(peer).layer(router.clone());
        let stream = TokioIo::new(Progress::new(stream, config.write_timeout));
        let connection = builder.serve_connection(stream, TowerToHyperService::new(router));
        let connection = Timed::new(graceful.watch(connection));
        let metrics = app.metrics.clone();
        tokio::spawn(async move {
            metrics.connections.inc();
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended early");
                note_cut(&metrics, &error);
            }
            metrics.connections.dec();
            drop((place, of_address));
        });
    }
    drop(listener);
    let open = graceful.count();
    if tokio::time::timeout(config.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!(open, "cut the connections that did not drain in time");
    }
}

/// Resolves when new connections are no longer wanted: first `/readyz` fails, then load balancers
/// get the time to notice while requests are still answered.
async fn drained(app: &App, shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    app.start_draining();
    tokio::time::sleep(app.config.drain_notice).await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, Peer) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Answers are one write; waiting for more to send only adds latency.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot switch off Nagle's algorithm");
                }
                return (stream, Peer(address.ip().to_canonical()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Counts a connection that the server cut, not one that its client left.
fn note_cut(metrics: &Metrics, error: &hyper::Error) {
    let source = std::error::Error::source(error);
    let io = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    if io.is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut) {
        metrics.cut(Cut::SlowReader);
    } else if error.is_timeout() {
        metrics.cut(Cut::SlowHead);
    }
}

fn builder(config: &Config) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Not `max_headers`: hyper's own limit of 100 costs nothing, and another one copies 10 KB for each request.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .pipeline_flush(true);
    builder
}
