//! Old and new side by side: what is true of the present version while the next one's migration is applied under it.
//!
//! The next version is played by a migration that does everything that one may do without leaving older binaries
//! behind: columns on every table, tables, indexes and functions.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use cameo_domain::RunState;
use cameo_store::{
    Store, StoreError, keys, releases, runs,
    schema::{self, Fit},
    verdicts,
};
use cameo_tests::{Bundle, Service, World, at, eventually, report, rounds};
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor, error::DatabaseError};

const ROWS: u64 = 1_000;
/// Instants that are run before and after the migration in CI.
const SHORT: u32 = 3;

/// What a later version adds, as its own migration would: it gives way to whoever holds a lock, and tries again.
async fn apply_the_next_version(world: &World) {
    eventually("the migration goes through", async || {
        let mut connection = world.connection().await;
        match connection.execute(NEXT_VERSION).await {
            Ok(_) => Some(()),
            Err(error) => {
                let code = error.as_database_error().and_then(DatabaseError::code);
                assert_eq!(code.as_deref(), Some("55P03"), "{error}");
                None
            }
        }
    })
    .await;
}

const NEXT_VERSION: &str = "
    set lock_timeout = '500ms';
    begin;
    do $$
    declare t record;
    begin
        for t in select relname from pg_class
            where relnamespace = 'cameo'::regnamespace and relkind = 'r' and relname <> 'migrations'
        loop
            execute format('alter table cameo.%I add column later_note text, '
                'add column later_count bigint not null default 0', t.relname);
        end loop;
    end $$;
    create table cameo.of_a_later_version (
        thing bigint generated always as identity primary key,
        tenant text references cameo.tenants);
    create index runs_by_later_note on cameo.runs (later_note);
    create function cameo.of_a_later_version() returns integer language sql return 1;
    insert into cameo.migrations (version, description, success, checksum, execution_time)
        select max(version) + 1, 'of a later version', true, 'later', 0 from cameo.migrations;
    commit;
    select cameo.secure()";

/// What the statements of an old process read: all columns of what has changed under its connections.
async fn ask_everything(store: &Store, service: &Service<'_>) -> Result<(), StoreError> {
    let (tenant, name) = (&service.path.tenant, &service.path.service);
    runs::list(store, &runs::RunFilter::default()).await?;
    keys::list(store, Some(tenant)).await?;
    releases::history(store, tenant, name, None, 10).await?;
    verdicts::list(store, tenant, name, None, 10).await?;
    cameo_store::generations::list(store, tenant, name).await?;
    cameo_store::lookup::current(store, Some(tenant)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_of_before_goes_on_beside_a_newer_schema() {
    let since = Instant::now();
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    gender.publish("2024-03-01T18:00:00Z").await;
    let key = world.key(Some("marketing")).await;
    let (url, wanted) = (format!("{}/predictions/7", gender.url()), rounds(SHORT));
    let worker = world.worker(world.worker_config()).await;
    let stop = AtomicBool::new(false);
    // Readers go on all the time, over connections that were made before.
    let readers = async {
        let (mut asked, mut again, mut refused) = (0_u32, 0_u32, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            for path in [url.clone(), format!("{}/runs", gender.url())] {
                let mut answer = world.get(&key, &path).await;
                asked += 1;
                // One that meets the very moment is told to come again, as the clients do by themselves.
                if answer.status == StatusCode::SERVICE_UNAVAILABLE {
                    again += 1;
                    answer = world.get(&key, &path).await;
                }
                refused.extend(Some(answer).filter(|answer| answer.status != StatusCode::OK));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        (asked, again, refused)
    };
    let upgrade = async {
        let mut published = 0_u32;
        for day in 0..2 * wanted {
            if day == wanted {
                // The runs around it are under way while it is applied.
                let between =
                    at("2024-03-02T18:00:00Z") + chrono::Duration::days(i64::from(wanted) + 20);
                let under_way = gender.request(&between.to_rfc3339()).await;
                apply_the_next_version(&world).await;
                let ended =
                    gender.run_when("ended", under_way, |run| run.finished_at.is_some()).await;
                assert_eq!(ended.state, RunState::Published, "{ended:#?}");
            }
            let due = at("2024-03-02T18:00:00Z")
                + chrono::Duration::days(i64::from(day) + if day < wanted { 0 } else { 40 });
            let run = gender.request(&due.to_rfc3339()).await;
            let ended = gender.run_when("ended", run, |run| run.finished_at.is_some()).await;
            assert_eq!(ended.state, RunState::Published, "{ended:#?}");
            published += 1;
            for _ in 0..20 {
                ask_everything(&world.store, &gender).await.expect("every question has its answer");
            }
        }
        stop.store(true, Ordering::Relaxed);
        published
    };
    let ((asked, again, refused), published) = tokio::join!(readers, upgrade);
    worker.stop().await;
    assert!(refused.is_empty(), "{} of {asked}: {:#?}", refused.len(), refused.first());
    world.make_snapshots().await;
    world.mirror().await;
    world.tick().await;
    world.assert_sound().await;

    // One that starts now, as after a crash in the middle of the roll-out, may as well.
    let schema = schema::read(&world.store).await.expect("the schema");
    assert_eq!(schema.fit().expect("a fit"), Fit::Ahead);
    let started = world.place.store("an old one that starts").await;
    let migrated = schema::migrate(&started).await.expect("nothing to migrate");
    assert!(migrated.applied.is_empty());
    schema::check(&started).await.expect("it may work");
    world.customers("marketing", ROWS, 2.0).await;
    gender.publish("2025-06-01T18:00:00Z").await;
    let another = world.another_api(cameo_api::Config::default());
    let posted = json!({"keys": [1, 2]});
    let answer =
        another.post(&key, &format!("{}/predictions:batchGet", gender.url()), &posted).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    report(
        "old processes beside a newer schema",
        &[
            ("runs published beside it", &(published + 1)),
            ("requests answered meanwhile", &asked),
            ("of them at their repetition", &again),
            ("runs failed, requests refused", &0),
            ("seconds", &since.elapsed().as_secs()),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_process_is_kept_out_exactly_when_the_schema_says_so() {
    let world = World::start().await;
    apply_the_next_version(&world).await;
    let (newest, later) = (schema::newest(), schema::newest() + 1);
    // The next version takes nothing away, the one after it does.
    schema::check(&world.store).await.expect("it may work");
    world.sql(&format!("update cameo.schema_compatibility set works_since = {later}")).await;
    let refused = [
        schema::check(&world.store).await.expect_err("a refusal"),
        world.store.migrate().await.expect_err("a refusal"),
        schema::preflight(&world.store).await.map(drop).expect_err("a refusal"),
    ];
    for refused in refused {
        let StoreError::SchemaTooNew { found, works_since, known } = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((found, works_since, known), (later, later, newest));
    }
    // What was left behind once is so for good: a lower word is refused by the database.
    let lower = format!("update cameo.schema_compatibility set works_since = {newest}");
    let mut connection = world.connection().await;
    let error = connection.execute(AssertSqlSafe(lower)).await.expect_err("a refusal");
    assert!(error.to_string().contains("never can again"), "{error}");
    // Its migrations are those of the database, whoever looks: none was added or taken away.
    let applied = schema::read(&world.store).await.expect("the schema").version();
    assert_eq!(applied, later);
}
