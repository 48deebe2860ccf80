//! Releases beside production.

use cameo_domain::{RunState, Stage};
use cameo_store::{
    By, StoreError,
    generations::{self, GenerationState},
    releases::{self, Moved, Promotion},
    runs::RunPurpose,
    verdicts::Verdict,
};
use cameo_tests::{Bundle, Service, World};

const ROWS: u64 = 700;

fn version(version: &str, features: &str) -> Bundle {
    Bundle::new("marketing", "gender").version(version).features(features)
}

async fn with_production(world: &World) -> Service<'_> {
    world.customers("marketing", ROWS, 1.0).await;
    world.apply(&Bundle::new("marketing", "gender").version("1.0.0")).await
}

async fn promote(world: &World, service: &Service<'_>, to: Stage) -> Result<Moved, StoreError> {
    let (tenant, name) = (&service.path.tenant, &service.path.service);
    let release = releases::named(&world.store, tenant, name, "2.0.0").await.expect("a release");
    let promotion = Promotion {
        path: service.path.clone(),
        release: release.release,
        to,
        reason: None,
        by: By::new("scenario", "test"),
        now: world.now(),
    };
    releases::promote(&world.store, &promotion).await
}

/// A day passes: what is due runs and is compared.
async fn day(world: &World, day: u32) -> Vec<Verdict> {
    world.advance_to(&format!("2024-03-{day:02}T18:00:05Z")).await;
    world.work().await;
    compared(world).await
}

/// All verdicts, newest first. The worker may have begun to compare already.
async fn compared(world: &World) -> Vec<Verdict> {
    world.compare().await;
    let service = "gender".parse().expect("a name");
    let tenant = "marketing".parse().expect("a name");
    cameo_store::verdicts::list(&world.store, &tenant, &service, None, 10).await.expect("verdicts")
}

fn failed(verdict: &Verdict) -> Vec<&str> {
    let mut failed: Vec<_> = verdict
        .checks
        .iter()
        .filter(|check| !check.passed)
        .map(|check| check.check.as_str())
        .collect();
    failed.dedup();
    failed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_release_passes_as_often_as_it_asked_and_is_served_only_once_it_is_promoted() {
    let world = World::start().await;
    let gender = with_production(&world).await;
    let same = "SELECT user_id, level + 0 AS level, visits FROM shop.customers";
    world.apply(&version("2.0.0", same).released("{SHADOW_RUNS_MIN: 2}")).await;
    for (date, passed) in [(1, 1), (2, 2)] {
        let early = promote(&world, &gender, Stage::Production).await.expect_err("too early");
        assert!(early.to_string().contains("SHADOW_RUNS_MIN asks for 2"), "{early}");
        let verdicts = day(&world, date).await;
        assert_eq!(verdicts.len(), passed);
        assert!(verdicts[0].passed, "{verdicts:#?}");
    }
    let runs = gender.runs().await;
    let of = |purpose| runs.iter().filter(move |run| run.purpose == purpose);
    assert!(of(RunPurpose::Publish).all(|run| run.state == RunState::Published), "{runs:#?}");
    assert!(of(RunPurpose::Shadow).all(|run| run.state == RunState::Shadowed), "{runs:#?}");
    assert!(runs.iter().all(|run| run.memory_peak_bytes.is_some()), "memory was measured");
    for shadow in of(RunPurpose::Shadow) {
        let production = of(RunPurpose::Publish).find(|run| run.due_at == shadow.due_at);
        let production = production.expect("a run of the same instant");
        assert!(shadow.started_at > production.finished_at, "production goes first");
    }

    // Nothing of it was served, shown or mirrored.
    let published = gender.generations().await;
    let shadowed = published.iter().filter(|one| one.state == GenerationState::Shadowed).count();
    assert_eq!(shadowed, 2);
    let (tenant, name) = (&gender.path.tenant, &gender.path.service);
    let told = generations::history(&world.store, tenant, name).await.expect("the ledger");
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!(world.mirror().await, 2);
    // Production keeps all it may; of what was compared, only the newest stays.
    generations::retain_after(&world.store, 0).await.expect("an answer");
    let kept = gender.generations().await;
    let kept = kept.iter().filter(|one| one.dropped_at.is_none()).map(|one| one.state);
    let (published, shadowed) = (GenerationState::Published, GenerationState::Shadowed);
    assert_eq!(kept.collect::<Vec<_>>(), [shadowed, published, published]);
    world.assert_sound().await;

    let moved = promote(&world, &gender, Stage::Production).await.expect("promoted");
    assert!(matches!(moved, Moved::Moved { from: Stage::Shadow, replaced: Some(_) }), "{moved:?}");
    day(&world, 3).await;
    assert_eq!(gender.runs().await.len(), 5, "nothing runs beside it any more");
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_not_as_production_fails_by_name_and_disturbs_nothing() {
    for (features, expected) in [
        (
            "SELECT user_id, level, visits - visits AS visits FROM shop.customers",
            &["constant", "mean", "distribution"][..],
        ),
        (
            "SELECT user_id, level + 3 AS level, visits FROM shop.customers",
            &["mean", "distribution"],
        ),
        ("SELECT user_id, level, visits FROM shop.customers WHERE user_id <= 650", &["keys"]),
        // All rows with one key: the run halts.
        ("SELECT 1 AS user_id, level, visits FROM shop.customers", &["completed"]),
    ] {
        let world = World::start().await;
        let gender = with_production(&world).await;
        world.apply(&version("2.0.0", features).released("{SHADOW_RUNS_MIN: 1}")).await;
        let verdicts = day(&world, 1).await;
        let [verdict] = verdicts.as_slice() else { panic!("one verdict: {verdicts:#?}") };
        assert!(!verdict.passed);
        let failed = failed(verdict);
        for check in expected {
            assert!(failed.contains(check), "{features}: {failed:?}, expected {check}");
        }
        if expected.len() == 1 {
            assert_eq!(failed, expected, "{verdict:#?}");
        }
        assert!(gender.served().await.expect("a generation").is_whole(ROWS, 1.0));
        let refused = promote(&world, &gender, Stage::Production).await;
        assert!(matches!(refused, Err(StoreError::Promotion(_))), "{refused:?}");
        world.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_asked_for_by_hand_has_one_beside_it_and_one_that_fails_fails_the_comparison() {
    let world = World::start().await;
    let gender = with_production(&world).await;
    let same = "SELECT user_id, level, visits FROM shop.customers WHERE TRUE";
    world.apply(&version("2.0.0", same).released("{ON_APPLY: SHADOW}")).await;
    gender.publish("2024-03-01T12:00:00Z").await;
    let verdicts = compared(&world).await;
    assert_eq!(verdicts.len(), 1);
    assert!(verdicts[0].passed, "{verdicts:#?}");

    // Production's own run fails: there is nothing to compare with, which is no proof of anything.
    world.table("marketing", "shop", "customers", "SELECT 1 AS user_id").await;
    let verdicts = day(&world, 2).await;
    let latest = &verdicts[0];
    assert!(!latest.passed);
    assert_eq!(failed(latest), ["completed"], "both lack their columns: {latest:#?}");
    world.assert_sound().await;
}
