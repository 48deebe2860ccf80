//! The client, and its parts for a tenant and a service.

use std::time::Duration;

use reqwest::Url;

use crate::{cache::Cache, error::Error, http::Http};

/// How long a request may take with all its attempts, unless told otherwise.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long one attempt may take, unless told otherwise: a little longer than the server allows itself.
const TIMEOUT: Duration = Duration::from_secs(12);
/// How often a request is sent at most, unless told otherwise.
const ATTEMPTS: u32 = 4;

/// A client of one server with one key. A clone shares its connections.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) http: Http,
}

/// Makes a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    url: String,
    key: String,
    timeout: Duration,
    deadline: Duration,
    attempts: u32,
    cached: usize,
}

impl Client {
    /// A client with everything as usual.
    ///
    /// # Errors
    /// The text is no URL of a server, or the key cannot be sent.
    pub fn new(url: &str, key: &str) -> Result<Self, Error> {
        Self::builder(url, key).build()
    }

    /// A client that is not as usual.
    #[must_use]
    pub fn builder(url: &str, key: &str) -> ClientBuilder {
        ClientBuilder {
            url: url.to_owned(),
            key: key.to_owned(),
            timeout: TIMEOUT,
            deadline: DEADLINE,
            attempts: ATTEMPTS,
            cached: 0,
        }
    }

    /// What belongs to a tenant.
    #[must_use]
    pub fn tenant(&self, tenant: &str) -> TenantClient {
        TenantClient { http: self.http.clone(), tenant: tenant.to_owned() }
    }
}

impl ClientBuilder {
    /// How long one attempt may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a request may take with all its attempts and the waits between them.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How often a request is sent at most; 1 repeats none.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Keeps up to so many predictions and asks only whether they have changed.
    #[must_use]
    pub fn cache(mut self, predictions: usize) -> Self {
        self.cached = predictions;
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    /// The text is no URL of a server, or the key cannot be sent.
    pub fn build(self) -> Result<Client, Error> {
        let wrong = |url: &str| {
            Error::Configuration(format!(
                "expected a URL such as https://cameo.example, found {url}"
            ))
        };
        // A server may live below a path of its host.
        let base = format!("{}/", self.url.trim_end_matches('/'));
        let base: Url = base.parse().map_err(|_| wrong(&self.url))?;
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(wrong(&self.url));
        }
        let cache = (self.cached > 0).then(|| Cache::new(self.cached));
        let http = Http::new(base, &self.key, self.timeout, self.deadline, self.attempts, cache)?;
        Ok(Client { http })
    }
}

/// What belongs to a tenant.
#[derive(Debug, Clone)]
pub struct TenantClient {
    pub(crate) http: Http,
    pub(crate) tenant: String,
}

impl TenantClient {
    /// One of the tenant's services.
    #[must_use]
    pub fn service(&self, service: &str) -> ServiceClient {
        let Self { http, tenant } = self.clone();
        ServiceClient { http, tenant, service: service.to_owned() }
    }

    pub(crate) fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [&["v1", "tenants", self.tenant.as_str()], rest].concat()
    }
}

/// One service of a tenant.
#[derive(Debug, Clone)]
pub struct ServiceClient {
    pub(crate) http: Http,
    pub(crate) tenant: String,
    pub(crate) service: String,
}

impl ServiceClient {
    pub(crate) fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let own = ["v1", "tenants", self.tenant.as_str(), "services", self.service.as_str()];
        [&own, rest].concat()
    }
}
