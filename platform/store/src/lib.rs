//! All SQL of the platform: the control plane, and the generations of predictions.
//!
//! One module per aggregate. Every function takes the tenant, except the queue's, which serve all
//! tenants in turn; another tenant's row is *not found*. The database decides: what must hold is a
//! constraint, a trigger or a lock here, never a promise of the caller ([`invariants`] lists it).
//!
//! # Cancellation
//! A future of this crate may be dropped at any await point. Whatever must not be half done runs on
//! a task of its own that finishes regardless ([`Store`] says how), because a transaction that is
//! dropped while it begins stays open on its pooled connection in sqlx 0.9 (its issue 4385). The pool hands out
//! no such connection. `tests/soak cancellation` drops every public async function of this crate at each of its awaits.

pub mod audit;
pub mod backup;
mod by;
mod connect;
pub mod erasures;
mod error;
pub mod explanations;
pub mod exports;
#[cfg(test)]
mod fixture;
pub mod generations;
mod idle;
pub mod invariants;
pub mod keys;
pub mod leases;
pub mod limits;
pub mod lineage;
pub mod logins;
pub mod lookup;
pub mod outbox;
mod patience;
pub mod quarantine;
pub mod releases;
mod row;
pub mod runs;
pub mod schedule;
pub mod schema;
pub mod segments;
mod server_process;
pub mod services;
pub mod snapshots;
pub mod tenant_keys;
pub mod tenants;
pub mod verdicts;
pub mod webhooks;

pub use by::By;
pub use connect::{ConnectOptions, Store};
pub use error::StoreError;
