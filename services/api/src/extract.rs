//! Reads what a request carries: path, query, body.

use std::ops::Deref;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request},
    http::{StatusCode, header, request::Parts},
};
use cameo_domain::{ServiceName, TenantName};
use serde::de::DeserializeOwned;

use crate::problem::{Code, Problem};

/// The name that every tenant's route gives the tenant in its template.
pub(crate) const TENANT: &str = "tenant";
/// The name that every service's route gives the service in its template.
pub(crate) const SERVICE: &str = "service";

/// The parameters of the path, decoded. The route's template says which there are.
pub(crate) struct PathParams(RawPathParams);

impl PathParams {
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
pub(crate) struct JsonBytes(Bytes);

impl JsonBytes {
    /// Reads the body; what it borrows from stays with `self`.
    pub(crate) fn read<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        // Every body is an object; a list of its members' values would be read as one as well.
        if self.0.trim_ascii_start().starts_with(b"[") {
            let detail = "expected an object, found a list";
            return Err(Problem::new(Code::InvalidBody, detail).at(1, 1));
        }
        serde_json::from_slice(&self.0).map_err(|error| {
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
        &self.0
    }
}

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        if !kind.is_some_and(|kind| is_json(kind.as_bytes())) {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "expected a header `Content-Type: application/json`",
            ));
        }
        read_bytes(request, state).await.map(Self)
    }
}

/// A body that may be left out: nothing, or JSON.
pub(crate) struct OptionalJsonBytes(pub(crate) Option<JsonBytes>);

impl<S: Send + Sync> FromRequest<S> for OptionalJsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if request.headers().contains_key(header::CONTENT_TYPE) {
            return Ok(Self(Some(JsonBytes::from_request(request, state).await?)));
        }
        match read_bytes(request, state).await? {
            bytes if bytes.is_empty() => Ok(Self(None)),
            _ => Err(Problem::new(
                Code::UnsupportedMediaType,
                "a body needs a header `Content-Type: application/json`",
            )),
        }
    }
}

async fn read_bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            Code::BodyTooLarge,
            "the body exceeds this route's limit; send less at once",
        ),
        _ => Problem::new(Code::InvalidRequest, "the body ended before it was complete"),
    })
}

fn is_json(kind: &[u8]) -> bool {
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}
