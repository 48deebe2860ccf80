//! The N best items per customer, in one pass over the customers.
//!
//! [`Ranking::load`] takes a model apart: what depends on the customer alone runs once per customer,
//! what depends on the item alone once per item ([`Ranking::over`]), and only the rest runs for
//! pairs. [`Ranker::rank`] turns a batch of customers into at most N rows each; the product of
//! customers and items exists nowhere, neither in memory nor as rows.
//!
//! Two ways lead through the pairs. A dot product of two vectors, with or without biases, a scale and
//! a sigmoid behind it, is a matrix product with the selection inside (`dot`). Everything else scores
//! tiles of pairs with the scorer that the rest of the crate uses (`pairs`). When a model is loaded,
//! both must give the scores of the untouched model on drawn pairs, or the slower way is taken.
//!
//! # Order
//!
//! Higher scores come first; equal scores in ascending order of the item's key (integers by value,
//! strings by bytes). A score that is not finite never ranks. For dot products the order is that of
//! the product with the item's bias, before the steps that follow: a sigmoid that rounds two
//! different products to 1.0 does not make them equal.

mod bind;
mod dot;
mod items;
mod load;
mod pairs;
mod part;
mod probe;
mod ranked;
mod select;
mod split;
mod tail;

pub use load::{RankOptions, Ranking, TOP_N_MAX};
pub use ranked::{Ranked, Ranker};
