//! For what runs the process: is it alive, may it get requests, what does it measure.

use std::time::Duration;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use cameo_runtime::metrics::CONTENT_TYPE;

use crate::{
    app::App,
    openapi::example,
    problem::{Code, Problem, ProblemBody},
};

/// Longest wait for the database's sign of life.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// The process is alive
///
/// Answers as long as the process can answer at all. It says nothing about the database: restarting
/// the API does not mend that.
#[utoipa::path(get, path = "/livez", operation_id = "livez", tag = "health", security(()),
    responses((status = 200, description = "Alive", body = String, content_type = "text/plain", example = "ok\n")))]
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// The process may get requests
///
/// Needs the database and the list of current generations; fails first when the process is told to
/// end, so that load balancers turn away before connections close.
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "health", security(()),
    responses(
        (status = 200, description = "Ready", body = String, content_type = "text/plain", example = "ready\n"),
        (status = 503, description = "Not ready; `detail` says why", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::Unavailable)))))]
pub(crate) async fn readyz(State(app): State<App>) -> Result<&'static str, Problem> {
    let not_ready = |why| Err(Problem::new(Code::Unavailable, why));
    if app.is_draining() {
        return not_ready("the process is about to end; send requests elsewhere");
    }
    if !app.predictions.is_fresh() {
        return not_ready("it is not known now which generation each service shows");
    }
    let store = app.store.clone();
    // Spawned: a query that a time limit cuts off would leave its connection in doubt.
    let ping = tokio::spawn(async move { store.ping().await.is_ok() });
    match tokio::time::timeout(PING_TIMEOUT, ping).await {
        Ok(Ok(true)) => Ok("ready\n"),
        _ => not_ready("the database does not answer"),
    }
}

/// The process's metrics
///
/// In the `OpenMetrics` text format, for Prometheus.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "health", security(()),
    responses((status = 200, description = "All metrics", body = String,
        content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let state = app.predictions.snapshots();
    let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
    app.metrics.services_shown.set(number(state.services_shown));
    app.metrics.services_with_snapshot.set(number(state.services_with_snapshot));
    app.metrics.snapshot_bytes.set(number(state.bytes));
    app.metrics.snapshot_failures.set(number(state.failures));
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], app.process_metrics.encode()).into_response()
}
