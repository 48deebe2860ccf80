//! Errors as answers: `application/problem+json` after RFC 9457.
//!
//! A handler returns a [`Problem`]; the envelope (see [`crate::envelope`]) writes its body, because
//! only it knows the request's id. Nothing else writes an error body, so no error has another shape.

use std::borrow::Cow;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cameo_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

/// Media type of every error.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";
/// After how many seconds a refused caller should come back, where nothing better is known.
pub(crate) const RETRY_AFTER_SECONDS: u32 = 1;

/// What went wrong, as a stable word that programs can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// The body is no JSON.
    MalformedJson,
    /// A path segment, query parameter or header has no valid value.
    InvalidRequest,
    /// The key is not of the type that the service declares.
    InvalidKey,
    /// The cursor is none that was given, or not for this.
    InvalidCursor,
    /// No API key, or one that is not valid.
    Unauthenticated,
    /// The API key has not the scope that the route needs.
    MissingScope,
    /// Nothing is there, or nothing that this caller may see.
    NotFound,
    /// The service has no prediction for the key.
    UnknownKey,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// There is no answer in a format that the caller takes.
    NotAcceptable,
    /// The segment was not materialised yet.
    NotMaterialised,
    /// The materialisation of the segment is no longer kept.
    MaterialisationGone,
    /// The erasure is not done yet.
    ErasureGoesOn,
    /// The server has no key to sign receipts with.
    ReceiptsNotSigned,
    /// The service has not published predictions yet.
    NotPublished,
    /// The generation is not explained.
    NotExplained,
    /// The service computes explanations on demand, which this API cannot.
    ExplanationNotStored,
    /// No other generation is kept that the service could go back to.
    NothingToRollBackTo,
    /// The release cannot go to that stage, or not now.
    PromotionRefused,
    /// The API key opens nothing any more, or was rotated already.
    KeyEnded,
    /// The bundle would break consumers of the service, and nobody accepted that.
    BreaksConsumers,
    /// No release of the service is in production, so nothing can run.
    NothingInProduction,
    /// The body exceeds the route's limit, or would once decompressed.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTooSlow,
    /// The body is compressed in a way that the server does not read.
    UnsupportedEncoding,
    /// The body is no package, or not one that is trusted.
    InvalidPackage,
    /// The bundle has problems, so it cannot be planned or applied.
    UnsoundBundle,
    /// The segment does not fit what the tenant's services predict.
    InvalidSegment,
    /// The segment is defined in another place, and changed there.
    SegmentDefinedElsewhere,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The body is JSON, but not of the expected shape.
    InvalidBody,
    /// The key made as many requests as it may.
    RateLimited,
    /// The tenant has as many requests in flight as it may.
    TooManyAtOnce,
    /// A fault of the server.
    Internal,
    /// The server has as much to do as it can bear.
    Overloaded,
    /// The database cannot be reached.
    Unavailable,
    /// The request took longer than the server allows.
    Timeout,
}

impl Code {
    /// Every code, in the order in which the reference lists them.
    pub(crate) const ALL: [Self; 37] = [
        Self::MalformedJson,
        Self::InvalidRequest,
        Self::InvalidKey,
        Self::InvalidCursor,
        Self::Unauthenticated,
        Self::MissingScope,
        Self::NotFound,
        Self::UnknownKey,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::NotMaterialised,
        Self::MaterialisationGone,
        Self::ErasureGoesOn,
        Self::ReceiptsNotSigned,
        Self::NotPublished,
        Self::NotExplained,
        Self::ExplanationNotStored,
        Self::NothingToRollBackTo,
        Self::PromotionRefused,
        Self::KeyEnded,
        Self::BreaksConsumers,
        Self::NothingInProduction,
        Self::BodyTooLarge,
        Self::BodyTooSlow,
        Self::UnsupportedEncoding,
        Self::InvalidPackage,
        Self::UnsoundBundle,
        Self::InvalidSegment,
        Self::SegmentDefinedElsewhere,
        Self::UnsupportedMediaType,
        Self::InvalidBody,
        Self::RateLimited,
        Self::TooManyAtOnce,
        Self::Internal,
        Self::Overloaded,
        Self::Unavailable,
        Self::Timeout,
    ];

    /// The word in the `code` member.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The status that it is answered with.
    #[must_use]
    pub(crate) fn status(self) -> StatusCode {
        self.row().1
    }

    /// The short sentence that never changes.
    #[must_use]
    pub(crate) fn title(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedJson => ("malformed_json", S::BAD_REQUEST, "The body is not JSON"),
            Self::InvalidRequest => {
                ("invalid_request", S::BAD_REQUEST, "The request is not well formed")
            }
            Self::InvalidKey => {
                ("invalid_key", S::BAD_REQUEST, "The key is not of the declared type")
            }
            Self::InvalidCursor => ("invalid_cursor", S::BAD_REQUEST, "The cursor cannot be used"),
            Self::Unauthenticated => {
                ("unauthenticated", S::UNAUTHORIZED, "A valid API key is needed")
            }
            Self::MissingScope => ("missing_scope", S::FORBIDDEN, "The API key may not do this"),
            Self::NotFound => ("not_found", S::NOT_FOUND, "Nothing is here"),
            Self::UnknownKey => ("unknown_key", S::NOT_FOUND, "No prediction for this key"),
            Self::MethodNotAllowed => {
                ("method_not_allowed", S::METHOD_NOT_ALLOWED, "The route has no such method")
            }
            Self::NotAcceptable => ("not_acceptable", S::NOT_ACCEPTABLE, "There is no such format"),
            Self::NotMaterialised => {
                ("not_materialised", S::CONFLICT, "The segment has no members yet")
            }
            Self::MaterialisationGone => {
                ("materialisation_gone", S::GONE, "The materialisation is no longer kept")
            }
            Self::ErasureGoesOn => ("erasure_goes_on", S::CONFLICT, "The erasure is not done yet"),
            Self::ReceiptsNotSigned => {
                ("receipts_not_signed", S::CONFLICT, "There is no key to sign receipts with")
            }
            Self::NotPublished => {
                ("not_published", S::CONFLICT, "The service has not published predictions yet")
            }
            Self::NotExplained => {
                ("not_explained", S::NOT_FOUND, "The generation is not explained")
            }
            Self::ExplanationNotStored => {
                ("explanation_not_stored", S::CONFLICT, "The service stores no explanations")
            }
            Self::NothingToRollBackTo => {
                ("nothing_to_roll_back_to", S::CONFLICT, "No such generation is kept")
            }
            Self::PromotionRefused => {
                ("promotion_refused", S::CONFLICT, "The release cannot go there now")
            }
            Self::KeyEnded => ("key_ended", S::CONFLICT, "The API key cannot be rotated"),
            Self::BreaksConsumers => {
                ("breaks_consumers", S::CONFLICT, "Consumers of the service would break")
            }
            Self::NothingInProduction => {
                ("nothing_in_production", S::CONFLICT, "No release is in production")
            }
            Self::BodyTooLarge => ("body_too_large", S::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::BodyTooSlow => {
                ("body_too_slow", S::REQUEST_TIMEOUT, "The body took too long to arrive")
            }
            Self::UnsupportedEncoding => (
                "unsupported_encoding",
                S::UNSUPPORTED_MEDIA_TYPE,
                "The body is compressed in an unknown way",
            ),
            Self::InvalidPackage => {
                ("invalid_package", S::UNPROCESSABLE_ENTITY, "The package cannot be used")
            }
            Self::UnsoundBundle => {
                ("unsound_bundle", S::UNPROCESSABLE_ENTITY, "The bundle has problems")
            }
            Self::InvalidSegment => {
                ("invalid_segment", S::UNPROCESSABLE_ENTITY, "The segment cannot be defined so")
            }
            Self::SegmentDefinedElsewhere => {
                ("segment_defined_elsewhere", S::CONFLICT, "The segment is defined elsewhere")
            }
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", S::UNSUPPORTED_MEDIA_TYPE, "The body must be JSON")
            }
            Self::InvalidBody => {
                ("invalid_body", S::UNPROCESSABLE_ENTITY, "The body has not the expected shape")
            }
            Self::RateLimited => {
                ("rate_limited", S::TOO_MANY_REQUESTS, "The key made as many requests as it may")
            }
            Self::TooManyAtOnce => (
                "too_many_at_once",
                S::TOO_MANY_REQUESTS,
                "The tenant has too many requests in flight",
            ),
            Self::Internal => ("internal", S::INTERNAL_SERVER_ERROR, "The server failed"),
            Self::Overloaded => ("overloaded", S::SERVICE_UNAVAILABLE, "The server is overloaded"),
            Self::Unavailable => {
                ("unavailable", S::SERVICE_UNAVAILABLE, "The database cannot be reached")
            }
            Self::Timeout => ("timeout", S::GATEWAY_TIMEOUT, "The request took too long"),
        }
    }

    /// The code that fits an error status which no handler explained, such as the router's own.
    #[must_use]
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthenticated,
            StatusCode::FORBIDDEN => Self::MissingScope,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Self::BodyTooSlow,
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited,
            StatusCode::NOT_ACCEPTABLE => Self::NotAcceptable,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::UNPROCESSABLE_ENTITY => Self::InvalidBody,
            StatusCode::SERVICE_UNAVAILABLE => Self::Overloaded,
            StatusCode::GATEWAY_TIMEOUT => Self::Timeout,
            other if other.is_client_error() => Self::InvalidRequest,
            _ => Self::Internal,
        }
    }
}

/// Where in a body, or in the condition of a segment, the reader stopped, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Position {
    /// Line of the body.
    #[schema(example = 1)]
    pub(crate) line: usize,
    /// Column of that line, in bytes.
    #[schema(example = 12)]
    pub(crate) column: usize,
}

/// An error on its way to the caller.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    /// The stable word.
    pub(crate) code: Code,
    /// What was expected, what was found, and what to do next.
    pub(crate) detail: Cow<'static, str>,
    /// Where in the body.
    pub(crate) position: Option<Position>,
    /// Everything that was found, where it is more than one thing.
    pub(crate) findings: Option<serde_json::Value>,
    /// Headers beside the body's own.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem with its explanation.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut headers = Vec::new();
        match code {
            Code::Unauthenticated => {
                headers.push((
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"cameo\", charset=\"UTF-8\""),
                ));
            }
            Code::Overloaded | Code::Unavailable | Code::TooManyAtOnce => {
                headers.push((header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS)));
            }
            // What is left of the body would be read as the next request.
            Code::BodyTooSlow => {
                headers.push((header::CONNECTION, HeaderValue::from_static("close")));
            }
            Code::UnsupportedEncoding => {
                headers.push((header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd")));
            }
            _ => {}
        }
        Self { code, detail: detail.into(), position: None, findings: None, headers }
    }

    /// What a caller learns about things that are not there, and about things that are not theirs.
    #[must_use]
    pub(crate) fn not_found() -> Self {
        Self::new(
            Code::NotFound,
            "nothing is here that this API key may see; check the path against /docs",
        )
    }

    /// A fault of the server. The cause goes to the log, never to the caller.
    #[must_use]
    pub(crate) fn internal() -> Self {
        Self::new(
            Code::Internal,
            "the server failed; the log has the cause under this request's id",
        )
    }

    /// Says where in the body.
    #[must_use]
    pub(crate) fn at(mut self, line: usize, column: usize) -> Self {
        self.position = Some(Position { line, column });
        self
    }

    /// Lists everything that was found.
    #[must_use]
    pub(crate) fn with_findings(mut self, findings: &impl Serialize) -> Self {
        self.findings = serde_json::to_value(findings).ok();
        self
    }

    /// Adds headers to the answer.
    #[must_use]
    pub(crate) fn with_headers(
        mut self,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Self {
        self.headers.extend(headers);
        self
    }

    /// The complete answer to the request named `request_id`.
    #[must_use]
    pub(crate) fn render(self, request_id: &str) -> Response {
        let body = ProblemBody {
            kind: format!("/docs#error-{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: self.detail,
            instance: format!("urn:cameo:request:{request_id}"),
            code: self.code,
            request_id,
            position: self.position,
            findings: self.findings,
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.code.status(), body).into_response();
        let headers = response.headers_mut();
        headers.extend(self.headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// Where the reference explains this code.
    #[serde(rename = "type")]
    #[schema(example = "/docs#error-unknown_key")]
    kind: String,
    /// The code as a sentence; the same for every occurrence.
    #[schema(example = "No prediction for this key")]
    title: &'a str,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What was expected, what was found, and what to do next.
    #[schema(example = "marketing/gender has no prediction for key 17 in generation 42")]
    detail: Cow<'a, str>,
    /// Names this occurrence.
    #[schema(example = "urn:cameo:request:5f0c91d2a7b34e68-2a")]
    instance: String,
    /// The stable word that programs act on.
    code: Code,
    /// The same id as in the `x-request-id` header and in the server's log.
    #[schema(example = "5f0c91d2a7b34e68-2a")]
    request_id: &'a str,
    /// Where in the body the reader stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    /// Everything that was found in a bundle: problems with file and line, or changes that break consumers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    findings: Option<serde_json::Value>,
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(_) => Self::not_found(),
            StoreError::NoRollback(why) => Self::new(Code::NothingToRollBackTo, why),
            StoreError::Promotion(why) => Self::new(Code::PromotionRefused, why),
            StoreError::KeyEnded(why) => Self::new(Code::KeyEnded, why),
            error @ StoreError::NothingInProduction(_) => {
                Self::new(Code::NothingInProduction, error.to_string())
            }
            error @ StoreError::SegmentDefinedElsewhere { .. } => {
                Self::new(Code::SegmentDefinedElsewhere, error.to_string())
            }
            error @ StoreError::TooMany { what: "segments", .. } => {
                Self::new(Code::InvalidSegment, error.to_string())
            }
            StoreError::UnknownRelease(why) => Self::new(Code::NotFound, why),
            StoreError::AmbiguousRelease(why) => Self::new(Code::InvalidRequest, why),
            error @ StoreError::TooMany { .. } => {
                Self::new(Code::InvalidRequest, error.to_string())
            }
            StoreError::Key(error) => Self::new(Code::InvalidKey, error.to_string()),
            error if error.is_transient() => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the database failed");
                Self::new(Code::Unavailable, "the database cannot be asked now; try again")
            }
            error => {
                tracing::error!(error = &error as &dyn std::error::Error, "the store refused");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_spelled_as_it_is_serialised_and_is_an_error() {
        for code in Code::ALL {
            let json = serde_json::to_value(code).expect("a code serialises");
            assert_eq!(json, code.as_str());
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
    }
}
