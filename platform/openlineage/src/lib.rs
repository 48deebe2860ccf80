//! OpenLineage: tells a catalogue which run read what and wrote what.
//!
//! [`event`] are the run events of the specification 2-0-2, [`emitter`] sends them in the background: a
//! receiver that is slow or dead never delays a run and never makes one fail.

pub mod emitter;
pub mod event;

pub use emitter::{Counters, Emitter, Receiver, ReceiverError, Sending};
pub use event::{Attempt, Ending, Input, Output, Phase, RunEvent, event};
