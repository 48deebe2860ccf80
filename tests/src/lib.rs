//! A whole Cameo in one process, for scenarios that read like sentences.
//!
//! A [`World`] has a Postgres, a Lake, artifacts and a clock of its own; everything else is what
//! runs in production: bundles are applied, a scheduler decides, a worker executes, a mirror
//! copies, and readers ask the API's router. Nothing here stands in for a part of Cameo.
//!
//! ```no_run
//! # use cameo_tests::{Bundle, World};
//! # async fn scenario() {
//! let world = World::start().await;
//! world.customers("marketing", 100, 1.0).await;
//! let gender = world.apply(&Bundle::new("marketing", "gender")).await;
//! gender.publish("2024-03-01T18:00:00Z").await;
//! assert_eq!(gender.served().await.expect("a generation").level(), Some(1.0));
//! # }
//! ```

// What a scenario's world needs either works or ends the scenario.
#![allow(clippy::missing_panics_doc)]

mod api;
mod bundle;
mod child;
mod cluster;
mod draw;
mod patience;
mod place;
mod proxy;
mod reader;
mod receiver;
mod rounds;
mod segments;
mod service;
mod world;

pub use api::RunningApi;
pub use bundle::Bundle;
pub use child::{CHILD, CHILD_TEST, Fate, Orders, Process, Role, work_until_killed};
pub use cluster::Cluster;
pub use draw::Draw;
pub use patience::{PATIENCE, eventually};
pub use place::{Place, RunningWorker, isolation};
pub use proxy::{Fault, Proxy, Weather};
pub use reader::Answer;
pub use receiver::{DeadReceiver, Heard, Manner, Receiver};
pub use rounds::{report, rounds, seed};
pub use service::{Served, Service};
pub use world::{AnotherApi, Hold, World, at};
