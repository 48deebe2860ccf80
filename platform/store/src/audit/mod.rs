//! The audit trail: every change of state by whom, when and from where.
//!
//! Triggers of the database add the entries (migration 0007), so nothing here writes one; a
//! transaction only says on whose behalf it acts ([`crate::By`]). Each entry carries the hash of the
//! one before. [`verify`] walks that chain and compares it with its head and with the anchors that
//! [`due_anchor`] gave to be kept outside the database.

mod anchor;
mod chain;
mod list;
mod verify;

pub use anchor::{ANCHOR_ENTRIES, ANCHOR_SECONDS, due_anchor, note_anchor};
pub use chain::{Break, Broken};
pub use list::{AuditEntry, AuditFilter, PAGE_ENTRIES_MAX, list};
pub use verify::{Verified, verify};
