//! Processes that are killed, frozen, cut off and starved while they work.
//!
//! Whatever is done to them: each instant is published once and whole, readers see whole generations only, and
//! who was overtaken while it slept writes nothing. Data is small, so that the harness waits for little but the
//! parts of Cameo; a lease that ends is moved to its end in its row instead of being waited for, because nobody
//! else keeps its time.

mod crew;
mod disk;
mod kills;
mod network;
mod postgres;
mod random;
mod stops;
mod tally;

use cameo_store::{generations, runs};
use cameo_tests::{Bundle, Draw, Service, World};
use chrono::{DateTime, Duration, Utc};

/// Customers of each tenant.
const ROWS: u64 = 300;
/// Leases of the processes.
const LEASE_SECONDS: u32 = 2;
/// No run fails for having been killed often.
const ATTEMPTS_MAX: u32 = 100;
/// After so many blows the mirror catches up and old tables go.
const TIDY_EVERY: usize = 25;
/// The level of a prediction is the hour of its due instant, counted from 1970: a row says to which run it
/// belongs.
const FEATURES: &str =
    "SELECT user_id, CAST(DIV(UNIX_SECONDS(@run_time), 3600) AS FLOAT64) AS level, visits
FROM shop.customers";

/// A small service of a tenant who has customers; its schedule is hourly, and no instant may be left out.
async fn service<'w>(world: &'w World, tenant: &str, name: &str) -> Service<'w> {
    let bundle = Bundle::new(tenant, name)
        .schedule("0 * * * *", "UTC")
        .setting("MISSED_RUN_POLICY", "ALL")
        .features(FEATURES)
        .runs_max(4)
        .release(|release| release.run.attempts_max = ATTEMPTS_MAX);
    world.apply(&bundle).await
}

/// The hour that follows an instant.
fn next_hour(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant + Duration::hours(1)
}

/// Lets the leases of a worker end that is dead or asleep, as if their time had passed.
async fn end_leases(world: &World, worker: &str) {
    // A sleeper may hold locks; Postgres itself ends such a transaction, after a minute.
    world
        .sql(&format!(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and application_name = '{worker}'
               and state like 'idle in transaction%'"
        ))
        .await;
    world
        .sql(&format!(
            "update cameo.runs set lease_expires_at = clock_timestamp()
             where state = 'running' and worker = '{worker}'"
        ))
        .await;
    runs::expire_leases(&world.store).await.expect("Postgres answers");
}

/// Copies what is published, and drops what nobody reads, as mirrors and workers do that live longer.
async fn tidy(world: &World) {
    world.mirror().await;
    world.make_snapshots().await;
    generations::refresh_views(&world.store).await.expect("Postgres answers");
    generations::retain_after(&world.store, 0).await.expect("Postgres answers");
}

/// What a lane draws from: its own part of the chance of a seed.
fn lanes(count: u32) -> Vec<Draw> {
    let mut draw = Draw::new(cameo_tests::seed());
    (0..count).map(|_| draw.fork()).collect()
}
