//! What Cameo promises, one sentence each, over a real Postgres, a real Lake and the real roles.

mod audit;
mod erasure;
mod explanations;
mod failures;
mod generations;
mod golden;
mod mirror;
mod openlineage;
mod plan;
mod profiles;
mod promotion;
mod publication;
mod quarantine;
mod queue;
mod ranking;
mod readers;
mod schedule;
mod segments;
mod sensitive;
mod shadow;
mod silence;
mod snapshots;
mod two_paths;
mod webhooks;
