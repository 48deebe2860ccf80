//! Runs that do not publish, and what readers keep.

use axum::http::StatusCode;
use cameo_domain::RunState;
use cameo_tests::{Bundle, World, at};

const ROWS: u64 = 500;
const TODAY: &str = "2024-03-02T18:00:00Z";

/// Publishes yesterday, applies `bundle`, which cannot run today, and gives why it halted.
async fn halted_with(world: &World, tables: impl AsyncFnOnce(), bundle: Bundle) -> String {
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let yesterday = gender.publish("2024-03-01T18:00:00Z").await;
    tables().await;
    world.apply(&bundle).await;
    let run = gender.execute(TODAY).await;
    assert_eq!((run.state, run.attempt), (RunState::Halted, 1), "{run:#?}");
    assert_eq!(run.generation, None);

    let served = gender.served().await.expect("a generation");
    assert_eq!(served.generation, yesterday);
    assert!(served.is_whole(ROWS, 1.0), "{served:?}");
    let key = world.key(Some("marketing")).await;
    let answer = world.get(&key, &format!("{}/predictions/7", gender.url())).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["generation"], yesterday.0);
    world.assert_sound().await;
    let reason = run.reason.expect("a reason");
    format!("{}: {}", reason.code, reason.message)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_vanished_halts_the_run_and_keeps_yesterdays_predictions() {
    let world = World::start().await;
    let without_visits = async || {
        let select = "SELECT range AS user_id, 2.0::FLOAT AS level FROM range(10)";
        world.table("marketing", "shop", "customers", select).await;
    };
    let bundle = Bundle::new("marketing", "gender");
    let reason = halted_with(&world, without_visits, bundle).await;
    assert!(reason.starts_with("features_sql: "), "{reason}");
    assert!(reason.contains("visits"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_occur_twice_halt_the_run_which_tells_how_to_find_them() {
    let world = World::start().await;
    let bundle = Bundle::new("marketing", "gender").features(
        "SELECT user_id, level, visits FROM shop.customers
         UNION ALL SELECT user_id, level, visits FROM shop.customers WHERE user_id = 77",
    );
    let reason = halted_with(&world, async || {}, bundle).await;
    assert!(reason.starts_with("duplicate_key: "), "{reason}");
    assert!(reason.contains("HAVING COUNT(*) > 1"), "{reason}");
    // A reason outlives its customers' erasure, so it names none.
    assert!(!reason.contains("77"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_predictions_sql_that_drops_rows_halts_the_run_with_both_counts() {
    let world = World::start().await;
    let bundle = Bundle::new("marketing", "gender")
        .predictions("SELECT user_id, score, twin FROM model_outputs WHERE user_id > 100");
    let reason = halted_with(&world, async || {}, bundle).await;
    assert!(reason.starts_with("predictions_sql_rows: "), "{reason}");
    assert!(reason.contains("took 500 rows and gave 400"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_exceeds_its_time_limit_ends() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    // A config may state no less than a minute, which is too long to wait for.
    let bundle =
        Bundle::new("marketing", "gender").release(|release| release.run.time_limit_minutes = 0);
    let gender = world.apply(&bundle).await;
    let hold = world.hold_publications().await;
    let run = gender.execute(TODAY).await;
    hold.release().await;
    assert_eq!(run.state, RunState::Halted, "{run:#?}");
    assert_eq!(run.reason.expect("a reason").code, "time_limit");
    assert_eq!(gender.served().await, None);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_may_pass_is_tried_again_later_and_then_publishes() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    // By a clock that is ahead, later is not yet.
    world.clock.set(chrono::Utc::now() + chrono::Duration::hours(1));
    world.take_artifacts_away();
    let run = gender.request(TODAY).await;
    let worker = world.worker(world.worker_config()).await;
    let waiting = gender
        .run_when("waiting for its second attempt", run, |run| {
            run.state == RunState::Queued && run.attempt == 1
        })
        .await;
    assert_eq!(waiting.reason.expect("a reason").code, "artifact");
    assert!(waiting.not_before > chrono::Utc::now());

    world.bring_artifacts_back();
    world.sql("update cameo.runs set not_before = now()").await;
    let ended = gender.run_when("published", run, |run| run.state == RunState::Published).await;
    worker.stop().await;
    assert_eq!((ended.attempt, ended.reason), (2, None));
    assert!(gender.served().await.expect("a generation").is_whole(ROWS, 1.0));

    world.clock.set(at("2024-03-03T00:00:00Z"));
    world.take_artifacts_away();
    let failed = gender.execute("2024-03-03T18:00:00Z").await;
    world.bring_artifacts_back();
    assert_eq!((failed.state, failed.attempt), (RunState::Failed, failed.attempts_max));
    world.assert_sound().await;
}

/// A worker that lets no run have more than `ceilings`.
async fn work_under(world: &World, ceilings: cameo_worker::Ceilings) {
    let config = cameo_worker::Config { ceilings, ..world.worker_config() };
    let worker = world.worker(config).await;
    world.idle().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_without_an_end_ends_with_its_run_and_leaves_nothing_behind() {
    let world = World::start().await;
    world.customers("marketing", 5_000, 1.0).await;
    // More combinations than anybody will live to see, and no row before the last one.
    let runaway = Bundle::new("marketing", "gender").features(
        "SELECT a.user_id, AVG(d.level) AS level, MAX(a.visits) AS visits
         FROM shop.customers a CROSS JOIN shop.customers b CROSS JOIN shop.customers c
         CROSS JOIN shop.customers d GROUP BY a.user_id",
    );
    let gender = world.apply(&runaway).await;
    let run = gender.request(TODAY).await;
    let time = std::time::Duration::from_millis(1_500);
    let began = std::time::Instant::now();
    work_under(&world, cameo_worker::Ceilings { time, ..Default::default() }).await;
    assert!(began.elapsed() >= time, "it was let run");
    let run = gender.run(run).await;
    assert_eq!(run.state, RunState::Halted, "{run:#?}");
    let reason = run.reason.expect("a reason");
    assert_eq!(reason.code, "time_limit");
    assert!(reason.message.contains("CAMEO_RUN_MINUTES_MAX"), "{}", reason.message);
    // The engine has a folder for as long as it works.
    let scratch = world.place.folder.join("scratch");
    cameo_tests::eventually("the engine has stopped", async || {
        std::fs::read_dir(&scratch).expect("the folder").next().is_none().then_some(())
    })
    .await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_reads_and_writes_no_more_rows_than_its_bundle_and_the_platform_allow() {
    let world = World::start().await;
    let bundle = || Bundle::new("marketing", "gender");
    let limited = bundle().setting("ROWS_READ_MAX", 499);
    let reason = halted_with(&world, async || {}, limited).await;
    assert!(reason.starts_with("rows_limit: features.sql gives more than 499 rows"), "{reason}");
    assert!(reason.contains("ROWS_READ_MAX in RUN_CONFIG"), "{reason}");

    let world = World::start().await;
    let limited = bundle().setting("ROWS_WRITTEN_MAX", 499);
    let reason = halted_with(&world, async || {}, limited).await;
    assert!(reason.starts_with("rows_limit: the run makes more than 499 predictions"), "{reason}");
    assert!(reason.contains("ROWS_WRITTEN_MAX in RUN_CONFIG"), "{reason}");

    let gender = world.apply(&bundle().setting("ROWS_READ_MAX", 500)).await;
    let run = gender.request("2024-03-03T18:00:00Z").await;
    work_under(&world, cameo_worker::Ceilings { rows: 100, ..Default::default() }).await;
    let reason = gender.run(run).await.reason.expect("a reason").message;
    assert!(reason.contains("more than 100 rows"), "{reason}");
    assert!(reason.contains("CAMEO_RUN_ROWS_MAX"), "{reason}");
    let run = gender.execute("2024-03-04T18:00:00Z").await;
    assert_eq!(run.state, RunState::Published, "as many as allowed: {run:#?}");
    world.assert_sound().await;
}
