//! What surrounds every request: its id and span, its place among the requests in flight, the time limit,
//! panics, metrics, compression, and the body of every error.
//!
//! One layer rather than one per concern, the [`Gate`] within it: the order matters (a refused or panicking request
//! is still counted, named and answered as a problem), and the router copies a route with all its layers for each
//! request, once more for each layer above.

use std::{
    convert::Infallible,
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::HttpBody,
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::Route,
};
use cameo_runtime::telemetry::{continue_trace, exports_traces};
use futures_util::{
    FutureExt,
    future::{BoxFuture, poll_immediate},
};
use tower::{Layer, Service, layer::layer_fn};
use tracing::{Level, Span, field};

use crate::{
    app::App,
    authorise::Gate,
    compression::{Accepted, compress},
    limits::{Paced, Place},
    problem::{Code, PROBLEM_JSON, Problem},
    routes::deployments,
    values,
};

/// Names a request in the answer, in the log and in a problem.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that a caller may choose.
const REQUEST_ID_BYTES_MAX: usize = 64;
/// Routes under this path need a place among the requests in flight; health, metrics and docs must answer when
/// nothing else does.
const LIMITED_PREFIX: &str = "/v1/";

/// Wraps what answers requests, behind a gate where there is one; see the module.
pub(crate) fn envelope(
    app: &App,
    gate: Option<Gate>,
) -> impl Layer<Route, Service = Envelope> + Clone + use<> {
    let app = Arc::clone(app);
    layer_fn(move |route| Envelope { app: Arc::clone(&app), gate: gate.clone(), route })
}

/// A route in its envelope.
#[derive(Clone)]
pub(crate) struct Envelope {
    app: App,
    gate: Option<Gate>,
    route: Route,
}

impl Service<Request> for Envelope {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.route, context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { app, gate, route } = self.clone();
        Box::pin(async move { Ok(enveloped(&app, gate.as_ref(), route, request).await) })
    }
}

/// What is known of a request when it has come.
struct Arrived {
    at: Instant,
    request_id: RequestId,
    method: Method,
    path: Option<MatchedPath>,
    is_limited: bool,
    accepted: Option<Accepted>,
    span: Span,
}

impl Arrived {
    fn new(app: &App, request: &Request) -> Self {
        let at = Instant::now();
        let request_id = app.request_ids.id_of(request.headers());
        let path = request.extensions().get::<MatchedPath>().cloned();
        let span = span_of(request, path.as_ref(), &request_id);
        Self {
            at,
            request_id,
            method: request.method().clone(),
            path,
            is_limited: request.uri().path().starts_with(LIMITED_PREFIX),
            accepted: Accepted::of(request.headers()),
            span,
        }
    }

    /// A place for the request, where it needs one.
    fn admit(&self, app: &App, request: &mut Request) -> Result<Option<Kept>, Problem> {
        if !self.is_limited {
            return Ok(None);
        }
        app.limits.admit().map(|place| Some(keep(place, request)))
    }
}

/// Answers a request.
async fn enveloped(
    app: &App,
    gate: Option<&Gate>,
    mut route: Route,
    mut request: Request,
) -> Response {
    let arrived = Arrived::new(app, &request);
    let place = arrived.admit(app, &mut request);
    let Arrived { at, request_id, method, path, is_limited, accepted, span } = arrived;
    let in_flight = InFlight::enter(app);
    let (response, refusal) = match place {
        Ok(place) => {
            let answering = async {
                match gate {
                    Some(gate) => gate.pass(app, route, request).await,
                    None => route.call(request).await.into_response(),
                }
            };
            let mut answer = pin!(answer(time_limit(app, path.as_ref()), answering));
            let within = |context: &mut Context<'_>| {
                let _entered = span.enter();
                answer.as_mut().poll(context)
            };
            let response = poll_fn(within).await;
            drop(place);
            let refusal = response.as_ref().ok().and_then(refusal);
            (response, refusal)
        }
        Err(problem) => (Err(problem), Some(Paced::default())),
    };
    drop(in_flight);
    if let Some(paced) = refusal {
        app.limits.pace(paced).await;
    }

    let mut response = finish(response, &request_id);
    if let Some(accepted) = accepted.filter(|_| is_limited) {
        response = compress(accepted, response).await;
    }
    let duration = at.elapsed();
    let status = response.status();
    app.metrics.observe(path, &method, status, duration);
    let is_told = status.is_server_error() && refusal.is_none();
    // The log rewrites all that it keeps of the span: only where somebody reads it.
    if is_told || exports_traces() || tracing::enabled!(Level::DEBUG) {
        span.record("status", status.as_u16());
    }
    if is_told {
        tracing::warn!(parent: &span, seconds = duration.as_secs_f64(), "answered with an error");
    } else {
        tracing::debug!(parent: &span, seconds = duration.as_secs_f64(), "answered");
    }
    response.headers_mut().insert(REQUEST_ID, request_id.value);
    response
}

/// A request that is being answered, until it is, or until its client leaves.
struct InFlight<'a>(&'a App);

impl<'a> InFlight<'a> {
    fn enter(app: &'a App) -> Self {
        app.metrics.in_flight.inc();
        Self(app)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
    }
}

/// The place of a request until its answer; whoever receives its body may leave it meanwhile.
enum Kept {
    Here { _place: Place },
    Shared { _place: Arc<Place> },
}

fn keep(place: Place, request: &mut Request) -> Kept {
    if request.body().is_end_stream() {
        return Kept::Here { _place: place };
    }
    let place = Arc::new(place);
    request.extensions_mut().insert(Arc::clone(&place));
    Kept::Shared { _place: place }
}

/// Whether an answer only costs whoever asks for it: it waits for its turn where there are many.
fn refusal(response: &Response) -> Option<Paced> {
    let stranger = response.status() == StatusCode::UNAUTHORIZED;
    response.extensions().get().copied().or_else(|| stranger.then(Paced::default))
}

/// How long an answer may take: a bundle that is planned or applied takes longer than a look-up.
fn time_limit(app: &App, route: Option<&MatchedPath>) -> Duration {
    let is_deployment =
        route.is_some_and(|route| deployments::TIMED_PATHS.contains(&route.as_str()));
    if is_deployment { app.config.deployment_timeout } else { app.config.request_timeout }
}

fn span_of(request: &Request, route: Option<&MatchedPath>, request_id: &RequestId) -> Span {
    let span = tracing::info_span!(
        "request",
        method = request.method().as_str(),
        route = route.map_or("none", MatchedPath::as_str),
        request_id = request_id.text(),
        status = field::Empty,
    );
    let headers = request.headers();
    continue_trace(&span, |name| headers.get(name).and_then(|value| value.to_str().ok()));
    span
}

/// Waits for an answer under the time limit; a panic becomes one.
async fn answer(
    limit: Duration,
    answering: impl Future<Output = Response>,
) -> Result<Response, Problem> {
    let mut answering = pin!(AssertUnwindSafe(answering).catch_unwind());
    // Most answers wait for nothing, and need no timer.
    let answered = match poll_immediate(answering.as_mut()).await {
        Some(answered) => Ok(answered),
        None => tokio::time::timeout(limit, answering).await,
    };
    match answered {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(panic)) => {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            tracing::error!(message, "a handler panicked");
            Err(Problem::internal())
        }
        Err(_) => Err(Problem::new(
            Code::Timeout,
            format!("the request took longer than {} seconds; ask for less", limit.as_secs_f64()),
        )),
    }
}

/// Gives every error the body of a problem, also those that the router answers by itself.
fn finish(response: Result<Response, Problem>, request_id: &RequestId) -> Response {
    let mut response = match response {
        Ok(response) => response,
        Err(problem) => return problem.render(request_id.text()),
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return problem.render(request_id.text());
    }
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes() == PROBLEM_JSON.as_bytes());
    if !is_error || is_problem {
        return response;
    }
    let code = Code::of_status(status);
    let mut headers = std::mem::take(response.headers_mut());
    headers.remove(header::CONTENT_LENGTH);
    Problem::new(code, detail_of(status)).with_headers(flatten(headers)).render(request_id.text())
}

fn detail_of(status: StatusCode) -> String {
    if status == StatusCode::METHOD_NOT_ALLOWED {
        return "the route has no such method; `Allow` lists those that it has".to_owned();
    }
    format!("the request was refused with {status}; check it against /docs")
}

pub(crate) fn flatten(headers: HeaderMap) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    headers.into_iter().filter_map(|(name, value)| Some((name?, value)))
}

/// Makes ids that no other request of any process has, without a system call per request.
pub(crate) struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        // The first half of a random UUID tells processes apart.
        let process = uuid::Uuid::now_v7().as_u64_pair();
        Self { process: process.0 ^ process.1, next: AtomicU64::new(1) }
    }

    /// The caller's id where it is a sane one, else a new one.
    fn id_of(&self, headers: &HeaderMap) -> RequestId {
        let given = headers.get(&REQUEST_ID).filter(|id| is_sane(id.as_bytes()));
        let value = given.cloned().unwrap_or_else(|| {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let id = values::short(format_args!("{:016x}-{number:x}", self.process));
            id.unwrap_or(HeaderValue::from_static("none"))
        });
        RequestId { value }
    }
}

fn is_sane(id: &[u8]) -> bool {
    !id.is_empty()
        && id.len() <= REQUEST_ID_BYTES_MAX
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

struct RequestId {
    value: HeaderValue,
}

impl RequestId {
    fn text(&self) -> &str {
        self.value.to_str().unwrap_or("none")
    }
}
