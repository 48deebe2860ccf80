//! Keeps the server alive for as long as its owner wants it.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::PostgresError;
use super::cluster::Cluster;
use super::server::Server;

/// How soon a death is noticed.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
/// For so long deaths count.
const DEATHS_PERIOD: Duration = Duration::from_mins(10);

/// What the supervising thread tells.
#[derive(Debug, Clone, Default)]
struct Status {
    process_id: Option<u32>,
    restarts: u32,
    gave_up: Option<PostgresError>,
}

/// The handle of the thread that owns the server.
#[derive(Debug)]
pub(super) struct Supervisor {
    status: watch::Receiver<Status>,
    /// Dropped to stop the server.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Supervisor {
    /// Starts the thread and the server; returns when the server is ready.
    pub(super) fn start(cluster: Cluster, deaths_max: usize) -> Result<Self, PostgresError> {
        let (stop, stopped) = mpsc::channel();
        let (started, starting) = mpsc::channel();
        let (publisher, status) = watch::channel(Status::default());
        let data_dir = cluster.data_dir.clone();
        let thread = thread::Builder::new()
            .name("cameo-postgres".to_owned())
            .spawn(move || match Server::launch(&cluster) {
                Ok(server) => {
                    publisher.send_modify(|status| status.process_id = Some(server.process_id()));
                    let _ = started.send(Ok(()));
                    supervise(server, &cluster, deaths_max, &stopped, &publisher);
                }
                Err(failure) => {
                    let _ = started.send(Err(failure));
                }
            })
            .map_err(PostgresError::io("start a thread for", &data_dir))?;
        match starting.recv() {
            Ok(Ok(())) => Ok(Self { status, stop: Some(stop), thread: Some(thread) }),
            Ok(Err(failure)) => {
                // The lock on the data directory is let go of when the thread has ended.
                let _ = thread.join();
                Err(failure)
            }
            Err(_) => Err(PostgresError::io("start", &data_dir)(std::io::Error::other(
                "the supervising thread panicked",
            ))),
        }
    }

    pub(super) fn process_id(&self) -> Option<u32> {
        self.status.borrow().process_id
    }

    pub(super) fn restarts(&self) -> u32 {
        self.status.borrow().restarts
    }

    pub(super) async fn gave_up(&self) -> PostgresError {
        let mut status = self.status.clone();
        let failure = status.wait_for(|status| status.gave_up.is_some()).await;
        let failure = failure.ok().and_then(|status| status.gave_up.clone());
        match failure {
            Some(failure) => failure,
            // The thread ends without a failure only when it is stopped: nothing to tell, ever.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn supervise(
    mut server: Server,
    cluster: &Cluster,
    deaths_max: usize,
    stopped: &Receiver<()>,
    publisher: &watch::Sender<Status>,
) {
    let mut deaths: VecDeque<Instant> = VecDeque::new();
    loop {
        match stopped.recv_timeout(WATCH_INTERVAL) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                server.stop();
                return;
            }
        }
        let last = match server.ended() {
            Ok(None) => continue,
            Ok(Some(status)) => status.to_string(),
            Err(source) => source.to_string(),
        };
        publisher.send_modify(|status| status.process_id = None);
        warn!(ended = last, "Postgres died; it is started again");
        match restart(cluster, deaths_max, &mut deaths, last) {
            Ok(successor) => server = successor,
            Err(failure) => {
                error!(error = %failure, "Postgres is not started again");
                publisher.send_modify(|status| status.gave_up = Some(failure));
                return;
            }
        }
        info!(process_id = server.process_id(), "Postgres runs again");
        publisher.send_modify(|status| {
            status.process_id = Some(server.process_id());
            status.restarts += 1;
        });
    }
}

fn restart(
    cluster: &Cluster,
    deaths_max: usize,
    deaths: &mut VecDeque<Instant>,
    mut last: String,
) -> Result<Server, PostgresError> {
    loop {
        deaths.push_back(Instant::now());
        deaths.retain(|death| death.elapsed() < DEATHS_PERIOD);
        if deaths.len() > deaths_max {
            let minutes = DEATHS_PERIOD.as_secs() / 60;
            return Err(PostgresError::GaveUp { deaths: deaths.len(), minutes, last });
        }
        match Server::launch(cluster) {
            Ok(server) => return Ok(server),
            Err(failure) => last = failure.to_string(),
        }
        thread::sleep(WATCH_INTERVAL);
    }
}
