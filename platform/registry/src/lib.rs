//! From a bundle to a release: what `check`, `plan` and `apply` share, on the command line and in the API.
//!
//! [`inspection`] matches the steps of a bundle, [`release`] makes an immutable, content-addressed
//! release of it, [`plan`] tells beforehand what that would change, and [`apply()`] does it for a whole tree.

mod apply;
pub mod inspection;
pub mod plan;
pub mod release;
mod segments;
pub mod shared;

pub use apply::{AppliedTree, ArchivedService, Breaking, TreeOutcome, Wanted, apply, archive};
pub use inspection::{Inspection, Models, inspect, inspect_sharing};
pub use release::{AppliedBundle, ApplyError, register};
pub use shared::Shared;
