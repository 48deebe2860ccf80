//! Who may run, when, and who takes over.

use std::time::Duration;

use cameo_domain::RunState;
use cameo_tests::{Bundle, World};

const ROWS: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_hands_its_run_back_and_another_one_finishes_it() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let hold = world.hold_publications().await;
    let run = gender.request("2024-03-01T18:00:00Z").await;
    let hasty = cameo_worker::Config { drain: Duration::from_millis(50), ..world.worker_config() };
    let worker = world.worker(hasty).await;
    gender
        .run_when("about to publish", run, |run| {
            run.progress.as_ref().is_some_and(|progress| progress.stage == "publish")
        })
        .await;
    worker.stop().await;
    let waiting = gender.run(run).await;
    assert_eq!((waiting.state, waiting.attempt), (RunState::Queued, 0), "{waiting:#?}");
    assert_eq!(waiting.reason.expect("a reason").code, "worker_stopped");
    hold.release().await;

    world.work().await;
    let ended = gender.run(run).await;
    assert_eq!((ended.state, ended.attempt, ended.epoch.0), (RunState::Published, 1, 2));
    assert!(gender.served().await.expect("a generation").is_whole(ROWS, 1.0));
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_lets_its_run_end_when_it_ends_soon() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let hold = world.hold_publications().await;
    let run = gender.request("2024-03-01T18:00:00Z").await;
    let worker = world.worker(world.worker_config()).await;
    gender.run_when("running", run, |run| run.state == RunState::Running).await;
    let stopping = tokio::spawn(worker.stop());
    hold.release().await;
    stopping.await.expect("the worker stops");
    let ended = gender.run(run).await;
    assert_eq!((ended.state, ended.epoch.0), (RunState::Published, 1));
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_runs_no_more_than_its_quota_whatever_else_is_free() {
    let world = World::start().await;
    let mut services = Vec::new();
    for (tenant, runs_max) in [("crm", 2), ("marketing", 1)] {
        world.customers(tenant, ROWS, 1.0).await;
        for service in ["one", "two", "three"] {
            services.push(world.apply(&Bundle::new(tenant, service).runs_max(runs_max)).await);
        }
    }
    let hold = world.hold_publications().await;
    for service in &services {
        service.request("2024-03-01T18:00:00Z").await;
    }
    let worker = world
        .worker(cameo_worker::Config {
            runs_max: 6,
            threads: 1,
            writers: 1,
            ..world.worker_config()
        })
        .await;
    let running = "select tenant || ' ' || count(*) from cameo.runs where state = 'running'
                   group by tenant order by tenant";
    cameo_tests::eventually("both tenants run what they may", async || {
        let running = world.texts(running).await;
        let allowed = ["crm 1", "crm 2", "marketing 1"];
        assert!(running.iter().all(|row| allowed.contains(&row.as_str())), "{running:?}");
        (running == ["crm 2", "marketing 1"]).then_some(())
    })
    .await;
    // The worker asks every 20 ms: it has asked again when all three wait for their publication.
    cameo_tests::eventually("they wait for their publication", async || {
        let sql = "select run::text from cameo.runs where progress ->> 'stage' = 'publish'";
        (world.texts(sql).await.len() == 3).then_some(())
    })
    .await;
    assert_eq!(world.texts(running).await, ["crm 2", "marketing 1"]);
    hold.release().await;
    world.idle().await;
    worker.stop().await;
    for service in &services {
        assert!(service.served().await.expect("a generation").is_whole(ROWS, 1.0));
    }
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_take_turns_however_much_one_of_them_asks_for() {
    let world = World::start().await;
    let mut services = Vec::new();
    for (tenant, count) in [("crm", 5), ("marketing", 2), ("search", 1)] {
        world.customers(tenant, ROWS, 1.0).await;
        for service in 0..count {
            services.push(world.apply(&Bundle::new(tenant, &format!("s{service}"))).await);
        }
    }
    for service in &services {
        service.request("2024-03-01T18:00:00Z").await;
    }
    let alone = cameo_worker::Config { runs_max: 1, ..world.worker_config() };
    let worker = world.worker(alone).await;
    world.idle().await;
    worker.stop().await;
    let turns = world.texts("select tenant from cameo.runs order by started_at").await;
    assert_eq!(turns, ["crm", "marketing", "search", "crm", "marketing", "crm", "crm", "crm"]);
    world.assert_sound().await;
}
