//! Predictions to those who ask: which generation a service shows, and what it says about a key.
//!
//! - [`pointers`] keeps the list of current generations in memory, so a look-up is one query.
//! - [`coalesce`] answers many single look-ups with one query each time a connection is free.
//! - [`snapshots`] are generations as mapped files; what has one is answered without a query.
//! - [`predictions`] are the use cases over all of them, and [`render`] writes what they found.
//! - [`memberships`] are the members of segments, read from files.
//! - [`profiles`] asks all services of a tenant about a customer.
//! - [`segments`] counts whom a condition chooses, over the snapshots of several services.
//! - [`card`] is what a team says of its model beside how the model does now.

pub mod card;
mod coalesce;
pub mod current;
pub mod error;
mod keeping;
pub mod memberships;
pub mod pointers;
pub mod predictions;
pub mod profiles;
pub mod render;
pub mod segments;
pub mod snapshots;

pub use cameo_snapshot::Cell;
pub use current::{Current, Freshness, Repeated};
pub use error::LookupError;
pub use pointers::SnapshotState;
pub use predictions::{Found, FoundMany, Predictions};
pub use render::Rows;
pub use snapshots::{SnapshotSettings, Snapshots};
