//! Typed batches of predictions over Arrow.
//!
//! The platform moves rows as Arrow record batches. This crate says how a declared prediction
//! schema looks in Arrow ([`arrow_schema`]), brings what SQL or a model gave into that shape
//! ([`conform`]), and sums rows up in a digest that Postgres computes too ([`RowDigest`]).

mod conform;
mod digest;
mod pghash;
mod types;

pub use conform::{ConformError, conform};
pub use digest::{NULL_FLOAT, NULL_INT, NULL_TEXT, NULL_TIMESTAMP, RowDigest, column_salt};
pub use types::{arrow_schema, arrow_type, is_assignable};
