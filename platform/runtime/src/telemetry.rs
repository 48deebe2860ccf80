//! Logs and traces.
//!
//! Logs go to standard error: for people when that is a terminal, else one JSON object a line.
//! Traces go to an OpenTelemetry collector when, and only when, the standard variables name one:
//!
//! | variable | meaning |
//! |---|---|
//! | `CAMEO_LOG`, else `RUST_LOG` | what is logged, as in `info,cameo_worker=debug` |
//! | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` | URL that takes traces |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | base URL of a collector; `/v1/traces` is appended |
//! | `OTEL_SDK_DISABLED` | `true` switches traces off |
//! | `OTEL_TRACES_EXPORTER` | `none` switches traces off |
//! | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | who we are |
//! | `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*` | as the OpenTelemetry specification says |

use std::collections::HashMap;
use std::env;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, global};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// What is logged when nobody says otherwise.
const FILTER_DEFAULT: &str =
    "info,hyper=warn,reqwest=warn,sqlx=warn,tower_http=warn,tract=warn,opentelemetry=warn";
/// How long the end of the process may wait for the last spans to be sent.
const FLUSH_MAX: Duration = Duration::from_secs(5);
const TRACES_PATH: &str = "/v1/traces";

/// Whether [`init`] found a collector for traces.
static EXPORTS_TRACES: AtomicBool = AtomicBool::new(false);

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; colours where the terminal has them.
    Human,
    /// One JSON object a line.
    Json,
}

/// What is logged and where traces go.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// How log lines look.
    pub format: LogFormat,
    /// What is logged, in the syntax of `RUST_LOG`.
    pub filter: String,
    /// The URL that takes traces; none: no traces.
    pub traces_endpoint: Option<String>,
}

impl TelemetryConfig {
    /// What the environment and the terminal say.
    #[must_use]
    pub fn from_environment() -> Self {
        let terminal = io::stderr().is_terminal();
        Self {
            format: if terminal { LogFormat::Human } else { LogFormat::Json },
            filter: variable("CAMEO_LOG")
                .or_else(|| variable("RUST_LOG"))
                .unwrap_or_else(|| FILTER_DEFAULT.to_owned()),
            traces_endpoint: traces_endpoint(variable),
        }
    }
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error(
        "CAMEO_LOG or RUST_LOG: expected a filter such as `info,cameo_worker=debug`, found {filter:?}"
    )]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter of traces cannot be made.
    #[error(
        "traces cannot be sent to {endpoint:?}: expected the URL of an OTLP collector that speaks HTTP; correct or unset OTEL_EXPORTER_OTLP_ENDPOINT"
    )]
    Exporter {
        /// Where traces should go.
        endpoint: String,
        /// What is wrong.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// Telemetry runs already in this process.
    #[error("telemetry was started twice in one process")]
    StartedTwice,
}

/// Sends what is left when dropped: keep it until the end of `main`.
#[derive(Debug)]
#[must_use = "telemetry ends when the guard is dropped"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider
            && let Err(failure) = provider.shutdown_with_timeout(FLUSH_MAX)
        {
            tracing::warn!(error = %failure, "the last traces were not sent");
        }
    }
}

/// Starts logs and traces for the process; `service` is its name unless the environment says otherwise.
pub fn init(service: &str, config: TelemetryConfig) -> Result<Guard, TelemetryError> {
    let TelemetryConfig { format, filter, traces_endpoint } = config;
    let (logs, filter) = (logs(format), LogFilter::parse(&filter)?);
    global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = traces_endpoint.map(|endpoint| provider(service, endpoint)).transpose()?;
    EXPORTS_TRACES.store(provider.is_some(), Ordering::Relaxed);
    let started = match &provider {
        // What is not logged is nobody's: each span is asked about once.
        None => Registry::default().with(logs).with(filter.for_all()).try_init(),
        Some(provider) => {
            // The exporter's own requests must not become spans, or it would never rest.
            let own = EnvFilter::new("info,hyper=off,reqwest=off,opentelemetry=off,h2=off");
            let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("cameo"));
            let logs = filter.for_one(logs);
            Registry::default().with(logs).with(traces.with_filter(own)).try_init()
        }
    };
    started.map_err(|_| TelemetryError::StartedTwice)?;
    Ok(Guard { provider })
}

/// What is logged.
enum LogFilter {
    /// Targets and levels: nothing is asked when a span is entered.
    Targets(Box<Targets>),
    /// Spans by name or field as well, at the cost of a lock each time one is entered.
    Spans(Box<EnvFilter>),
}

impl LogFilter {
    fn parse(filter: &str) -> Result<Self, TelemetryError> {
        let spans = EnvFilter::builder()
            .with_default_directive(LevelFilter::INFO.into())
            .parse(filter)
            .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
        let names_spans = filter.contains(['[', '{']);
        let targets = filter.parse().ok().filter(|_| !names_spans).map(Box::new);
        Ok(targets.map_or_else(|| Self::Spans(Box::new(spans)), Self::Targets))
    }

    /// As a filter of all that is said.
    fn for_all<S>(self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        match self {
            Self::Targets(targets) => targets,
            Self::Spans(spans) => spans,
        }
    }

    /// As the filter of one of several that listen.
    fn for_one(self, logs: Logs) -> Logs {
        match self {
            Self::Targets(targets) => logs.with_filter(*targets).boxed(),
            Self::Spans(spans) => logs.with_filter(*spans).boxed(),
        }
    }
}

/// Whether spans are sent anywhere. Where they are not, what is noted on one is read only by the log lines within
/// it, and noting costs as much as a look-up.
#[must_use]
pub fn exports_traces() -> bool {
    EXPORTS_TRACES.load(Ordering::Relaxed)
}

/// Makes `span` a part of the caller's trace, when the caller sent one (`traceparent`, `tracestate`).
///
/// Call it before the span is entered. `header` gives the value of a header by its name.
pub fn continue_trace<'a>(span: &Span, header: impl Fn(&str) -> Option<&'a str>) {
    let names = ["traceparent", "tracestate"];
    // Most callers send none, and this is asked for every request.
    if names.iter().all(|name| header(name).is_none()) {
        return;
    }
    let sent: HashMap<String, String> = names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), header(name)?.to_owned())))
        .collect();
    let parent = global::get_text_map_propagator(|propagator| propagator.extract(&Carrier(&sent)));
    // It fails only when traces are off, and then there is nothing to continue.
    let _ = span.set_parent(parent);
}

/// The present span as a `traceparent` value, to hand on or to keep with a run; none: traces are off.
#[must_use]
pub fn traceparent() -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.remove("traceparent")
}

struct Carrier<'a>(&'a HashMap<String, String>);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

type Logs = Box<dyn Layer<Registry> + Send + Sync>;

fn logs(format: LogFormat) -> Logs {
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match format {
        LogFormat::Human => {
            let colours = io::stderr().is_terminal() && variable("NO_COLOR").is_none();
            layer.with_ansi(colours).with_target(false).boxed()
        }
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

fn provider(service: &str, endpoint: String) -> Result<SdkTracerProvider, TelemetryError> {
    crate::tls::install_provider();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&endpoint)
        .build()
        .map_err(|source| TelemetryError::Exporter { endpoint, source })?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource(service))
        .build())
}

fn resource(service: &str) -> Resource {
    let from_environment = Resource::builder().build();
    let name = from_environment.get(&Key::from_static_str("service.name"));
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let resource = Resource::builder();
    if is_named { resource.build() } else { resource.with_service_name(service.to_owned()).build() }
}

fn traces_endpoint(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let is = |name: &str, value: &str| {
        variable(name).is_some_and(|found| found.eq_ignore_ascii_case(value))
    };
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| {
        let base = variable("OTEL_EXPORTER_OTLP_ENDPOINT")?;
        Some(format!("{}{TRACES_PATH}", base.trim_end_matches('/')))
    })
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_filter_that_chooses_spans_costs_each_request_a_lock() {
        for targets in [FILTER_DEFAULT, "info", "info,cameo_worker=debug", "cameo_api=trace,off"] {
            assert!(matches!(LogFilter::parse(targets), Ok(LogFilter::Targets(_))), "{targets}");
        }
        for spans in ["info,[request]=debug", "[request{method=GET}]=trace", "cameo_api[run]"] {
            assert!(matches!(LogFilter::parse(spans), Ok(LogFilter::Spans(_))), "{spans}");
        }
        assert!(LogFilter::parse("info,cameo_api=loud").is_err());
    }

    #[test]
    fn traces_are_off_until_a_standard_variable_names_a_collector() {
        let endpoint = |values: &[(&str, &str)]| {
            traces_endpoint(|name| {
                values
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/x");
        assert_eq!(endpoint(&[]), None);
        assert_eq!(endpoint(&[base]).as_deref(), Some("http://collector:4318/v1/traces"));
        assert_eq!(endpoint(&[base, own]).as_deref(), Some("http://traces:4318/x"));
        assert_eq!(endpoint(&[base, ("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert_eq!(endpoint(&[base, ("OTEL_TRACES_EXPORTER", "none")]), None);
    }
}
