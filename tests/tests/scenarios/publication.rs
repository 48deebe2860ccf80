//! The main road: due, executed, published, served.

use axum::http::StatusCode;
use cameo_domain::RunState;
use cameo_runtime::metrics::Metrics;
use cameo_store::services;
use cameo_tests::{Bundle, RunningWorker, World, eventually};
use cameo_worker::WorkerMetrics;
use sqlx::{AssertSqlSafe, Connection, Executor};

const ROWS: u64 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_published_and_served_with_its_generation_release_and_time() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender").version("1.2.3")).await;
    let key = world.key(Some("marketing")).await;
    let url = format!("{}/predictions/10", gender.url());
    assert_eq!(world.get(&key, &url).await.status, StatusCode::CONFLICT, "nothing is published");

    world.advance_to("2024-03-01T18:00:05Z").await;
    world.work().await;
    let [run] = gender.runs().await.try_into().expect("one run");
    assert_eq!(run.state, RunState::Published, "{run:#?}");
    let counts = run.counts.expect("its counts");
    assert_eq!((counts.rows_read, counts.rows_scored, counts.rows_quarantined), (ROWS, ROWS, 0));
    let progress = run.progress.expect("its progress");
    assert_eq!(progress.rows_written, ROWS);
    assert!(progress.steps.iter().any(|step| step.name == "seal"), "{progress:?}");
    let generation = run.generation.expect("a generation");
    let service = services::find(&world.store, &gender.path.tenant, &gender.path.service)
        .await
        .expect("the database answers")
        .expect("the service");

    let answer = eventually("the API has the news", async || {
        Some(world.get(&key, &url).await).filter(|answer| answer.status == StatusCode::OK)
    })
    .await;
    let body = answer.json();
    // Customer 10 is at level 1 and has made 10 % 7 visits.
    assert_eq!(body["predictions"], serde_json::json!({"score": 4.0, "twin": 8.0}));
    assert_eq!(body["generation"], generation.0);
    assert_eq!(body["release"], service.release.to_string());
    assert_eq!(body["version"], "1.2.3");
    assert_eq!(body["predicted_at"], "2024-03-01T18:00:05Z", "by the worker's clock");
    assert_eq!(answer.header("cameo-generation"), generation.to_string());

    let tag = answer.header("etag").to_owned();
    let again = world.get_with(&key, &url, &[("if-none-match", &tag)]).await;
    assert_eq!((again.status, again.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    world.customers("marketing", ROWS, 2.0).await;
    gender.publish("2024-03-02T18:00:00Z").await;
    let newer = eventually("the API has the news", async || {
        let answer = world.get_with(&key, &url, &[("if-none-match", &tag)]).await;
        Some(answer).filter(|answer| answer.status == StatusCode::OK)
    })
    .await;
    assert_eq!(newer.json()["predictions"]["score"], 5.0);
    assert_ne!(newer.header("etag"), tag);

    let nobody = world.get(&key, &format!("{}/predictions/{}", gender.url(), ROWS + 1)).await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_due_instant_never_replaces_a_newer_generation() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 2.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let newer = gender.publish("2024-03-02T18:00:00Z").await;
    world.customers("marketing", ROWS, 1.0).await;
    let late = gender.execute("2024-03-01T18:00:00Z").await;
    assert_eq!(late.state, RunState::Superseded, "{late:#?}");
    let served = gender.served().await.expect("a generation");
    assert_eq!(served.generation, newer);
    assert!(served.is_whole(ROWS, 2.0), "{served:?}");
    assert_eq!(world.mirror().await, 1, "what was never published is not mirrored");
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_a_new_release_overtakes_executes_the_release_that_it_was_made_for() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender").version("1.0.0")).await;
    let first = gender.request("2024-03-01T18:00:00Z").await;
    let shifted = Bundle::new("marketing", "gender")
        .version("2.0.0")
        .features("SELECT user_id, level + 10 AS level, visits FROM shop.customers");
    world.apply(&shifted).await;
    let second = gender.request("2024-03-02T18:00:00Z").await;
    let hold = world.hold_publications().await;
    let worker = world.worker(world.worker_config()).await;
    gender.run_when("running", first, |run| run.state == RunState::Running).await;
    hold.release().await;
    world.idle().await;
    worker.stop().await;
    let (first, second) = (gender.run(first).await, gender.run(second).await);
    assert_eq!((first.state, second.state), (RunState::Published, RunState::Published));
    assert_ne!(first.release, second.release);
    assert_eq!(gender.served().await.expect("a generation").level(), Some(11.0));
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_waits_for_the_publication_does_not_take_the_run_from_its_worker() {
    const PUBLICATIONS: u8 = 4;
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let metrics = Metrics::new();
    let dependencies = cameo_worker::Dependencies {
        metrics: WorkerMetrics::register(&metrics),
        ..world.place.worker("cameo-worker", world.clock.clone()).await
    };
    let frequent = cameo_worker::Config { lease_seconds: 1, ..world.worker_config() };
    let worker = RunningWorker::start(frequent, dependencies);
    for day in 1..=PUBLICATIONS {
        let hold = world.hold_publications().await;
        let run = gender.request(&format!("2024-03-0{day}T18:00:00Z")).await;
        gender
            .run_when("about to publish", run, |run| {
                run.progress.as_ref().is_some_and(|progress| progress.stage == "publish")
            })
            .await;
        // The transaction that publishes gets hold of the run, and then waits for its generation.
        let mut generation = world.connection().await;
        let sql = format!("begin; select from cameo.generations where run = {run} for update");
        generation.execute(AssertSqlSafe(sql)).await.expect("the lock");
        hold.release().await;
        eventually("a heartbeat waits for the publication", async || {
            let waiting = "select pid::text from pg_stat_activity
                           where datname = current_database() and wait_event_type = 'Lock'
                             and query like 'update cameo.runs%set lease_expires_at%'";
            world.texts(waiting).await.pop()
        })
        .await;
        generation.close().await.expect("the lock is let go of");
        let ended = gender.run_when("at its end", run, |run| run.state.is_finished()).await;
        assert_eq!((ended.state, ended.attempt), (RunState::Published, 1), "{ended:#?}");
    }
    worker.stop().await;
    let told = metrics.encode();
    let ended = format!(r#"service="gender",state="published"}} {PUBLICATIONS}"#);
    assert!(told.contains(&ended), "expected {PUBLICATIONS} published runs, found {told}");
    world.assert_sound().await;
}
