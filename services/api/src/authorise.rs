//! Lets a request through to the routes of a tenant, or not.
//!
//! One layer around all of `/v1`, so a new route cannot forget it: the key must be valid, and where
//! the route names a tenant, the caller must be allowed to see that tenant. Otherwise the answer is
//! the same as for a tenant that does not exist, and it comes before any body is read. Each route states
//! the scope that it needs where the router takes it in; the layer [`require`] holds the key to it.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use cameo_access::{AuthenticateError, Caller};
use cameo_domain::Scope;

use crate::{
    app::App,
    extract::{PathParams, TENANT},
    limits::limited,
    problem::{Code, Problem},
};

const SCHEME: &str = "bearer ";

/// Checks key and tenant; see the module.
pub(crate) async fn authorise(
    State(app): State<App>,
    params: PathParams,
    mut request: Request,
    next: Next,
) -> Response {
    match caller_of(&app, request.headers(), &params).await {
        Ok(caller) => {
            request.extensions_mut().insert(Arc::clone(&caller));
            limited(&app, &caller, params.find(TENANT), request, next).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Lets a request through to a route that needs a scope, or not.
pub(crate) async fn require(
    scope: Scope,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
    next: Next,
) -> Response {
    if caller.may(scope) {
        return next.run(request).await;
    }
    let detail = format!(
        "this needs an API key with the scope `{scope}`, this one has: {}; \
         `cameo keys create --scope {scope}` makes one",
        caller.scopes()
    );
    Problem::new(Code::MissingScope, detail).into_response()
}

async fn caller_of(
    app: &App,
    headers: &HeaderMap,
    params: &PathParams,
) -> Result<Arc<Caller>, Problem> {
    let key = bearer_of(headers).ok_or_else(|| {
        Problem::new(
            Code::Unauthenticated,
            "expected a header `Authorization: Bearer cameo_…`; `cameo keys create` makes a key",
        )
    })?;
    let caller = app.authenticator.authenticate(key).await.map_err(refused)?;
    match params.find(TENANT) {
        Some(tenant) if !caller.may_access(tenant) => Err(Problem::not_found()),
        _ => Ok(caller),
    }
}

fn bearer_of(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| key.trim_matches(' '))
}

fn refused(error: AuthenticateError) -> Problem {
    match error {
        AuthenticateError::Key(error) => Problem::new(Code::Unauthenticated, error.to_string()),
        AuthenticateError::Refused => Problem::new(
            Code::Unauthenticated,
            "the API key is unknown, expired or revoked; ask the platform's operators for another",
        ),
        AuthenticateError::Store(error) => {
            tracing::warn!(%error, "cannot check an API key");
            Problem::new(Code::Unavailable, "the API key cannot be checked now; try again")
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_scheme_is_read_in_any_case_and_nothing_else_is_a_bearer() {
        let of = |text: &'static str| {
            let headers =
                HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(text))]);
            bearer_of(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer cameo_x").as_deref(), Some("cameo_x"));
        assert_eq!(of("bearer  cameo_x").as_deref(), Some("cameo_x"));
        assert_eq!(of("Basic Y2FtZW8="), None);
        assert_eq!(of("Bearer"), None);
    }
}
