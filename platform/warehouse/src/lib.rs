//! The warehouse seam: where features are read from and predictions are mirrored to.
//!
//! Tenants write GoogleSQL only. [`Warehouse`] is the one seam that two engines stand behind: the
//! [`Lake`] (DuckDB over Parquet and CSV in a folder, the default) and BigQuery. Its four verbs are
//! *describe* (schema and cost of a query that is not run), *read* (streams of Arrow batches under
//! a memory limit), *load* (one generation of predictions, idempotent by load id) and *digest*
//! (count and checksum of what was loaded).
//!
//! [`googlesql`] turns GoogleSQL into DuckDB's SQL through an allow-list: what is not known to mean
//! the same is refused at its line, never run because it looks right. [`PostProcess`] runs
//! `predictions.sql` over scored rows.

// DuckDB, GoogleSQL and BigQuery are names, not code.
#![allow(clippy::doc_markdown)]
// A printer prints what is printed.
#![allow(clippy::similar_names)]
// Queries are short; `write!` would add an error that cannot happen.
#![allow(clippy::format_push_string)]

mod batches;
mod engine;
mod error;
pub mod googlesql;
mod lake;
mod postprocess;
mod seam;
mod unconfined;

pub use error::WarehouseError;
pub use googlesql::SqlError;
pub use lake::{Lake, LakeLimits};
pub use postprocess::{Describer, PostProcess};
pub use seam::{
    BatchStream, Erased, LOAD_ID_BYTES_MAX, LoadId, LoadIdError, LoadOutcome, MirrorTable,
    Parameters, Query, QueryDescription, ReadOptions, ReadOutcome, TableStats, Warehouse,
};
pub use unconfined::run_unconfined;
