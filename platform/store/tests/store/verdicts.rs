//! Runs beside production: who goes first, what is compared, and what fails by which name.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use cameo_domain::{DataType, PredictionSchema, RunState, Stage};
use cameo_store::{
    generations::Outcome,
    releases,
    runs::{self, ClaimedRun, Progress, RunPurpose},
    tenants::{self, TenantSettings},
    verdicts::{self, Limits, Verdict},
};
use serde_json::Value;

use crate::{
    stages::{path, promote, version},
    support::{World, batch, crm, schema, scores},
};

const DUE: &str = "2026-03-01T00:00:00Z";
const GIBIBYTE: u64 = 1 << 30;

fn limits(_: &Value) -> Limits {
    Limits {
        duration_ratio_max: 1.1,
        memory_ratio_max: 1.1,
        mean_shift_max: 0.15,
        psi_max: 0.25,
        changed_share_max: 0.25,
    }
}

fn labelled() -> PredictionSchema {
    schema(&[
        ("user_id", DataType::Int),
        ("score", DataType::Float64),
        ("visits", DataType::Int),
        ("tier", DataType::String),
        ("active", DataType::Bool),
    ])
}

/// A prediction: score, visits, tier, active.
type Row = (Option<f64>, Option<i64>, Option<&'static str>, Option<bool>);

fn usual(key: i64) -> Row {
    let tier = if key % 4 == 0 { "gold" } else { "silver" };
    (Some(key as f64), Some(key % 7), Some(tier), Some(key % 2 == 0))
}

fn rows(keys: std::ops::Range<i64>, of: impl Fn(i64) -> Row) -> RecordBatch {
    let rows: Vec<Row> = keys.clone().map(of).collect();
    RecordBatch::try_from_iter([
        ("user_id", Arc::new(Int64Array::from_iter_values(keys)) as ArrayRef),
        ("score", Arc::new(rows.iter().map(|row| row.0).collect::<Float64Array>())),
        ("visits", Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>())),
        ("tier", Arc::new(rows.iter().map(|row| row.2).collect::<StringArray>())),
        ("active", Arc::new(rows.iter().map(|row| row.3).collect::<BooleanArray>())),
    ])
    .expect("a batch")
}

/// A service with one release in production and one beside it.
async fn with_shadow(world: &World, schema: &PredictionSchema) {
    let (mut one, mut two) = (version("1.0.0"), version("2.0.0"));
    two.stage = Stage::Shadow;
    for new in [&mut one, &mut two] {
        new.schema = schema.clone();
        releases::apply(&world.store, &crm(), new).await.expect("applied");
    }
}

async fn complete(world: &World, run: &ClaimedRun, schema: &PredictionSchema, rows: &RecordBatch) {
    let (generation, digest) = world.sealed(run, schema, std::slice::from_ref(rows)).await;
    let outcome = world.publish(run, &generation, digest).await.expect("an outcome");
    let expected = match run.purpose {
        RunPurpose::Publish => Outcome::Published,
        RunPurpose::Shadow => Outcome::Shadowed,
    };
    assert_eq!(outcome, expected);
    let again = world.publish(run, &generation, digest).await.expect("the same answer");
    assert_eq!(again, expected, "a repeated end says what happened");
}

async fn decide(world: &World) -> Option<Verdict> {
    verdicts::decide_next(&world.store, limits).await.expect("an answer")
}

/// The verdict when production is as usual and the other is not.
async fn against_usual(shadow: RecordBatch) -> Verdict {
    let world = World::start().await;
    with_shadow(&world, &labelled()).await;
    world.request("crm", "gender", DUE).await;
    let production = world.claim().await.expect("production's run");
    complete(&world, &production, &labelled(), &rows(0..1_000, usual)).await;
    assert!(decide(&world).await.is_none(), "the other has still to run");
    let beside = world.claim().await.expect("the run beside it");
    complete(&world, &beside, &labelled(), &shadow).await;
    let verdict = decide(&world).await.expect("a verdict");
    assert!(decide(&world).await.is_none(), "decided once");
    world.assert_sound().await;
    verdict
}

fn failed(verdict: &Verdict) -> Vec<String> {
    let failed = verdict.checks.iter().filter(|check| !check.passed);
    failed
        .map(|check| format!("{} {}", check.check, check.subject.as_deref().unwrap_or("-")))
        .collect()
}

#[tokio::test]
async fn each_way_of_being_different_fails_its_own_check() {
    let with = |of: fn(i64) -> Row| rows(0..1_000, of);
    for (shadow, expected) in [
        (with(usual), &[][..]),
        // Ten in a thousand may come or go between two runs of one instant.
        (rows(5..1_000, usual), &[]),
        (rows(50..1_000, usual), &["keys -"]),
        (
            with(|key| (Some(key as f64 * 1.2), usual(key).1, usual(key).2, usual(key).3)),
            &["mean score", "distribution score"],
        ),
        // The same mean, but no longer spread out.
        (
            with(|key| (Some(499.0 + (key % 2) as f64), usual(key).1, usual(key).2, usual(key).3)),
            &["distribution score"],
        ),
        (
            with(|key| (usual(key).0, Some(3), usual(key).2, usual(key).3)),
            &["constant visits", "distribution visits"],
        ),
        (
            with(|key| (usual(key).0, None, usual(key).2, usual(key).3)),
            &["constant visits", "mean visits", "distribution visits"],
        ),
        (
            with(|key| {
                let tier = if key % 4 < 2 { "gold" } else { "silver" };
                (usual(key).0, usual(key).1, Some(tier), usual(key).3)
            }),
            &[],
        ),
        (
            with(|key| {
                let tier = if key % 4 < 3 { "gold" } else { "silver" };
                (usual(key).0, usual(key).1, Some(tier), usual(key).3)
            }),
            &["changed tier"],
        ),
        (
            with(|key| (usual(key).0, usual(key).1, None, usual(key).3.map(|active| !active))),
            &["changed tier", "changed active", "constant tier"],
        ),
    ] {
        let verdict = against_usual(shadow).await;
        assert_eq!(failed(&verdict), expected, "{verdict:#?}");
        assert_eq!(verdict.passed, expected.is_empty());
    }
}

#[tokio::test]
async fn a_run_that_takes_too_long_or_too_much_memory_fails_and_noise_does_not() {
    for (seconds, bytes, expected) in [
        (3_900, GIBIBYTE, &[][..]),
        (4_100, GIBIBYTE, &["duration -"]),
        (3_600, GIBIBYTE + (200 << 20), &[]),
        (3_600, 2 * GIBIBYTE, &["memory -"]),
    ] {
        let world = World::start().await;
        with_shadow(&world, &scores()).await;
        world.request("crm", "gender", DUE).await;
        for (seconds, bytes) in [(3_600, GIBIBYTE), (seconds, bytes)] {
            let run = world.claim().await.expect("a run");
            let progress = Progress { memory_peak_bytes: Some(bytes), ..Progress::default() };
            runs::heartbeat(&world.store, run.run, run.epoch, 60, &progress).await.expect("held");
            let sql = format!(
                "update cameo.runs set attempt_started_at = now() - interval '{seconds} s'
                 where run = {}",
                run.run
            );
            world.any_sql(&sql).await.expect("the attempt began earlier");
            complete(&world, &run, &scores(), &batch(0..100)).await;
        }
        let verdict = decide(&world).await.expect("a verdict");
        assert_eq!(failed(&verdict), expected, "{verdict:#?}");
    }
}

#[tokio::test]
async fn a_run_that_did_not_complete_is_a_failed_verdict_with_the_reason() {
    let world = World::start().await;
    with_shadow(&world, &scores()).await;
    world.request("crm", "gender", DUE).await;
    let reason = || cameo_domain::Reason::new("CAM0301", "a column is missing");
    let production = world.claim().await.expect("production's run");
    complete(&world, &production, &scores(), &batch(0..10)).await;
    let beside = world.claim().await.expect("the run beside it");
    runs::halt(&world.store, beside.run, beside.epoch, reason()).await.expect("halted");
    let verdict = decide(&world).await.expect("a verdict");
    assert_eq!(failed(&verdict), ["completed -"]);
    let detail = verdict.checks[0].detail.as_deref().expect("the reason");
    assert!(detail.contains("halted: CAM0301: a column is missing"), "{detail}");

    world.request("crm", "gender", "2026-03-02T00:00:00Z").await;
    let production = world.claim().await.expect("production's run");
    runs::halt(&world.store, production.run, production.epoch, reason()).await.expect("halted");
    let beside = world.claim().await.expect("the run beside it");
    complete(&world, &beside, &scores(), &batch(0..10)).await;
    let verdict = decide(&world).await.expect("a verdict");
    assert_eq!(failed(&verdict), ["production -"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn production_goes_first_and_never_waits_for_what_runs_beside_it() {
    let world = World::start().await;
    let settings = TenantSettings { max_concurrent_runs: 1 };
    tenants::ensure(&world.store, &crm(), &settings).await.expect("the tenant");
    with_shadow(&world, &scores()).await;
    world.request("crm", "gender", DUE).await;
    let turn = runs::Turn { to_publish: true, ..runs::Turn::default() };
    let to_publish =
        async || runs::claim_in(&world.store, "worker", 60, &turn).await.expect("an answer");
    let production = world.claim().await.expect("production's run");
    assert_eq!(production.purpose, RunPurpose::Publish);
    assert!(world.claim().await.is_none(), "production's run of the instant has not ended");
    complete(&world, &production, &scores(), &batch(0..10)).await;
    assert!(to_publish().await.is_none(), "nothing is to be published");
    let beside = world.claim().await.expect("the run beside it");
    assert_eq!(beside.purpose, RunPurpose::Shadow);
    // The tenant has one place, and what runs beside production does not take it.
    world.request("crm", "gender", "2026-03-02T00:00:00Z").await;
    let next = to_publish().await.expect("production's next run");
    complete(&world, &next, &scores(), &batch(0..10)).await;
    assert!(world.claim().await.is_none(), "one run beside production at a time");
    complete(&world, &beside, &scores(), &batch(0..10)).await;
    world.assert_sound().await;

    // Whoever leaves the shadow stage runs no more.
    let two = version("2.0.0").release;
    promote(&world, two, Stage::Candidate, "ann").await.expect("back");
    assert!(world.claim().await.is_none());
    let service = path("gender");
    let filter = runs::RunFilter { tenant: Some(service.tenant), ..runs::RunFilter::default() };
    let listed = runs::list(&world.store, &filter).await.expect("the runs");
    let mut states: Vec<_> = listed.iter().map(|run| (run.purpose, run.state)).collect();
    states.reverse();
    let (publish, shadow) = (RunPurpose::Publish, RunPurpose::Shadow);
    let expected = [
        (publish, RunState::Published),
        (shadow, RunState::Shadowed),
        (publish, RunState::Published),
        (shadow, RunState::Cancelled),
    ];
    assert_eq!(states, expected);
    world.assert_sound().await;
}

#[tokio::test]
async fn the_database_keeps_what_runs_beside_production_from_being_published() {
    let world = World::start().await;
    with_shadow(&world, &scores()).await;
    world.request("crm", "gender", DUE).await;
    let production = world.claim().await.expect("production's run");
    complete(&world, &production, &scores(), &batch(0..10)).await;
    let beside = world.claim().await.expect("the run beside it");
    world.sealed(&beside, &scores(), &[batch(0..10)]).await;
    for refused in [
        format!("update cameo.runs set state = 'published', finished_at = now(), lease_expires_at = null
                 where run = {}", beside.run),
        format!("update cameo.runs set purpose = 'publish' where run = {}", beside.run),
        format!("insert into cameo.verdicts (run, tenant, service, release, due_at, passed, checks)
                 select run, tenant, service, release, due_at, true, '[]' from cameo.runs where run = {}",
                beside.run),
        format!("insert into cameo.verdicts (run, tenant, service, release, due_at, passed, checks)
                 select run, tenant, service, release, due_at, true, '[]' from cameo.runs where run = {}",
                production.run),
    ] {
        assert!(world.any_sql(&refused).await.is_err(), "accepted: {refused}");
    }
    world.assert_sound().await;
}
