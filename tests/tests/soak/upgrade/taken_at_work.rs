//! Backups that are taken while runs publish, tables are dropped, people roll back and customers are erased.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use cameo_store::{
    By,
    erasures::{self, KeyType, NewErasure},
    generations::{self, Releases},
};
use cameo_tests::{Bundle, Service, World, at, report, rounds};

use super::{empty_world, restore_into, restored, take};

const ROWS: u64 = 2_000;
/// Backups that CI takes.
const SHORT: u32 = 3;

/// Publishes, rolls back, erases and drops tables, one after the other, until it is told to stop.
async fn work(world: &World, gender: &Service<'_>, stop: &AtomicBool) -> i64 {
    let (tenant, service) = (&gender.path.tenant, &gender.path.service);
    let by = By::new("somebody", "test");
    let mut day = 0;
    while !stop.load(Ordering::Relaxed) {
        day += 1;
        let due = at("2024-03-01T18:00:00Z") + chrono::Duration::days(day);
        gender.publish(&due.to_rfc3339()).await;
        if day % 3 == 0 {
            generations::rollback(&world.store, tenant, service, None, Releases::Keep, &by)
                .await
                .expect("a generation to go back to");
        }
        if day % 4 == 0 {
            let new = NewErasure {
                key: day.to_string(),
                key_type: KeyType::Int,
                services: None,
                reason: None,
            };
            erasures::request(&world.store, tenant, &new, &by).await.expect("a request");
        }
        generations::retain_after(&world.store, 0).await.expect("old tables go");
        world.make_snapshots().await;
        world.mirror().await;
    }
    day
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_taken_at_work_is_of_one_instant_and_can_be_worked_on() {
    let since = Instant::now();
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let bundle = Bundle::new("marketing", "gender").setting("GENERATIONS_KEPT", 2);
    let gender = world.apply(&bundle).await;
    gender.publish("2024-03-01T18:00:00Z").await;
    let folder = tempfile::tempdir().expect("a folder");
    let (stop, wanted) = (AtomicBool::new(false), rounds(SHORT));
    let backups = async {
        for round in 0..wanted {
            let to = folder.path().join(round.to_string());
            take(&world, &to).await.unwrap_or_else(|error| panic!("backup {round}: {error:?}"));
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (published, ()) = tokio::join!(work(&world, &gender, &stop), backups);
    world.assert_sound().await;

    for round in 0..wanted {
        let to = folder.path().join(round.to_string());
        let (another, found) = restored(&to).await;
        assert!(found.breaches.is_empty(), "backup {round}: {:#?}", found.breaches);
        another.customers("marketing", ROWS, 2.0).await;
        // What was under way is ended; erasures that were open go on.
        another.work().await;
        another.erase().await;
        another.mirror().await;
        another.assert_sound().await;
        std::fs::remove_dir_all(&to).expect("the backup goes");
    }
    report(
        "backups taken at work",
        &[
            ("backups", &wanted),
            ("publications meanwhile", &published),
            ("breaches after restoring", &0),
            ("seconds", &since.elapsed().as_secs()),
        ],
    );
}

/// A restore that is broken off leaves nothing, and can simply be repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_broken_off_anywhere_leaves_the_database_empty_or_whole() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    gender.publish("2024-03-01T18:00:00Z").await;
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("backup");
    take(&world, &to).await.expect("a backup");
    let checked = cameo_backup::check(&to).await.expect("a sound backup");
    for round in 1..=rounds(SHORT) {
        let target = empty_world().await;
        let name = target.texts("select current_database()::text").await.remove(0);
        let kill = format!(
            "select pg_terminate_backend(pid)::text from pg_stat_activity
             where datname = '{name}' and pid <> pg_backend_pid()
               and query ~ '^(copy|create|alter|truncate)'"
        );
        let over = AtomicBool::new(false);
        let restoring = async {
            let ended = restore_into(&target, &checked).await;
            over.store(true, Ordering::Relaxed);
            ended
        };
        let killing = async {
            tokio::time::sleep(Duration::from_millis(u64::from(round) * 70)).await;
            while !over.load(Ordering::Relaxed) && world.texts(&kill).await.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let (ended, ()) = tokio::join!(restoring, killing);
        let schemas = target
            .texts("select nspname::text from pg_namespace where nspname in ('cameo', 'tenant_marketing')")
            .await;
        if ended.is_err() && schemas.is_empty() {
            let (again, found) = restored(&to).await;
            assert!(found.breaches.is_empty(), "{:#?}", found.breaches);
            again.assert_sound().await;
        } else {
            // It was killed after its commit, or never: all of it is there.
            assert_eq!(schemas.len(), 2, "{ended:?}");
            target.store.migrate().await.expect("the rest of the way");
            target.assert_sound().await;
        }
    }
}
