//! Segments: the customers for whom a condition over predictions holds.
//!
//! A condition is SQL over the columns of one or several services of a tenant, joined by customer.
//! This crate is pure: it is handed predictions as sorted Arrow batches, and gives members, what changed
//! among them, and both in the formats that other programs take.

#[cfg(test)]
mod arbitrary;
pub mod braze;
pub mod changes;
mod condition;
pub mod cursor;
mod declared;
mod definition;
mod evaluate;
pub mod export;
mod keys;
pub mod members;
pub mod membership;
mod share;

pub use condition::{
    CONDITION_BYTES_MAX, Catalog, ColumnRef, Condition, ConditionError, DEPTH_MAX, Fault,
    TOKENS_MAX, Unnamed,
};
pub use declared::Declared;
pub use definition::{
    ATTRIBUTES_MAX, DESCRIPTION_BYTES_MAX, Definition, DefinitionError, Draft, Read,
};
pub use evaluate::{Count, EvaluateError, Members, Selection, Source, count};
pub use share::{BUCKETS, SALT_BYTES_MAX, Share, ShareError, bucket};
