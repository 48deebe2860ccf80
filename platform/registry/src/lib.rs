//! From a bundle to a release: what `check`, `plan` and `apply` share, on the command line and in the API.
//!
//! [`inspection`] matches the steps of a bundle, [`release`] makes an immutable, content-addressed
//! release of it.

pub mod inspection;
pub mod release;

pub use inspection::{Inspection, Models, inspect};
pub use release::{AppliedBundle, ApplyError, register};
