//! What the API measures, for Prometheus. Every label is bounded: routes are the templates of the
//! router, methods and status classes are closed sets, tenants those that the database knows, and no key or path
//! is a label.

use std::{
    fmt::Write,
    hash::{Hash, Hasher},
    time::Duration,
};

use axum::{
    extract::MatchedPath,
    http::{Method, StatusCode},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Unit,
};

/// Upper bounds of the latency buckets, in seconds: a look-up takes a fraction of a millisecond, a
/// request that reaches the last one has met the time limit.
const LATENCY_BUCKETS_SECONDS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 10.0,
];

/// The API's metrics.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
    /// Requests that are being answered.
    pub(crate) in_flight: Gauge,
    /// Requests refused because the server has too much to do.
    shed: Counter,
    /// Requests refused, by why and whose.
    refused: Family<RefusalLabels, Counter>,
    /// Whether requests are being shed.
    shedding: Gauge,
    /// Connections that were cut, by why.
    cut: Family<[(&'static str, &'static str); 1], Counter>,
    /// Connections that are open.
    pub(crate) connections: Gauge,
    /// Keys for which a prediction was found.
    pub(crate) lookups_found: Counter,
    /// Keys without a prediction.
    pub(crate) lookups_missing: Counter,
    /// Keys that are not of the declared type.
    pub(crate) lookups_invalid: Counter,
    /// Answers from a generation that was stale.
    pub(crate) served_stale: Counter,
    from_snapshots: Counter,
    from_postgres: Counter,
    /// Services that show something.
    pub(crate) services_shown: Gauge,
    /// Services that are answered from a snapshot.
    pub(crate) services_with_snapshot: Gauge,
    /// Size of the snapshots that are here.
    pub(crate) snapshot_bytes: Gauge,
    /// How often a snapshot could not be had.
    pub(crate) snapshot_failures: Gauge,
    /// Answers that were refused because a sensitive prediction did not open.
    pub(crate) sealed_unopened: Counter,
}

impl Metrics {
    /// Creates the metrics and registers them with the process's.
    pub(crate) fn register(process: &cameo_runtime::metrics::Metrics) -> Self {
        // The outcomes are held one by one, so that a look-up hashes no label.
        let lookups: Family<[(&str, &str); 1], Counter> = process.register(
            "cameo_api_lookups",
            "Keys looked up, by what was found",
            Family::default(),
        );
        let outcome = |outcome| lookups.get_or_create_owned(&[("outcome", outcome)]);
        let sources: Family<[(&str, &str); 1], Counter> = process.register(
            "cameo_api_lookup_sources",
            "Keys looked up, by where they were looked for",
            Family::default(),
        );
        let source = |source| sources.get_or_create_owned(&[("source", source)]);
        Self {
            requests: process.register_with_unit(
                "cameo_api_request_duration",
                "Time from the request's head to the complete answer",
                Unit::Seconds,
                Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS_SECONDS)),
            ),
            in_flight: process.register(
                "cameo_api_requests_in_flight",
                "Requests that are being answered",
                Gauge::default(),
            ),
            shed: process.register(
                "cameo_api_requests_shed",
                "Requests refused because the server has too much to do",
                Counter::default(),
            ),
            refused: process.register(
                "cameo_api_requests_refused",
                "Requests refused, by why and whose",
                Family::default(),
            ),
            shedding: process.register(
                "cameo_api_shedding",
                "Whether requests wait so long that some are refused (1) or not (0)",
                Gauge::default(),
            ),
            cut: process.register(
                "cameo_api_connections_cut",
                "Connections that were cut, by why",
                Family::default(),
            ),
            connections: process.register(
                "cameo_api_connections",
                "Connections that are open",
                Gauge::default(),
            ),
            lookups_found: outcome("found"),
            lookups_missing: outcome("missing"),
            lookups_invalid: outcome("invalid"),
            sealed_unopened: process.register(
                "cameo_api_sealed_unopened",
                "Answers refused because a sensitive prediction did not open",
                Counter::default(),
            ),
            served_stale: process.register(
                "cameo_api_served_stale",
                "Answers from a generation older than its service allows",
                Counter::default(),
            ),
            from_snapshots: source("snapshot"),
            from_postgres: source("postgres"),
            services_shown: process.register(
                "cameo_api_services",
                "Services that show a generation",
                Gauge::default(),
            ),
            services_with_snapshot: process.register(
                "cameo_api_services_with_snapshot",
                "Services that are answered from a snapshot instead of Postgres",
                Gauge::default(),
            ),
            snapshot_bytes: process.register_with_unit(
                "cameo_api_snapshots",
                "Size of the snapshots that are here, shown or not",
                Unit::Bytes,
                Gauge::default(),
            ),
            snapshot_failures: process.register(
                "cameo_api_snapshot_failures",
                "How often a snapshot could not be fetched, verified or kept since the start",
                Gauge::default(),
            ),
        }
    }

    /// Counts a refusal. Only known tenants are named, so the number of labels is bounded.
    pub(crate) fn refuse(&self, refusal: Refusal, tenant: &str) {
        if matches!(refusal, Refusal::Queue | Refusal::InFlight) {
            self.shed.inc();
        }
        let labels = RefusalLabels { reason: refusal.as_str(), tenant: tenant.to_owned() };
        self.refused.get_or_create(&labels).inc();
    }

    pub(crate) fn note_shedding(&self, is_shedding: bool) {
        self.shedding.set(i64::from(is_shedding));
    }

    /// Counts a connection that was cut.
    pub(crate) fn cut(&self, why: Cut) {
        self.cut.get_or_create(&[("reason", why.as_str())]).inc();
    }

    /// Counts keys by where they were looked for: in a snapshot, or in Postgres.
    pub(crate) fn count_source(&self, is_snapshot: bool, keys: u64) {
        let source = if is_snapshot { &self.from_snapshots } else { &self.from_postgres };
        source.inc_by(keys);
    }

    /// Records one answered request.
    pub(crate) fn observe(
        &self,
        route: Option<MatchedPath>,
        method: &Method,
        status: StatusCode,
        duration: Duration,
    ) {
        let labels =
            RequestLabels { route: Route(route), method: Verb::of(method), status: Class(status) };
        self.requests.get_or_create(&labels).observe(duration.as_secs_f64());
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Connections wait too long for their turn.
    Queue,
    /// All places for requests in flight, or for bodies, are taken.
    InFlight,
    /// The tenant has its share of places.
    Concurrency,
    /// The key made as many requests as it may.
    Rate,
    /// The body took too long.
    SlowBody,
    /// The body is too large, or would be once decompressed.
    LargeBody,
}

impl Refusal {
    fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::InFlight => "in_flight",
            Self::Concurrency => "concurrency",
            Self::Rate => "rate",
            Self::SlowBody => "slow_body",
            Self::LargeBody => "large_body",
        }
    }
}

/// Why a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Its client sends no head, or too slowly.
    SlowHead,
    /// Its client does not take its answer.
    SlowReader,
    /// Its address has as many as it may.
    Address,
}

impl Cut {
    fn as_str(self) -> &'static str {
        match self {
            Self::SlowHead => "slow_head",
            Self::SlowReader => "slow_reader",
            Self::Address => "address",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    reason: &'static str,
    tenant: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Route,
    method: Verb,
    status: Class,
}

/// The router's template; a path that matches none is `none`, whatever it says.
#[derive(Debug, Clone)]
struct Route(Option<MatchedPath>);

impl Route {
    fn as_str(&self) -> &str {
        self.0.as_ref().map_or("none", MatchedPath::as_str)
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Verb(&'static str);

impl Verb {
    fn of(method: &Method) -> Self {
        Self(match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::HEAD => "HEAD",
            Method::OPTIONS => "OPTIONS",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            _ => "other",
        })
    }
}

impl EncodeLabelValue for Verb {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.0)
    }
}

/// `2xx` to `5xx`, except those that an operator wants apart.
#[derive(Debug, Clone, Copy)]
struct Class(StatusCode);

impl Class {
    fn as_str(self) -> &'static str {
        match self.0.as_u16() {
            304 => "304",
            401 => "401",
            404 => "404",
            408 => "408",
            429 => "429",
            503 => "503",
            504 => "504",
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        }
    }
}

impl PartialEq for Class {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Class {}

impl Hash for Class {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl EncodeLabelValue for Class {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.as_str())
    }
}
