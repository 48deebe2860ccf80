//! Where the issuer's keys come from: its discovery document names the key set.
//!
//! The keys are kept and read anew every [`FRESH_FOR`], or when a token names a key that is not among
//! them, but never more often than once per cool-down: names that nobody knows must not become a
//! storm on the issuer. While it cannot be reached, the keys that are known are believed for
//! [`STALE_FOR`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use reqwest::{Client, Url, redirect};
use serde::Deserialize;

use super::{
    config::{OidcConfig, is_safe},
    key_set::KeySet,
};

/// From what age on the keys are read anew, in the background.
const FRESH_FOR: Duration = Duration::from_mins(10);
/// From what age on the keys are no longer believed.
const STALE_FOR: Duration = Duration::from_hours(24);
/// How long the issuer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest document that is read.
const DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// Where an issuer describes itself, after OpenID Connect Discovery 1.0.
const DISCOVERY: &str = ".well-known/openid-configuration";

/// Keys as they were read.
pub(super) struct Read {
    pub(super) keys: KeySet,
    at: Instant,
}

/// The issuer; see the module.
pub(super) struct Issuer {
    name: String,
    cool_down: Duration,
    client: Result<Client, String>,
    read: ArcSwapOption<Read>,
    /// When the issuer was last asked; held while it is.
    asked: tokio::sync::Mutex<Option<Asked>>,
}

struct Asked {
    at: Instant,
    /// Why nothing was learnt.
    failed: Option<String>,
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

/// Why the issuer's keys are not known.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("no connection can be made: {0}")]
    Client(String),
    #[error("{0} cannot be read")]
    Http(String, #[source] reqwest::Error),
    #[error("{0} is larger than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge(String),
    #[error("{0} is not what was expected: {1}")]
    Malformed(String, serde_json::Error),
    #[error("expected issuer `{expected}`, found `{found}` in its own document")]
    AnotherIssuer { expected: String, found: String },
    #[error("the key set is at `{0}`, from where it could be replaced on the way")]
    UnsafeKeySet(String),
    #[error("the key set at `{0}` has no key that can check a token")]
    NoKeys(String),
}

impl Issuer {
    pub(super) fn new(config: &OidcConfig) -> Self {
        // A redirect could lead anywhere, also to where nothing is encrypted.
        let client = Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none()).build();
        Self {
            name: config.issuer.clone(),
            cool_down: config.cool_down,
            client: client.map_err(|error| error.to_string()),
            read: ArcSwapOption::empty(),
            asked: tokio::sync::Mutex::new(None),
        }
    }

    /// The keys that are known and believed, without asking anybody.
    fn known(&self) -> Option<Arc<Read>> {
        self.read.load_full().filter(|read| read.at.elapsed() < STALE_FOR)
    }

    /// Keys among which `key` is, if the issuer has such a key.
    ///
    /// # Errors
    /// Why no keys are known.
    pub(super) async fn keys_with(self: &Arc<Self>, key: &str) -> Result<Arc<Read>, String> {
        if let Some(read) = self.known().filter(|read| read.keys.find(key).is_some()) {
            if read.at.elapsed() >= FRESH_FOR && self.asked.try_lock().is_ok() {
                let (issuer, known) = (self.clone(), read.clone());
                tokio::spawn(async move { issuer.ask(&known).await });
            }
            return Ok(read);
        }
        let seen_at = Instant::now();
        let mut asked = self.asked.lock().await;
        // Whoever waited here finds what the one before has learnt.
        let is_new = self.read.load().as_ref().is_some_and(|read| read.at >= seen_at);
        let is_cool = asked.as_ref().is_none_or(|asked| asked.at.elapsed() >= self.cool_down);
        if is_cool && !is_new {
            *asked = Some(self.read_anew().await);
        }
        let failed = asked.as_ref().and_then(|asked| asked.failed.clone());
        drop(asked);
        self.known().ok_or_else(|| failed.unwrap_or_else(|| "its keys are too old".to_owned()))
    }

    /// Asks the issuer, unless that was done since `known` was read or lately.
    async fn ask(&self, known: &Read) {
        let mut asked = self.asked.lock().await;
        let is_cool = asked.as_ref().is_none_or(|asked| asked.at.elapsed() >= self.cool_down);
        let is_newest = self.read.load().as_ref().is_some_and(|read| read.at == known.at);
        if is_cool && is_newest {
            *asked = Some(self.read_anew().await);
        }
    }

    async fn read_anew(&self) -> Asked {
        let at = Instant::now();
        let failed = match self.fetch().await {
            Ok(keys) => {
                tracing::info!(issuer = self.name, keys = keys.len(), "read the issuer's keys");
                self.read.store(Some(Arc::new(Read { keys, at })));
                None
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(issuer = self.name, error, "cannot read the issuer's keys");
                Some(error.to_string())
            }
        };
        Asked { at, failed }
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let at = format!("{}/{DISCOVERY}", self.name.trim_end_matches('/'));
        let document = self.get(&at).await?;
        let found: Discovered =
            serde_json::from_slice(&document).map_err(|error| FetchError::Malformed(at, error))?;
        if found.issuer != self.name {
            let expected = self.name.clone();
            return Err(FetchError::AnotherIssuer { expected, found: found.issuer });
        }
        let at = found.jwks_uri;
        // An issuer elsewhere has nothing to point at on this machine.
        let is_here = self.name.starts_with("http://");
        let is_fit = |url: Url| is_safe(&url) && (is_here || url.scheme() == "https");
        if !Url::parse(&at).is_ok_and(is_fit) {
            return Err(FetchError::UnsafeKeySet(at));
        }
        let document = self.get(&at).await?;
        match KeySet::read(&document) {
            Ok(keys) if keys.len() == 0 => Err(FetchError::NoKeys(at)),
            Ok(keys) => Ok(keys),
            Err(error) => Err(FetchError::Malformed(at, error)),
        }
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let failed = |error: reqwest::Error| FetchError::Http(url.to_owned(), error);
        let client = self.client.as_ref().map_err(|why| FetchError::Client(why.clone()))?;
        let mut response = client
            .get(url)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(failed)?;
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if document.len() + chunk.len() > DOCUMENT_BYTES_MAX {
                return Err(FetchError::TooLarge(url.to_owned()));
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}
