//! Sends one message once.

use std::{error::Error, time::Duration};

use reqwest::{Client, StatusCode, header, redirect::Policy};

use crate::{
    address::{Address, AddressError},
    event::MEDIA_TYPE,
    guard::{self, Reach, Unreachable},
    secret::Secret,
};

/// How long a receiver may take to accept a message.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// How long it may take to answer a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A message that is ready to be sent.
#[derive(Debug, Clone)]
pub struct Message {
    /// The same at each attempt, so that a receiver can tell a repetition.
    pub id: String,
    /// The same at each attempt.
    pub body: String,
    /// Those that may sign; while a secret is replaced, the new one and the old one.
    pub secrets: Vec<Secret>,
}

/// Why a message was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The receiver will never want messages again.
    #[error("the receiver answered 410: it wants no more messages")]
    Gone,
    /// The receiver answered something else than success.
    #[error("expected an answer of 200 to 299, found {0}")]
    Status(StatusCode),
    /// The address may not be reached.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The name has no address that may be reached.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// No answer in time.
    #[error("the receiver gave no answer within {} seconds", TIMEOUT.as_secs())]
    Timeout,
    /// No connection, or one that broke off.
    #[error("the receiver cannot be reached: {0}")]
    Connection(String),
}

impl Refusal {
    /// The status that the receiver answered, where it did.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Gone => Some(StatusCode::GONE.as_u16()),
            Self::Status(status) => Some(status.as_u16()),
            _ => None,
        }
    }
}

/// Sends messages.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client,
    reach: Reach,
}

impl Sender {
    /// A sender that reaches what `reach` allows.
    pub fn new(reach: Reach) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(guard::resolver(reach))
            // A kept connection would go on to an address that a name no longer has.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("cameo/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, reach })
    }

    /// Sends `message` to `address` at `timestamp`, in seconds since 1970. Nothing of the answer but its
    /// status is looked at: whatever else a receiver says is read by nobody and kept nowhere.
    pub async fn send(
        &self,
        address: &str,
        message: &Message,
        timestamp: i64,
    ) -> Result<StatusCode, Refusal> {
        let address = Address::parse(address, self.reach)?;
        let Message { id, body, secrets } = message;
        let signatures: Vec<String> =
            secrets.iter().map(|secret| secret.sign(id, timestamp, body.as_bytes())).collect();
        let request = self
            .client
            .post(address.url().clone())
            .header(header::CONTENT_TYPE, MEDIA_TYPE)
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures.join(" "))
            .body(body.clone());
        match request.send().await.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => Ok(status),
            Ok(StatusCode::GONE) => Err(Refusal::Gone),
            Ok(status) => Err(Refusal::Status(status)),
            Err(error) => Err(refusal(&error)),
        }
    }
}

fn refusal(error: &reqwest::Error) -> Refusal {
    if error.is_timeout() {
        return Refusal::Timeout;
    }
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(source) = cause.source() {
        if let Some(unreachable) = source.downcast_ref::<Unreachable>() {
            return unreachable.clone().into();
        }
        cause = source;
    }
    // The innermost cause says it in a few words; the outer ones repeat the address.
    Refusal::Connection(cause.to_string())
}
