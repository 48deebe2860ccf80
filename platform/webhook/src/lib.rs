//! Webhooks: signed events over HTTPS to addresses that tenants choose.
//!
//! Bodies are CloudEvents 1.0 ([`event`]), signatures those of Standard Webhooks ([`secret`]). The address
//! comes from a tenant, so nothing of the platform's own network can be reached through it ([`guard`]), no
//! answer of it is read, and it is given little time ([`sender`]).

pub mod address;
pub mod event;
pub mod guard;
pub mod schedule;
pub mod secret;
pub mod sender;

pub use address::{Address, AddressError};
pub use event::{Event, SegmentChange};
pub use guard::Reach;
pub use secret::Secret;
pub use sender::{Message, Refusal, Sender};
