//! Tokens of an identity provider: OpenID Connect, JSON Web Tokens after RFC 7519 and 9068.
//!
//! The operator names one issuer, the audience that tokens must be meant for and the algorithms that
//! they may be signed with. `issuer` finds and keeps the issuer's keys, `key_set` reads them, `token`
//! checks a token against all of that. Nothing is kept of a person: what a token says counts until the
//! token ends.

mod config;
mod issuer;
mod key_set;
mod token;

pub use config::{COOL_DOWN, OidcConfig, OidcConfigError, TokenAlgorithm};
pub use token::{LIFETIME_MAX, TOKEN_BYTES_MAX, TokenError, check_header};
pub(crate) use token::{Tokens, Verified};
