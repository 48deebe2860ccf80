//! Models that break what runs them. No model that the checks let through does any of this, so the child of
//! these tests does it in a model's place when the features say so.

use std::time::{Duration, Instant};

use cameo_domain::RunState;
use cameo_tests::{Bundle, World, report, rounds, seed};

use super::peak_mb;

const ROWS: u64 = 500;
/// How long a model may take for one batch here.
const MODEL_TIME: Duration = Duration::from_secs(2);
/// What broken models may add to the worker's own memory.
const MEMORY_MAX_MB: u64 = 128;

/// The level that springs a trap, and the code of the reason with which the run ends.
const TRAPS: [(&str, f64, &str); 8] = [
    ("its stack overflows", -901.0, "model_crashed"),
    ("it aborts", -902.0, "model_crashed"),
    ("it reads what is not its own", -903.0, "model_crashed"),
    ("it never ends", -904.0, "model_time"),
    ("it wants all memory", -905.0, "model_memory"),
    ("it panics", -906.0, "model_crashed"),
    ("it answers with noise", -907.0, "model_protocol"),
    ("it talks a lot and leaves", -909.0, "model_crashed"),
];
/// The level of a model that tries to reach the network, files, programs and threads, and then scores.
const CURIOUS: f64 = -908.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_breaks_ends_its_own_run_with_a_reason_and_no_other() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    world.customers("crm", ROWS, 1.0).await;
    let sound = world.apply(&Bundle::new("marketing", "gender")).await;
    let broken = world.apply(&Bundle::new("crm", "clv")).await;
    let first = broken.publish("2024-03-01T18:00:00Z").await;
    sound.publish("2024-03-01T18:00:00Z").await;

    // One worker for all of it: none of them may take it along.
    let config = cameo_worker::Config { model_time: MODEL_TIME, ..world.worker_config() };
    let worker = world.worker(config).await;
    let memory_before = peak_mb();
    let mut at = usize::try_from(seed() % TRAPS.len() as u64).expect("a small number");
    let broken_models = rounds(1) as usize * TRAPS.len();
    let (mut reasons, mut slowest, mut harmed) = (Vec::new(), Duration::ZERO, 0);
    for round in 0..broken_models {
        // Each trap once per round, beginning anywhere.
        at = (at + 1) % TRAPS.len();
        let (what, level, code) = TRAPS[at];
        world.customers("crm", ROWS, level).await;
        let due =
            format!("2024-03-02T{:02}:{:02}:{:02}Z", round / 3_600, round / 60 % 60, round % 60);
        let started = Instant::now();
        let (bad, good) = (broken.request(&due).await, sound.request(&due).await);
        let ended = |run: &cameo_store::runs::RunRecord| run.state.is_finished();
        let (bad, good) =
            (broken.run_when("over", bad, ended).await, sound.run_when("over", good, ended).await);
        slowest = slowest.max(started.elapsed());
        let reason = bad.reason.expect("a reason");
        assert_eq!((bad.state, reason.code.as_str()), (RunState::Halted, code), "{what}: {reason}");
        assert_eq!(bad.attempt, 1, "{what}: a fault of the model is not tried again");
        harmed += u32::from(good.state != RunState::Published || good.attempt != 1);
        if round < TRAPS.len() {
            reasons.push(format!("{what}\n    {code}: {}", reason.message));
        }
        let served = broken.served().await.expect("a generation");
        assert!(served.generation == first && served.is_whole(ROWS, 1.0), "{served:?}");
        let served = sound.served().await.expect("a generation");
        assert!(served.is_whole(ROWS, 1.0), "{served:?}");
    }
    assert_eq!(harmed, 0, "runs of the next tenant");
    let memory = peak_mb() - memory_before;
    assert!(memory < MEMORY_MAX_MB, "the worker itself took {memory} MB");

    world.customers("crm", ROWS, CURIOUS).await;
    let due = "2024-03-03T18:00:00Z";
    let run = broken.request(due).await;
    let run = broken.run_when("over", run, |run| run.state.is_finished()).await;
    assert_eq!(run.state, RunState::Published, "{:?}", run.reason);
    assert!(broken.served().await.expect("a generation").is_whole(ROWS, CURIOUS));
    worker.stop().await;
    world.assert_sound().await;

    let slowest = format!("{:.1}", slowest.as_secs_f64());
    report(
        "models that break what runs them",
        &[
            ("broken", &broken_models),
            ("ended with their reason", &broken_models),
            ("runs of the next tenant harmed", &harmed),
            ("workers lost", &0),
            ("longest until both runs ended, s", &slowest),
            ("memory added to the worker, MB", &memory),
        ],
    );
    reasons.sort_unstable();
    insta::assert_snapshot!(reasons.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_does_not_wait_for_a_model_that_never_ends() {
    let world = World::start().await;
    world.customers("crm", ROWS, -904.0).await;
    let broken = world.apply(&Bundle::new("crm", "clv")).await;
    let run = broken.request("2024-03-01T18:00:00Z").await;
    // The model may take minutes, the worker only this long to stop.
    let drain = Duration::from_millis(200);
    let worker = world.worker(cameo_worker::Config { drain, ..world.worker_config() }).await;
    broken
        .run_when("scoring", run, |run| {
            run.progress.as_ref().is_some_and(|progress| progress.stage == "score")
        })
        .await;
    let started = Instant::now();
    worker.stop().await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let run = broken.run(run).await;
    assert_eq!(run.state, RunState::Queued, "{run:?}");
}
