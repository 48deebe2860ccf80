//! What strangers send, mutated: whatever it is, it is read or refused, in bounded time and memory, and never with
//! a panic.
//!
//! The driver is a seeded mutator on stable Rust, so a failure repeats: it names seed and input. CI tries
//! [`driver::INPUTS`] inputs for each target; `tests/fuzz 1000000` tries a million.

mod alloc;
mod bundles;
mod driver;
mod targets;
