//! Who calls, and what a caller may see.
//!
//! [`key`] is the shape of an API key: generated once, shown once, kept as a hash. [`caller`] holds
//! the one permission check of the platform. [`authenticator`] turns the text of a key into a
//! [`Caller`] without a query on the hot path.

pub mod authenticator;
pub mod caller;
pub mod key;
mod reach;

pub use authenticator::{AuthenticateError, Authenticator};
pub use caller::Caller;
pub use key::{ApiKey, KeyError, KeyHash, PresentedKey};
