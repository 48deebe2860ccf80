//! The run plan: `features.sql` → model → `predictions.sql` → generation, as one stream.
//!
//! [`Plan::prepare`] matches what every step expects against what the step before gives, without
//! running anything. [`load`] then lets Arrow batches flow through bounded channels: reading,
//! scoring and writing overlap, and nothing holds more than a few batches. What it has sealed, [`publish`] shows to
//! readers.

mod error;
mod execute;
mod explain;
mod host;
mod limits;
mod plan;
mod progress;
mod quarantine;
mod ranking;
mod rows;
mod sample;
mod steps;

pub use error::{RunError, chain};
pub use execute::{Execution, Outcome, Sealed, load, publish};
pub use explain::{Contribution, ExplainedCustomer, explain_one};
pub use host::{engine_memory, model_memory, start_host};
pub use limits::{Ceilings, Limits};
pub use plan::{ModelFiles, Plan};
pub use progress::Tracker;
pub use sample::{LeftOut, MASK, SAMPLE_ROWS_MAX, Sample, sample};
pub use steps::{Port, StepView};
