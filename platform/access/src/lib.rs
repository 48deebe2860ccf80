//! Who calls, and what a caller may see.
//!
//! [`key`] is the shape of an API key: generated once, shown once, kept as a hash. [`oidc`] checks the
//! tokens of an identity provider. [`caller`] holds the permission checks of the platform.
//! [`authenticator`] turns the text of a key or token into a [`Caller`] without a query on the hot path:
//! what it let in lately is in `admitted`, what the database says of keys in `records`, and what
//! tenants say of groups in `groups`.

mod admitted;
pub mod authenticator;
pub mod caller;
mod groups;
pub mod key;
pub mod oidc;
mod records;

pub use authenticator::{AuthenticateError, Authenticator};
pub use caller::{Caller, Grant, Identity};
pub use key::{ApiKey, KeyError, KeyHash, PresentedKey};
pub use oidc::{OidcConfig, TokenAlgorithm, TokenError};
