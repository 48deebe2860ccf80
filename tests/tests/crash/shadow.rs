//! A worker that is killed in a run beside production.

use cameo_domain::RunState;
use cameo_store::runs::RunPurpose;
use cameo_tests::{Bundle, Process, Role, World, eventually};

use crate::{ROWS, TODAY, published};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_beside_production_survives_its_worker_and_production_notices_nothing() {
    let world = World::start().await;
    let gender = published(&world).await;
    let beside = Bundle::new("marketing", "gender")
        .version("2.0.0")
        .setting("ATTEMPTS_MAX", 10)
        .explained("{BACKGROUND_ROWS: 10, SAMPLES: 2}")
        .released("{ON_APPLY: SHADOW}");
    world.apply(&beside).await;
    world.customers("marketing", ROWS, 2.0).await;
    let production = gender.request(TODAY).await;
    // Production's run passes this point first.
    let mut worker = Process::dying_at(&world, Role::Worker, "generation_sealed:2");
    worker.killed().await;
    assert_eq!(gender.run(production).await.state, RunState::Published);
    assert!(gender.served().await.expect("a generation").is_whole(ROWS, 2.0));
    world.assert_sound().await;

    let runs = gender.runs().await;
    let shadow = runs.iter().find(|run| run.purpose == RunPurpose::Shadow).expect("a run").run;
    let healthy = world.worker(world.worker_config()).await;
    let ended = gender.run_when("at its end", shadow, |run| run.state.is_finished()).await;
    assert_eq!(ended.state, RunState::Shadowed, "{ended:#?}");
    assert!(ended.attempt > 1, "{ended:#?}");
    let (tenant, service) = (&gender.path.tenant, &gender.path.service);
    let verdict = eventually("it is compared, once", async || {
        let all = cameo_store::verdicts::list(&world.store, tenant, service, None, 10).await;
        all.ok()?.into_iter().next()
    })
    .await;
    healthy.stop().await;
    assert!(verdict.passed, "{verdict:#?}");
    assert_eq!(world.mirror().await, 2, "what ran beside production is not mirrored");
    assert!(gender.served().await.expect("a generation").is_whole(ROWS, 2.0));
    world.assert_sound().await;
}
