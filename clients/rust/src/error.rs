//! Why a request has no answer.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer};

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server says why.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// The server cannot be reached, or the connection broke.
    #[error(
        "the server at {url} could not be asked: {source}; is the address right, and does it run?"
    )]
    Unreachable {
        /// Its address.
        url: String,
        /// What broke.
        source: reqwest::Error,
    },
    /// There was no answer in time, with all attempts.
    #[error("no answer within {} s; ask for less, or allow a longer deadline", .limit.as_secs_f64())]
    TimedOut {
        /// The time that was allowed.
        limit: Duration,
    },
    /// Something answers that is not the API, such as a proxy on the way.
    #[error("expected an answer of the Cameo API, found status {status}; is a proxy in between?")]
    NotCameo {
        /// What it answered.
        status: u16,
    },
    /// The answer has another shape than this version of the client knows.
    #[error(
        "an answer is not understood ({source}); is the server older or newer than this client?"
    )]
    NotUnderstood {
        /// What was not understood.
        source: serde_json::Error,
    },
    /// New predictions were published while the parts of a batch were asked, again and again.
    #[error(
        "new predictions were published each time that all parts were asked; ask for fewer keys at once"
    )]
    Moving,
    /// The client cannot be made like this.
    #[error("{0}")]
    Configuration(String),
}

impl Error {
    /// The code of the problem, where the server said one.
    #[must_use]
    pub fn code(&self) -> Option<&Code> {
        match self {
            Self::Problem(problem) => Some(&problem.code),
            _ => None,
        }
    }

    /// Whether nothing is there: no such tenant, service, run or customer, or none that the key may see.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.status == 404)
    }
}

/// An error of the API, after RFC 9457.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable word to act on.
    pub code: Code,
    /// The code as a sentence.
    pub title: String,
    /// What was expected, what was found, and what to do next.
    pub detail: String,
    /// Names the request in the server's log: give it when you ask for help.
    pub request_id: String,
    /// Where in the request's body the server stopped.
    pub position: Option<Position>,
    /// Everything that was found in a bundle.
    #[serde(default)]
    pub findings: Vec<serde_json::Value>,
}

/// Where in a body the server stopped, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column of that line, in bytes.
    pub column: usize,
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, detail, request_id, .. } = self;
        write!(f, "{detail} ({code}, request {request_id})")
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)*) => {
        /// What went wrong, as a word that programs act on.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $variant,)*
            /// A word that a newer server says.
            Other(String),
        }

        impl Code {
            /// Every word that this version of the client knows.
            pub const KNOWN: &[&str] = &[$($word),*];

            /// The word.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }
        }

        impl From<String> for Code {
            fn from(word: String) -> Self {
                match word.as_str() {
                    $($word => Self::$variant,)*
                    _ => Self::Other(word),
                }
            }
        }
    };
}

codes! {
    /// The body is no JSON.
    MalformedJson = "malformed_json",
    /// A path segment, query parameter or header has no valid value.
    InvalidRequest = "invalid_request",
    /// The key is not of the type that the service declares.
    InvalidKey = "invalid_key",
    /// No API key, or one that is not valid.
    Unauthenticated = "unauthenticated",
    /// The API key has not the scope that the route needs.
    MissingScope = "missing_scope",
    /// Nothing is there, or nothing that this caller may see.
    NotFound = "not_found",
    /// There is no prediction for the key.
    UnknownKey = "unknown_key",
    /// The route has no such method.
    MethodNotAllowed = "method_not_allowed",
    /// The service has not published predictions yet.
    NotPublished = "not_published",
    /// The generation is not explained.
    NotExplained = "not_explained",
    /// The service computes explanations on demand.
    ExplanationNotStored = "explanation_not_stored",
    /// No other generation is kept that the service could go back to.
    NothingToRollBackTo = "nothing_to_roll_back_to",
    /// The release cannot go to that stage, or not now.
    PromotionRefused = "promotion_refused",
    /// The bundle would break consumers of the service.
    BreaksConsumers = "breaks_consumers",
    /// The API key opens nothing any more, or was rotated already.
    KeyEnded = "key_ended",
    /// The body did not arrive in time.
    BodyTooSlow = "body_too_slow",
    /// The body is compressed in a way that the server does not read.
    UnsupportedEncoding = "unsupported_encoding",
    /// The key made as many requests as it may.
    RateLimited = "rate_limited",
    /// The tenant has as many requests in flight as it may.
    TooManyAtOnce = "too_many_at_once",
    /// The cursor is none that was given, or not for this.
    InvalidCursor = "invalid_cursor",
    /// There is no answer in a format that the caller takes.
    NotAcceptable = "not_acceptable",
    /// The erasure is not done yet.
    ErasureGoesOn = "erasure_goes_on",
    /// The server has no key to sign receipts with.
    ReceiptsNotSigned = "receipts_not_signed",
    /// The segment was not materialised yet.
    NotMaterialised = "not_materialised",
    /// The materialisation of the segment is no longer kept.
    MaterialisationGone = "materialisation_gone",
    /// The segment does not fit what the tenant's services predict.
    InvalidSegment = "invalid_segment",
    /// The segment is defined in another place, and changed there.
    SegmentDefinedElsewhere = "segment_defined_elsewhere",
    /// No release of the service is in production.
    NothingInProduction = "nothing_in_production",
    /// The body exceeds the route's limit.
    BodyTooLarge = "body_too_large",
    /// The body is no package, or not one that is trusted.
    InvalidPackage = "invalid_package",
    /// The bundle has problems.
    UnsoundBundle = "unsound_bundle",
    /// The body is not declared as JSON.
    UnsupportedMediaType = "unsupported_media_type",
    /// The body is JSON, but not of the expected shape.
    InvalidBody = "invalid_body",
    /// A fault of the server.
    Internal = "internal",
    /// The server has as much to do as it can bear.
    Overloaded = "overloaded",
    /// The database cannot be reached.
    Unavailable = "unavailable",
    /// The request took longer than the server allows.
    Timeout = "timeout",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_known_or_kept_as_it_was_said() {
        assert_eq!(Code::from("overloaded".to_owned()), Code::Overloaded);
        let newer = Code::from("from_tomorrow".to_owned());
        assert_eq!(
            (newer.as_str(), &newer),
            ("from_tomorrow", &Code::Other("from_tomorrow".into()))
        );
        for word in Code::KNOWN {
            let code = Code::from((*word).to_owned());
            assert!(!matches!(code, Code::Other(_)) && code.as_str() == *word);
        }
    }
}
