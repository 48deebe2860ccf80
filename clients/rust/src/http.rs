//! One request: sent, repeated where that helps, read.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    cache::{Cache, Kept},
    error::{Error, Problem},
    retry::{self, Repeat},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest pause within an answer.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time for an answer that is streamed.
const STREAM_TIMEOUT: Duration = Duration::from_hours(24);

/// A server and the key for it.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    base: Url,
    deadline: Duration,
    attempts: u32,
    cache: Option<Cache>,
}

/// A request that can be sent several times.
#[derive(Debug, Clone)]
pub(crate) struct Ask<'a> {
    method: Method,
    path: Vec<&'a str>,
    query: Vec<(&'a str, String)>,
    headers: HeaderMap,
    body: Option<Bytes>,
    repeat: Repeat,
    streamed: bool,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl<'a> Ask<'a> {
    /// A request that reads. Each segment of the path is percent-encoded by itself.
    pub(crate) fn get(path: Vec<&'a str>) -> Self {
        Self::new(Method::GET, path, Repeat::Harmless)
    }

    /// A request that changes something.
    pub(crate) fn change(method: Method, path: Vec<&'a str>) -> Self {
        Self::new(method, path, Repeat::OnlyIfRefused)
    }

    fn new(method: Method, path: Vec<&'a str>, repeat: Repeat) -> Self {
        let (query, headers) = (Vec::new(), HeaderMap::new());
        Self { method, path, query, headers, body: None, repeat, streamed: false }
    }

    /// Reads by POST, or names itself: repeating it is harmless.
    pub(crate) fn harmless(mut self) -> Self {
        self.repeat = Repeat::Harmless;
        self
    }

    /// The answer comes for as long as it takes; only a pause may not be too long.
    pub(crate) fn streamed(mut self) -> Self {
        self.streamed = true;
        self
    }

    /// Adds a parameter where there is a value.
    pub(crate) fn query(mut self, name: &'a str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sends JSON.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_vec(body).map_err(|source| Error::NotUnderstood { source })?;
        self.body = Some(body.into());
        Ok(self)
    }
}

impl Http {
    pub(crate) fn new(
        base: Url,
        key: &str,
        timeout: Duration,
        deadline: Duration,
        attempts: u32,
        cache: Option<Cache>,
    ) -> Result<Self, Error> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| {
            Error::Configuration("expected an API key such as `cameo_…`, found other bytes".into())
        })?;
        bearer.set_sensitive(true);
        // Whoever has chosen a provider before keeps it.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .default_headers(HeaderMap::from_iter([(header::AUTHORIZATION, bearer)]))
            .user_agent(concat!("cameo-client/", env!("CARGO_PKG_VERSION"), " rust"))
            .timeout(timeout)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(PAUSE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let client = client.map_err(|error| Error::Configuration(error.to_string()))?;
        Ok(Self { client, base, deadline, attempts, cache })
    }

    pub(crate) fn base(&self) -> &str {
        self.base.as_str()
    }

    /// Sends a request and reads its answer as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, ask: Ask<'_>) -> Result<T, Error> {
        parse(&self.answer(ask).await?.body)
    }

    /// Sends a request for something that has an entity tag; what is kept already is not sent again.
    pub(crate) async fn kept(&self, ask: Ask<'_>) -> Result<Answer, Error> {
        let Some(cache) = &self.cache else { return self.answer(ask).await };
        let url = self.url(&ask)?.to_string();
        let kept = cache.find(&url);
        let ask = match &kept {
            Some(kept) => ask.header(header::IF_NONE_MATCH, kept.tag.clone()),
            None => ask,
        };
        let response = self.respond(&ask).await?;
        let headers = response.headers().clone();
        if let Some(kept) = kept.filter(|_| response.status() == StatusCode::NOT_MODIFIED) {
            return Ok(Answer { headers, body: kept.body });
        }
        let body = self.read(response).await?;
        if let Some(tag) = headers.get(header::ETAG) {
            cache.keep(url, Kept { tag: tag.clone(), body: body.clone() });
        }
        Ok(Answer { headers, body })
    }

    async fn answer(&self, ask: Ask<'_>) -> Result<Answer, Error> {
        let response = self.respond(&ask).await?;
        let headers = response.headers().clone();
        Ok(Answer { headers, body: self.read(response).await? })
    }

    async fn read(&self, response: Response) -> Result<Bytes, Error> {
        response.bytes().await.map_err(|source| self.failed(source))
    }

    /// Sends a request until it is answered with something else than "later".
    pub(crate) async fn respond(&self, ask: &Ask<'_>) -> Result<Response, Error> {
        let url = self.url(ask)?;
        let ends_at = Instant::now() + self.deadline;
        let mut attempt = 0;
        loop {
            let left = ends_at.saturating_duration_since(Instant::now());
            let sent = tokio::time::timeout(left, self.send(ask, url.clone())).await;
            let (error, said) = match sent {
                Err(_) => return Err(Error::TimedOut { limit: self.deadline }),
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(Refusal::Unanswered(error))) => {
                    let repeat = ask.repeat.after_failure(&error);
                    let error = self.failed(error);
                    if !repeat {
                        return Err(error);
                    }
                    (error, None)
                }
                Ok(Err(Refusal::Answered { error, repeat, after })) => {
                    if !repeat {
                        return Err(error);
                    }
                    (error, after)
                }
            };
            attempt += 1;
            let wait = retry::wait(attempt - 1, said);
            if attempt >= self.attempts || Instant::now() + wait >= ends_at {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn send(&self, ask: &Ask<'_>, url: Url) -> Result<Response, Refusal> {
        let mut request = self.client.request(ask.method.clone(), url).headers(ask.headers.clone());
        if ask.streamed {
            request = request.timeout(STREAM_TIMEOUT);
        }
        if let Some(body) = &ask.body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.clone());
        }
        let response = request.send().await.map_err(Refusal::Unanswered)?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let after = seconds(response.headers());
        let body = response.bytes().await.map_err(Refusal::Unanswered)?;
        let status = status.as_u16();
        let Ok(problem) = serde_json::from_slice::<Problem>(&body) else {
            // A proxy whose server restarts: the request has not arrived, or nobody knows.
            let repeat = ask.repeat == Repeat::Harmless && matches!(status, 429 | 502..=504);
            return Err(Refusal::Answered { error: Error::NotCameo { status }, repeat, after });
        };
        let repeat = ask.repeat.after_problem(status, &problem.code);
        let error = Error::Problem(Box::new(problem));
        Err(Refusal::Answered { error, repeat, after })
    }

    fn url(&self, ask: &Ask<'_>) -> Result<Url, Error> {
        let mut url = self.base.clone();
        let mut segments = url
            .path_segments_mut()
            .map_err(|()| Error::Configuration(format!("{} cannot have a path", self.base)))?;
        segments.pop_if_empty().extend(&ask.path);
        drop(segments);
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        Ok(url)
    }

    fn failed(&self, source: reqwest::Error) -> Error {
        Error::Unreachable { url: self.base.to_string(), source: source.without_url() }
    }
}

/// Why an attempt gave nothing.
enum Refusal {
    Unanswered(reqwest::Error),
    Answered { error: Error, repeat: bool, after: Option<Duration> },
}

/// Reads JSON.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|source| Error::NotUnderstood { source })
}

/// `Retry-After` in seconds, as the API says it.
fn seconds(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}
