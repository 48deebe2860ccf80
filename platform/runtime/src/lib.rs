//! What every Cameo process stands on: settings, telemetry, metrics, the clock, waits, shutdown, TLS and a private Postgres.
//!
//! This is the one library that reads environment variables, and beside `cameo-isolation` the one that starts
//! processes; the other platform crates are handed values.

pub mod background;
pub mod backoff;
pub mod cache;
pub mod clock;
pub mod metrics;
pub mod postgres;
pub mod requests;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
