//! Hints that something changed.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use cameo_domain::ServicePath;
use futures_util::Stream;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::{Notify, mpsc};

use crate::{Store, StoreError};

/// Hints that wait for a slow reader; further ones are dropped, for it will look anyway.
const HINTS_WAITING_MAX: usize = 256;
/// Pause before a lost listener connects again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// Something may have changed. A hint can be lost: whoever follows them polls as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// The service's pointer moved.
    Publication(ServicePath),
    /// A run was queued.
    Runs,
    /// A generation waits for the mirror.
    Outbox,
    /// The connection was lost for a while: anything may have changed.
    Reconnected,
}

/// Hints as they arrive; dropping it ends the listening.
#[derive(Debug)]
pub struct Hints {
    received: mpsc::Receiver<Hint>,
}

impl Hints {
    /// The next hint; dropping the future loses none. `None` once the store is closed.
    pub async fn next(&mut self) -> Option<Hint> {
        self.received.recv().await
    }
}

impl Stream for Hints {
    type Item = Hint;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Hint>> {
        self.received.poll_recv(context)
    }
}

/// Starts listening on a connection of its own, which is renewed when it is lost.
pub async fn listen(store: &Store) -> Result<Hints, StoreError> {
    let mut listener = connect(store).await?;
    let (sender, received) = mpsc::channel(HINTS_WAITING_MAX);
    let store = store.clone();
    tokio::spawn(async move {
        loop {
            let notification = tokio::select! {
                () = sender.closed() => return,
                notification = listener.try_recv() => notification,
            };
            let hint = match notification {
                Ok(Some(notification)) => match notification.channel() {
                    "cameo_publications" => {
                        notification.payload().parse().ok().map(Hint::Publication)
                    }
                    "cameo_runs" => Some(Hint::Runs),
                    "cameo_outbox" => Some(Hint::Outbox),
                    _ => None,
                },
                Ok(None) => Some(Hint::Reconnected),
                Err(error) => {
                    tracing::debug!(%error, "the listener lost its connection");
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                    match connect(&store).await {
                        Ok(renewed) => {
                            listener = renewed;
                            Some(Hint::Reconnected)
                        }
                        Err(_) => None,
                    }
                }
            };
            if let Some(hint) = hint {
                let _ = sender.try_send(hint);
            }
        }
    });
    Ok(Hints { received })
}

/// Wakes `sleeper` whenever a hint is `wanted`, until it is dropped. A hint may be lost, so whoever
/// sleeps also looks by itself from time to time.
pub async fn wake(store: Store, wanted: fn(&Hint) -> bool, sleeper: Arc<Notify>) {
    loop {
        if let Ok(mut hints) = listen(&store).await {
            while let Some(hint) = hints.next().await {
                if wanted(&hint) {
                    sleeper.notify_one();
                }
            }
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

async fn connect(store: &Store) -> Result<PgListener, StoreError> {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(store.postgres().clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen_all(["cameo_publications", "cameo_runs", "cameo_outbox"]).await?;
    Ok(listener)
}
