//! The `OpenAPI` document and the reference page.
//!
//! Paths, parameters and bodies come from the handlers' own annotations; what all routes share (who
//! may call, and every error that the envelope and the authorisation layer can answer) is added here
//! once, so a new route is documented completely without saying it again.

mod answers;
mod bodies;
mod parameters;

use axum::{
    body::Bytes,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use cameo_domain::Scope;
use utoipa::{
    OpenApi,
    openapi::{
        Components,
        extensions::ExtensionsBuilder,
        path::{Operation, PathItem, Paths},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::problem::{Code, Position, ProblemBody};

const BEARER: &str = "api_key";
/// The member of an operation that names the scope which it needs.
const SCOPE: &str = "x-scope";
/// What it says where none is needed.
const ANY_SCOPE: &str = "any";
const DOCS: &str = include_str!("docs.html");
/// The page runs its own script and style and talks to its own origin only.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the document says beside its routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Cameo API",
        description = "Predictions about customers, computed on schedule and published whole.\n\n\
            Every answer with predictions says which `generation` it comes from, when that was predicted, \
            by which `release`, and whether it is `stale`. A publication switches all keys of a service \
            at once: two answers with the same generation belong together.\n\n\
            An API key belongs to one tenant, and may be for some of its services alone; a token of your \
            identity provider speaks for you in every tenant that lets one of your groups in. What you may \
            not see is answered exactly as if it did not exist. What you may do is given by scopes; each \
            operation names the one that it needs as `x-scope`, and `GET /v1/me` lists yours. Every answer carries `x-request-id`; name it when you ask for help."
    ),
    tags(
        (name = "predictions", description = "Look predictions up."),
        (name = "profiles", description = "Everything that a tenant's services say about a customer."),
        (name = "explanations", description = "Why predictions are what they are."),
        (name = "tenants", description = "Teams, and what happened in them."),
        (name = "services", description = "What a tenant hosts."),
        (name = "runs", description = "The executions that make predictions."),
        (name = "generations", description = "What was published, and going back."),
        (name = "releases", description = "The versions of bundles, and which of them is in production."),
        (name = "segments", description = "The customers for whom a condition over predictions holds."),
        (name = "webhooks", description = "Being told of changes."),
        (name = "keys", description = "Who may do what: API keys, and the caller itself."),
        (name = "erasures", description = "Customers who ask to be forgotten, and whom runs leave out."),
        (name = "health", description = "For what runs the process. No API key needed."),
    ),
    security(("api_key" = [])),
    components(schemas(ProblemBody, Code, Position)),
)]
pub(crate) struct Document;

/// Completes the document that the routes gave.
pub(crate) fn complete(document: &mut utoipa::openapi::OpenApi) {
    let codes: Vec<_> = Code::ALL
        .into_iter()
        .map(|code| {
            serde_json::json!({
                "code": code.as_str(), "status": code.status().as_u16(), "title": code.title(),
            })
        })
        .collect();
    document.extensions = Some(ExtensionsBuilder::new().add("x-error-codes", codes).build());
    document.servers = None;
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme(
        BEARER,
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("cameo_<prefix>_<secret>_<checksum>, or a JSON Web Token")
                .description(Some(
                    "An API key of one tenant, or an operator's key for all; where the server names an \
                     identity provider, a token of it.",
                ))
                .build(),
        ),
    );
    for (path, item) in &mut document.paths.paths {
        let PathItem { get, put, post, delete, patch, .. } = item;
        for operation in [get, put, post, delete, patch].into_iter().flatten() {
            bodies::complete(operation);
            parameters::complete(operation);
            for code in shared_codes(path, operation) {
                answers::add_problem(operation, code);
            }
            answers::complete(path, operation);
        }
    }
}

/// Writes into the operations of some paths which scope they need; without one, any caller that is let
/// in may do it.
pub(crate) fn declare_scope(paths: &mut Paths, scope: Option<Scope>) {
    for item in paths.paths.values_mut() {
        let PathItem { get, put, post, delete, patch, .. } = item;
        for operation in [get, put, post, delete, patch].into_iter().flatten() {
            let scope = scope.map_or(ANY_SCOPE, Scope::as_str);
            operation.extensions = Some(ExtensionsBuilder::new().add(SCOPE, scope).build());
        }
    }
}

fn shared_codes(path: &str, operation: &Operation) -> Vec<Code> {
    let mut codes = vec![Code::Internal, Code::Timeout];
    if path.starts_with("/v1/") {
        codes.extend([
            Code::InvalidRequest,
            Code::Unauthenticated,
            Code::MissingScope,
            Code::RateLimited,
            Code::TooManyAtOnce,
            Code::Overloaded,
            Code::Unavailable,
        ]);
    }
    if path.contains('{') {
        codes.push(Code::NotFound);
    }
    if operation.request_body.is_some() {
        codes.extend([Code::BodyTooLarge, Code::BodyTooSlow, Code::UnsupportedEncoding]);
    }
    if bodies::is_json(operation) {
        codes.extend([Code::MalformedJson, Code::UnsupportedMediaType, Code::InvalidBody]);
    }
    codes
}

/// A problem as it would be answered.
pub(crate) fn example(code: Code) -> serde_json::Value {
    serde_json::json!({
        "type": format!("/docs#error-{}", code.as_str()),
        "title": code.title(),
        "status": code.status().as_u16(),
        "detail": "what was expected, what was found, and what to do next",
        "instance": "urn:cameo:request:5f0c91d2a7b34e68-2a",
        "code": code.as_str(),
        "request_id": "5f0c91d2a7b34e68-2a",
    })
}

/// The answer of `/openapi.json`.
pub(crate) fn document_response(json: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60")),
    ];
    (headers, json).into_response()
}

/// The answer of `/docs`: one page that renders the document without anything from elsewhere.
pub(crate) async fn docs() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60")),
    ];
    (headers, DOCS).into_response()
}
