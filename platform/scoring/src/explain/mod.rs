//! Why a row got its score: one contribution per feature column, adding up to the score.
//!
//! [`Explainer::load`] chooses the best method that holds for a model, [`Explainer::explain`] turns a
//! batch of features into a batch of contributions. All methods give Shapley values over the feature
//! columns of the SQL, and for every row
//! `base_value + sum of the row's contributions = the explained output`.

mod exact;
mod explainer;
mod front;
mod lineage;
mod options;
mod output;
mod random;
mod sampling;
mod terminal;
mod trees;

pub use explainer::{Explained, Explainer};
pub use options::{ExplainOptions, Method, Unit};
pub use trees::Covers;
