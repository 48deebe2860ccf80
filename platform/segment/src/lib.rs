//! Segments: the customers for whom a condition over predictions holds.
//!
//! A condition is SQL over the columns of one or several services of a tenant, joined by customer.
//! This crate is pure: it is handed predictions as sorted Arrow batches, and gives members, what changed
//! among them, and both in the formats that other programs take.

pub mod braze;
pub mod changes;
pub mod cursor;
pub mod export;
mod keys;
pub mod members;
pub mod membership;
