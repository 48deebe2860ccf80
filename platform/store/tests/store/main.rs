//! The store against a real Postgres: what item 6 of the design demands, one sentence each.

mod audit;
mod bundled_segments;
mod cancellation;
mod compatibility;
mod confinement;
mod digests;
mod erasures;
mod explanations;
mod limits;
mod outbox;
mod preflight;
mod publishing;
mod queue;
mod random_stages;
mod ranking;
mod records;
mod schedule;
mod segment_invariants;
mod segments;
mod serving;
mod snapshots;
mod stages;
mod support;
mod verdicts;
mod webhooks;
