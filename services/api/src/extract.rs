//! Reads what a request carries: path, query, body.

use std::{mem, ops::Deref};

use axum::{
    extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request},
    http::{header, request::Parts},
};
use cameo_domain::{ServiceName, TenantName};
use futures_util::FutureExt as _;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};

use crate::{
    app::App,
    body::{self, Received},
    problem::{Code, Problem},
};

/// The name that every tenant's route gives the tenant in its template.
pub(crate) const TENANT: &str = "tenant";
/// The name that every service's route gives the service in its template.
pub(crate) const SERVICE: &str = "service";

/// The parameters of the path, decoded. The route's template says which there are.
pub(crate) struct PathParams(RawPathParams);

impl PathParams {
    /// Those of a request that is on its way to a handler.
    pub(crate) fn of(request: &mut Request) -> Result<Self, Problem> {
        let (mut parts, body) = mem::take(request).into_parts();
        let params = Self::from_request_parts(&mut parts, &()).now_or_never();
        *request = Request::from_parts(parts, body);
        // They have been read by the router; nothing is waited for.
        params.unwrap_or_else(|| Err(Problem::internal()))
    }

    /// The text of a parameter, where the route has it.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// The text of a parameter; empty where the route has no such parameter.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }

    /// The tenant; a text that is no name belongs to nobody.
    pub(crate) fn tenant(&self) -> Result<TenantName, Problem> {
        self.text(TENANT).parse().map_err(|_| Problem::not_found())
    }

    /// The service; a text that is no name is no service.
    pub(crate) fn service(&self) -> Result<ServiceName, Problem> {
        self.text(SERVICE).parse().map_err(|_| Problem::not_found())
    }

    /// The number of something; a text that is no number names nothing.
    pub(crate) fn number(&self, name: &str) -> Result<i64, Problem> {
        self.text(name).parse().map_err(|_| Problem::not_found())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathParams {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        params.map(Self).map_err(|_| {
            Problem::new(Code::InvalidRequest, "a segment of the path is not UTF-8 once decoded")
        })
    }
}

/// The query's parameters.
pub(crate) struct QueryParams<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Problem::new(Code::InvalidRequest, rejection.body_text())),
        }
    }
}

/// A body that is declared as JSON and within the route's limit, not yet read.
pub(crate) struct JsonBytes(Received);

impl JsonBytes {
    /// Reads the body; what it borrows from stays with `self`.
    pub(crate) fn read<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        // Every body is an object; a list of its members' values would be read as one as well.
        if self.0.bytes.trim_ascii_start().starts_with(b"[") {
            let detail = "expected an object, found a list";
            return Err(Problem::new(Code::InvalidBody, detail).at(1, 1));
        }
        serde_json::from_slice(&self.0.bytes).map_err(|error| {
            let code = if error.is_data() { Code::InvalidBody } else { Code::MalformedJson };
            // The position has members of its own; the message need not repeat it.
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            Problem::new(code, message.to_owned()).at(error.line(), error.column())
        })
    }
}

impl Deref for JsonBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl FromRequest<App> for JsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        if !kind.is_some_and(|kind| is_json(kind.as_bytes())) {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "expected a header `Content-Type: application/json`",
            ));
        }
        body::receive(request, app, app.config.body_timeout).await.map(Self)
    }
}

/// The integer that a number is: to JSON, `42.0` is one as well.
#[expect(clippy::cast_possible_truncation, reason = "the comparison finds what does not fit")]
pub(crate) fn whole(number: f64) -> Option<i64> {
    let integer = number as i64;
    let same = integer as f64;
    // Beyond 2^53 a number of a fraction's form says less than its digits do.
    (same.total_cmp(&number).is_eq() && number.abs() <= 9_007_199_254_740_992.0).then_some(integer)
}

/// Reads an integer in either form, for a member that may be left out.
pub(crate) fn whole_number<'de, D: Deserializer<'de>, T: TryFrom<i64>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let integer = number.as_i64().or_else(|| number.as_f64().and_then(whole));
    let fitting = integer.and_then(|integer| T::try_from(integer).ok());
    let wrong = || D::Error::custom(format_args!("expected an integer in range, found {number}"));
    fitting.map(Some).ok_or_else(wrong)
}

/// A body that may be left out: nothing, or JSON.
pub(crate) struct OptionalJsonBytes(pub(crate) Option<JsonBytes>);

impl FromRequest<App> for OptionalJsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        if request.headers().contains_key(header::CONTENT_TYPE) {
            return Ok(Self(Some(JsonBytes::from_request(request, app).await?)));
        }
        match body::receive(request, app, app.config.body_timeout).await? {
            received if received.bytes.is_empty() => Ok(Self(None)),
            _ => Err(Problem::new(
                Code::UnsupportedMediaType,
                "a body needs a header `Content-Type: application/json`",
            )),
        }
    }
}

fn is_json(kind: &[u8]) -> bool {
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_an_integer_in_either_form() {
        assert_eq!(whole(42.0), Some(42));
        assert_eq!(whole(-3.0), Some(-3));
        for other in [1.5, f64::NAN, f64::INFINITY, 1e300, 9_223_372_036_854_775_808.0] {
            assert_eq!(whole(other), None, "{other}");
        }
    }
}
