//! Lets a request through to the routes of a tenant, or not.
//!
//! One [`Gate`] before all of `/v1`, so a new route cannot forget it: the credential must be valid, and where
//! the route names a tenant or a service, the caller must be allowed to see it. Otherwise the answer is
//! the same as for one that does not exist, and it comes before any body is read. A method that a route lacks is
//! told to those alone who are let in. Each route states
//! the scope that it needs where the router takes it in; [`require`] holds the caller to it.

use std::sync::Arc;

use axum::{
    body::HttpBody,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::Route,
};
use cameo_access::{AuthenticateError, Caller, Identity};
use cameo_checkpoint::{Check, is_off, passes};
use cameo_domain::{Scope, Scopes, Services, TenantName};

use tower::Service as _;

use crate::{
    actions::Actions,
    app::App,
    extract::{PathParams, SERVICE, TENANT},
    limits,
    problem::{Code, Problem},
};

/// Largest body of a route that says nothing else.
const BODY_BYTES_MAX: usize = 64 << 10;
const SCHEME: &str = "bearer ";

/// What a caller may do with what the path names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Permit {
    scopes: Scopes,
    sight: Sight,
}

/// How much a caller may see of what a route is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// All of it: the one service that the path names, or every service.
    Whole,
    /// Some services alone, while the path names none.
    SomeServices,
}

/// Whether a route tells the services of a tenant apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breadth {
    /// No: it is about one service, or closed to callers who may see some services alone.
    Whole,
    /// Yes: it is about several, and shows a caller its own.
    ByService,
}

/// What stands before the routes of tenants; see the module.
#[derive(Clone)]
pub(crate) struct Gate {
    actions: Arc<Actions>,
}

impl Gate {
    /// Before routes that have these actions.
    pub(crate) fn new(actions: Actions) -> Self {
        Self { actions: Arc::new(actions) }
    }

    /// Lets a request through to its route, or answers it.
    pub(crate) async fn pass(&self, app: &App, mut route: Route, mut request: Request) -> Response {
        let (caller, params) = match caller_of(app, &mut request).await {
            Ok(known) => known,
            Err(problem) => return problem.into_response(),
        };
        let allowed = match limits::enter(&app.limits, &caller, params.find(TENANT), &request) {
            Ok(allowed) => allowed,
            Err(refusal) => return *refusal,
        };
        if !request.body().is_end_stream() {
            DefaultBodyLimit::max(BODY_BYTES_MAX).apply(&mut request);
        }
        let mut response = match self.actions.check(&request, &params) {
            Ok(()) => route.call(request).await.into_response(),
            Err(problem) => problem.into_response(),
        };
        allowed.leave(&mut response);
        response
    }
}

/// Lets a request through to a route that needs a scope, or not.
pub(crate) fn require(
    scope: Scope,
    breadth: Breadth,
    request: &mut Request,
) -> Result<(), Problem> {
    let extensions = request.extensions();
    let (Some(caller), Some(permit)) =
        (extensions.get::<Arc<Caller>>(), extensions.get::<Permit>())
    else {
        // Nobody has looked at who this is.
        return Err(Problem::internal());
    };
    if !passes(Check::ScopeOfRoute, permit.scopes.allow(scope)) {
        return Err(lacks(caller, scope, permit.scopes));
    }
    let is_seen = permit.sight == Sight::Whole || breadth == Breadth::ByService;
    if !passes(Check::BreadthOfRoute, is_seen) {
        let detail =
            "this is about all services together, and this API key is for some of them alone";
        return Err(Problem::new(Code::MissingScope, detail));
    }
    Ok(())
}

/// What a caller is told who has not got a scope.
pub(crate) fn lacks(caller: &Caller, scope: Scope, has: Scopes) -> Problem {
    let has = if has == Scopes::NONE { "none".to_owned() } else { has.to_string() };
    let detail = match caller.identity() {
        Identity::Key { .. } => format!(
            "this needs an API key with the scope `{scope}`, this one has: {has}; \
             `cameo keys create --scope {scope}` makes one"
        ),
        Identity::Person { .. } => format!(
            "this needs the scope `{scope}`, your groups give you: {has}; ACCESS of the tenant's \
             tenant.yaml says what each group may do"
        ),
    };
    Problem::new(Code::MissingScope, detail)
}

/// Which services of the tenant a list may tell the caller of.
pub(crate) fn visible(caller: &Caller, tenant: &TenantName, check: Check) -> Services {
    if is_off(check) { Services::All } else { caller.services(tenant.as_str()) }
}

/// Checks credential, tenant and service, and notes with the request who asks.
async fn caller_of(app: &App, request: &mut Request) -> Result<(Arc<Caller>, PathParams), Problem> {
    let params = PathParams::of(request)?;
    let credential = bearer_of(request.headers()).ok_or_else(|| {
        Problem::new(
            Code::Unauthenticated,
            "expected a header `Authorization: Bearer cameo_…`; `cameo keys create` makes a key",
        )
    })?;
    let caller = app.authenticator.authenticate(credential).await.map_err(refused)?;
    let permit = permit_of(&caller, &params).ok_or_else(Problem::not_found)?;
    let extensions = request.extensions_mut();
    extensions.insert(Arc::clone(&caller));
    extensions.insert(permit);
    Ok((caller, params))
}

/// What the caller may do with what the path names; nothing where it may not see it.
fn permit_of(caller: &Caller, params: &PathParams) -> Option<Permit> {
    let Some(tenant) = params.find(TENANT) else {
        let sight = if caller.sees_all_services() { Sight::Whole } else { Sight::SomeServices };
        return Some(Permit { scopes: caller.scopes_somewhere(), sight });
    };
    let Some(grant) = caller.grant(tenant) else {
        let permit = Permit { scopes: caller.scopes_somewhere(), sight: Sight::Whole };
        return is_off(Check::TenantOfPath).then_some(permit);
    };
    let sight = match params.find(SERVICE) {
        Some(segment) => {
            // What follows a colon is an action on the service.
            let service = segment.split(':').next().unwrap_or_default();
            if !passes(Check::ServiceOfPath, grant.services.contain(service)) {
                return None;
            }
            Sight::Whole
        }
        None if grant.services == Services::All => Sight::Whole,
        None => Sight::SomeServices,
    };
    Some(Permit { scopes: grant.scopes, sight })
}

fn bearer_of(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| key.trim_matches(' '))
}

fn refused(error: AuthenticateError) -> Problem {
    match error {
        AuthenticateError::Key(error) => Problem::new(Code::Unauthenticated, error.to_string()),
        AuthenticateError::Token(error) => Problem::new(Code::Unauthenticated, error.to_string()),
        AuthenticateError::Refused => Problem::new(
            Code::Unauthenticated,
            "the API key is unknown, expired or revoked; ask the platform's operators for another",
        ),
        AuthenticateError::Issuer(why) => {
            tracing::warn!(why, "cannot check a token");
            Problem::new(Code::Unavailable, "the token cannot be checked now; try again")
        }
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
