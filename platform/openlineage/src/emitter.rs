//! Sending events in the background.

use std::{fmt, time::Duration};

use prometheus_client::metrics::counter::Counter;
use reqwest::{Client, Url, header};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::event::RunEvent;

/// Events that wait to be sent; further ones are dropped and counted.
pub const QUEUE_EVENTS_MAX: usize = 256;
/// How often an event is sent before it is dropped.
pub const ATTEMPTS_MAX: u32 = 3;
/// How long a receiver may take to answer.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before an event is sent again; it doubles.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a stopping worker waits for the events that are left.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// Who is told.
#[derive(Clone, PartialEq, Eq)]
pub struct Receiver {
    url: Url,
    api_key: Option<String>,
    namespace: String,
}

/// A URL to which events cannot be posted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an http:// or https:// URL to post OpenLineage events to, such as \
     http://localhost:5000/api/v1/lineage, found `{0}`"
)]
pub struct ReceiverError(String);

impl Receiver {
    /// Events go to `url`, with `api_key` as bearer token where there is one; their jobs are of
    /// `namespace`.
    pub fn new(
        url: &str,
        api_key: Option<String>,
        namespace: impl Into<String>,
    ) -> Result<Self, ReceiverError> {
        let wrong = || ReceiverError(url.to_owned());
        let parsed = Url::parse(url).map_err(|_| wrong())?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong());
        }
        Ok(Self { url: parsed, api_key, namespace: namespace.into() })
    }

    /// The namespace of all jobs.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the key nor what a URL may carry of one belongs in a log.
        f.debug_struct("Receiver").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

/// What became of events.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Events that the receiver took.
    pub sent: Counter,
    /// Events that were given up.
    pub dropped: Counter,
}

/// Takes events and sends them one after the other.
#[derive(Debug, Clone)]
pub struct Emitter {
    queue: mpsc::Sender<RunEvent>,
    counters: Counters,
}

/// The task that sends; ends when the last emitter is gone and the queue is empty.
#[derive(Debug)]
pub struct Sending(JoinHandle<()>);

impl Emitter {
    /// Starts sending to `receiver`; must be called within a Tokio runtime.
    pub fn start(
        receiver: Receiver,
        counters: Counters,
    ) -> Result<(Self, Sending), reqwest::Error> {
        let client = Client::builder().timeout(TIMEOUT).connect_timeout(TIMEOUT).build()?;
        let (queue, events) = mpsc::channel(QUEUE_EVENTS_MAX);
        let sending = tokio::spawn(send_all(client, receiver, events, counters.clone()));
        Ok((Self { queue, counters }, Sending(sending)))
    }

    /// Puts an event in the queue. Never waits: where the queue is full, the event is dropped.
    pub fn emit(&self, event: RunEvent) {
        if self.queue.try_send(event).is_err() {
            self.counters.dropped.inc();
        }
    }
}

impl Sending {
    /// Waits for what is left in the queue, but not for long. All emitters must be gone.
    pub async fn flush(mut self) {
        if tokio::time::timeout(FLUSH_MAX, &mut self.0).await.is_err() {
            self.0.abort();
        }
    }
}

async fn send_all(
    client: Client,
    receiver: Receiver,
    mut events: mpsc::Receiver<RunEvent>,
    counters: Counters,
) {
    while let Some(event) = events.recv().await {
        match send(&client, &receiver, &event).await {
            Ok(()) => {
                counters.sent.inc();
            }
            Err(error) => {
                counters.dropped.inc();
                tracing::warn!(error, "an OpenLineage event was given up");
            }
        }
    }
}

/// Sends an event, again where that may help. The error is for the log.
async fn send(client: &Client, receiver: &Receiver, event: &RunEvent) -> Result<(), String> {
    let body = serde_json::to_vec(event).map_err(|error| error.to_string())?;
    let mut pause = PAUSE;
    let mut attempt = 1;
    loop {
        let request = client
            .post(receiver.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.clone());
        let request = match &receiver.api_key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let failed = match request.send().await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => {
                let status = response.status();
                let refused = format!("the receiver answered {status}");
                // What the receiver does not understand it will not understand later.
                if status.is_client_error() && status.as_u16() != 429 {
                    return Err(refused);
                }
                refused
            }
            Err(error) => error.without_url().to_string(),
        };
        if attempt == ATTEMPTS_MAX {
            return Err(format!("{failed}, {attempt} times"));
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_an_http_url_and_its_key_stays_out_of_logs() {
        assert!(Receiver::new("ftp://example.com", None, "cameo").is_err());
        assert!(Receiver::new("example.com", None, "cameo").is_err());
        let url = "https://user:word@example.com/api/v1/lineage";
        let receiver = Receiver::new(url, Some("secret".to_owned()), "cameo").expect("a receiver");
        let logged = format!("{receiver:?}");
        assert!(logged.contains("example.com"), "{logged}");
        assert!(!logged.contains("secret") && !logged.contains("word"), "{logged}");
    }
}
