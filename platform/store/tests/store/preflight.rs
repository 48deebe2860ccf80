//! What is in the way of a migration is told before, and waited for no longer than was said.

use std::time::Duration;

use cameo_store::{
    StoreError, runs,
    schema::{self, Fit},
};
use sqlx::{Connection, Executor, PgConnection};

use crate::support::World;

/// The first of the migrations that are still to come in these tests. Those after it can be run again.
const MISSING: i64 = 23;

async fn take_away(world: &World) {
    world
        .any_sql(&format!(
            "drop table cameo.schema_compatibility cascade;
             drop function cameo.check_compatibility();
             delete from cameo.migrations where version >= {MISSING}"
        ))
        .await
        .expect("the schema of before");
}

#[tokio::test]
async fn an_open_transaction_is_named_and_a_migration_gives_up_behind_it_without_a_change() {
    let world = World::start().await;
    let newest = schema::newest();
    take_away(&world).await;
    let ready = schema::preflight(&world.store).await.expect("a look");
    assert_eq!(ready.obstacles, [], "nothing is in the way");
    assert_eq!((ready.known, ready.works_since), (newest, MISSING));
    let missing: Vec<i64> = ready.missing.iter().map(|step| step.version).collect();
    assert_eq!((missing.first(), missing.last()), (Some(&MISSING), Some(&newest)));
    let behind = schema::check(&world.store).await.expect_err("a refusal");
    assert!(matches!(behind, StoreError::SchemaBehind { known, .. } if known == newest));

    let mut somebody =
        PgConnection::connect(&world.postgres.url()).await.expect("another connection");
    somebody
        .execute("begin; lock table cameo.tenants in access exclusive mode")
        .await
        .expect("a lock");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let found = schema::preflight(&world.store).await.expect("a look");
    let [obstacle] = found.obstacles.as_slice() else { panic!("{:#?}", found.obstacles) };
    // The platform's role is not shown what a superuser does, but that it is in the way.
    assert!(obstacle.problem.contains("user cameo"), "{obstacle:?}");
    assert!(obstacle.remedy.contains("pg_terminate_backend"), "{obstacle:?}");
    somebody
        .execute("lock table cameo.migrations in share row exclusive mode")
        .await
        .expect("another lock");
    let blocked = schema::migrate_within(&world.store, Duration::ZERO).await.expect_err("a lock");
    assert!(matches!(blocked, StoreError::MigrationBlocked { .. }), "{blocked:?}");
    let unchanged = schema::read(&world.store).await.expect("the schema");
    assert!(matches!(unchanged.fit(), Ok(Fit::Behind(_))), "{unchanged:?}");

    somebody.execute("rollback").await.expect("the end");
    let migrated = schema::migrate(&world.store).await.expect("nothing is in the way");
    assert_eq!(migrated.to, newest);
    world.assert_sound().await;
}

#[tokio::test]
async fn connections_of_before_a_migration_are_not_used_after_it() {
    let world = World::start().await;
    let all = runs::RunFilter::default();
    runs::list(&world.store, &all).await.expect("prepared before");
    let newest = schema::newest();
    world
        .any_sql(&format!(
            "alter table cameo.runs add column later_note text;
             insert into cameo.migrations (version, description, success, checksum, execution_time)
                 values ({newest} + 1, 'later', true, 'later', 0)"
        ))
        .await
        .expect("the next version's migration");
    // The same statement, whose result has another shape now.
    runs::list(&world.store, &all).await.expect("over a new connection");
}

#[tokio::test]
async fn two_migrators_at_once_take_turns() {
    let world = World::start().await;
    take_away(&world).await;
    let (one, other) = tokio::join!(schema::migrate(&world.store), schema::migrate(&world.store));
    assert_eq!(one.expect("the first").to, other.expect("the second").to);
    let schema = schema::read(&world.store).await.expect("the schema");
    assert_eq!(schema.fit().expect("a fit"), Fit::Current);
    world.assert_sound().await;
}
