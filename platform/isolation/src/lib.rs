//! Models of strangers in a process of their own.
//!
//! A model is checked before it runs (`cameo_scoring`), but no check is proof against an overflowing stack,
//! an endless loop or a fault in a kernel, and none of them can be caught within a process. So the worker
//! starts one child for each run, which alone decodes and evaluates the run's model. Features go to it and
//! predictions come back as Arrow IPC over its standard input and output. Its end is the end of that run,
//! with a [`Fault`] that says why; the worker goes on.
//!
//! # What the child has and has not
//!
//! It has the bytes of the model, the columns that the model reads, and what its [`Allowance`] grants. It has
//! no environment, no file but its two pipes, no credentials. It may ask the system for memory and locks and
//! read and write its pipes; every other call is refused (`child::confine`), so that what breaks out of a
//! model finds no network, no files and no other process.
//!
//! # Who trusts whom
//!
//! The child trusts what comes to it. The parent trusts nothing that comes back: answers are bounded, their
//! Arrow data is validated, and their columns and rows must be those that were asked for.
//!
//! # In the same process
//!
//! [`Isolation::None`] gives the same names without a child, for models that are one's own.

mod allowance;
pub mod child;
mod explainer;
mod fault;
#[doc(hidden)]
pub mod frames;
mod host;
mod message;
mod object;
mod process;
mod ranking;
mod scorer;
mod wire;

pub use allowance::Allowance;
pub use explainer::{Explainer, Explanation};
pub use fault::Fault;
pub use host::{Host, Isolation, Program, StopsHost};
pub use object::Files;
pub use ranking::{Ranker, Ranking};
pub use scorer::Scorer;
