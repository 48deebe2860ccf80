//! One folder with everything of an installation that cannot be made again, and the way back from it.
//!
//! A backup is of one instant: the control plane and the predictions of every kept generation as one snapshot of the
//! database, then the artifacts that its rows refer to, which never change. It is taken while everybody goes
//! on. What follows from the rest (snapshots of generations, views, rights) is made again after it was
//! restored; the Lake, its mirror and the operator's master key are not in it.
//!
//! ```text
//! manifest.json                        what it is, and what there is in it
//! tables/<schema>.<table>.copy.zst     rows in the text format of COPY
//! artifacts/<sha256>                   models, members of segments
//! anchors.json                         anchors of the audit trail
//! SHA256SUMS                           of all of these, as sha256sum(1) checks them
//! ```

mod check;
mod error;
mod files;
mod manifest;
mod restore;
mod take;

pub use check::{Checked, check};
pub use error::BackupError;
pub use manifest::{Manifest, TableRows};
pub use restore::{Restored, restore};
pub use take::{Taken, take};
