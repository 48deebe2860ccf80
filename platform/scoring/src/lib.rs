//! ONNX models over Arrow batches: load once, score from many threads.
//!
//! The seam is four names. [`inspect`] tells what a model wants and gives, [`Scorer::load`] checks a
//! model against the feature columns and compiles it, [`Scorer::score`] turns one batch of features
//! into one batch of outputs, and [`ScoringLimits`] bounds what a model may ask for. Nothing here
//! knows a file system, a process or a network.
//!
//! # How a model runs
//!
//! A graph is decoded and checked in `graph` (size, operators, tensors, every tree of every
//! ensemble) before anything evaluates it. A graph that is one tree ensemble with casts around it
//! runs straight over the Arrow columns on the kernels of `trees`. So do, in `fused`, chains of
//! column-wise steps (imputing, scaling, encoding categories) with a linear model, a network or an
//! ensemble behind them. Every other graph runs on tract, with the operators of `ops` in place of
//! those that tract lacks or computes differently from ONNX Runtime.
//!
//! [`Scorer::session`] scores one row at a time without a batch, by the same rules.
//!
//! # How a column becomes a model input
//!
//! | Arrow column | `float32`, `float64` input | `int64`, `int32` input | `bool` input | `string` input |
//! |---|---|---|---|---|
//! | integers, any width | nearest float | the integer; out of range rejects the row | refused | refused |
//! | floats | nearest float | refused: a model that wants integers never gets a truncation | refused | refused |
//! | boolean | 0 or 1 | 0 or 1 | as is | refused |
//! | decimal | nearest float | refused unless the scale is 0 | refused | refused |
//! | date | days since 1970-01-01 | days since 1970-01-01 | refused | refused |
//! | timestamp | refused: a float holds no instant exactly enough | microseconds since 1970-01-01 UTC | refused | refused |
//! | string, also as a dictionary or view | refused | refused | refused | as is |
//!
//! A null is NaN for a float input, which is how tree libraries and imputers spell *missing*. For
//! any other input the row is left out of the outputs and reported in [`Scored::rejected`]; a null
//! never turns into a silent 0 or an empty string. [`LoadOptions::null_defaults`] may declare another
//! value for the nulls of a column. "Refused" is a [`ModelError::Column`] when the
//! model is loaded, not a surprise in the middle of a run.
//!
//! # How an output becomes columns
//!
//! `[N]` and `[N, 1]` become `<output>`, `[N, K]` becomes `<output>_0` to `<output>_<K-1>`, and an
//! output that passed through a `ZipMap` becomes `<output>_<class>` for each class.

mod accept;
mod anatomy;
mod bind;
mod classes;
mod columns;
mod cost;
mod defaults;
mod error;
pub mod explain;
mod forest_stage;
mod fused;
mod graph;
mod level;
mod limits;
#[doc(hidden)]
pub mod measure;
mod ops;
mod outputs;
mod plan;
mod quiet;
pub mod rank;
mod scorer;
mod scores;
mod session;
mod signature;
mod stages;
mod tensors;
mod trees;

pub use accept::Rejected;
pub use anatomy::{Anatomy, EnsembleShape, NodeView, OperatorUse, anatomy};
pub use defaults::{NullDefault, NullDefaults};
pub use error::{ModelError, ScoreError};
pub use limits::ScoringLimits;
pub use scorer::{LoadOptions, Scored, Scorer};
pub use session::{RowValue, Session};
pub use signature::{ModelSignature, Port, PortKind, inspect};
