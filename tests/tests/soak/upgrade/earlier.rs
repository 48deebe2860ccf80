//! Databases of every earlier schema, with data of their time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use axum::http::StatusCode;
use cameo_domain::RunState;
use cameo_store::{StoreError, generations, schema};
use cameo_tests::{Bundle, Cluster, World, eventually, report, rounds, seed};
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Connection, Executor, Row,
    migrate::{Migration, Migrator},
    types::Json,
};

use super::{empty_world, restore_into, take};

/// The rows that each generation of the fixtures has, and the customers of the Lake afterwards.
const ROWS: u64 = 50;
/// The next instant of the fixtures' service.
const NEXT_DUE: &str = "2024-03-03T18:00:00Z";
/// Schemas that CI goes through, besides the first and the latest.
const SHORT: u32 = 4;
/// Numbers from here on are new: those that a backup may not have seen are left out.
const NEW_NUMBERS_FROM: i64 = 1_000_000;
/// What restoring makes again, and so leaves otherwise than it was.
const MADE_AGAIN: [(&str, &[&str]); 3] = [
    ("services", &["view_generation"]),
    (
        "snapshots",
        &[
            "state",
            "epoch",
            "attempts",
            "not_before",
            "lease_expires_at",
            "sha256",
            "bytes",
            "ready_at",
        ],
    ),
    // It moves with the entry that says that all of this came back.
    ("audit_head", &["entries", "hash"]),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

async fn migrator() -> Migrator {
    let mut migrator =
        Migrator::new(repository().join("migrations").as_path()).await.expect("the migrations");
    migrator.create_schema("cameo");
    migrator.dangerous_set_table_name("cameo.migrations");
    migrator
}

/// What fixtures cannot know: a release that the present version runs, and a file of the artifact store.
struct Present {
    release: Value,
    artifact: String,
    model: PathBuf,
}

impl Present {
    async fn find() -> Self {
        let world = World::start().await;
        world.customers("marketing", ROWS, 1.0).await;
        world.apply(&Bundle::new("marketing", "gender").setting("GENERATIONS_KEPT", 9)).await;
        let mut connection = world.connection().await;
        let row = sqlx::query(
            "select to_jsonb(r) as release, r.manifest ->> 'model' as model from cameo.releases r",
        )
        .fetch_one(&mut connection)
        .await
        .expect("the release");
        let release: Json<Value> = row.get("release");
        let artifact: String = row.get("model");
        let hash = artifact.parse().expect("a digest");
        let stored = world.place.artifacts().file_of(&hash).expect("the model is stored");
        let model = std::env::temp_dir().join(format!("cameo-{}-{artifact}", std::process::id()));
        fs::copy(stored, &model).expect("the model is kept");
        Self { release: release.0, artifact, model }
    }

    fn write(&self, sql: &str) -> String {
        sql.replace("{release}", &format!("$json${}$json$::jsonb", self.release))
            .replace("{artifact}", &self.artifact)
    }
}

/// A database with the schema `version`, in which each schema up to it has left its rows.
async fn database_of(version: i64, present: &Present) -> World {
    let world = empty_world().await;
    let mut connection = world.connection().await;
    let migrator = migrator().await;
    for migration in migrator.iter().filter(|migration| migration.version <= version) {
        migrator
            .run_direct(Some(migration.version), &mut connection, false)
            .await
            .unwrap_or_else(|error| panic!("migration {}: {error}", migration.version));
        let fixture =
            repository().join(format!("tests/fixtures/schema/{:04}.sql", migration.version));
        if let Ok(sql) = fs::read_to_string(&fixture) {
            let sql = present.write(&sql);
            connection
                .execute(AssertSqlSafe(sql))
                .await
                .unwrap_or_else(|error| panic!("{}: {error}", fixture.display()));
        }
    }
    if version >= 3 {
        let under_way = include_str!("../../../fixtures/schema/under_way.sql");
        connection.execute(under_way).await.expect("a run is under way");
    }
    connection.close().await.expect("the connection ends");
    let model = fs::read(&present.model).expect("the model");
    world.place.artifacts().put(model.into()).await.expect("the model is stored");
    world
}

/// Every row of the control plane as JSON, by table.
async fn rows_of(world: &World) -> BTreeMap<String, Vec<Value>> {
    let mut connection = world.connection().await;
    let tables = "select relname::text from pg_class where relnamespace = 'cameo'::regnamespace
                  and relkind = 'r' and relname <> 'migrations'";
    let mut found = BTreeMap::new();
    for table in world.texts(tables).await {
        let sql = format!("select to_jsonb(t) from cameo.{table} t");
        let rows: Vec<Json<Value>> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await
            .expect("the rows");
        found.insert(table, rows.into_iter().map(|row| row.0).collect());
    }
    found
}

/// Whether `now` says of every column that `before` has what it said. Columns may have come since.
fn says(now: &Value, before: &Value, but: &[&str]) -> bool {
    before
        .as_object()
        .expect("a row")
        .iter()
        .all(|(column, value)| but.contains(&column.as_str()) || now.get(column) == Some(value))
}

fn assert_kept(
    version: i64,
    before: &BTreeMap<String, Vec<Value>>,
    now: &BTreeMap<String, Vec<Value>>,
) {
    for (table, rows) in before {
        let but =
            MADE_AGAIN.iter().find(|(name, _)| name == table).map_or(&[][..], |found| found.1);
        let kept = now.get(table).unwrap_or_else(|| panic!("schema {version}: {table} is gone"));
        for row in rows {
            assert!(
                kept.iter().any(|now| says(now, row, but)),
                "schema {version}: cameo.{table} has lost {row:#}, it has {kept:#?}"
            );
        }
    }
}

/// What a restored installation does: it serves what it served, ends the run that was under way, and runs the next
/// instant, each once.
async fn assert_at_work(version: i64, world: &World) {
    world.customers("marketing", ROWS, 8.0).await;
    let key = world.key(Some("marketing")).await;
    if version >= 3 {
        let path = "/v1/tenants/marketing/services/gender/predictions/7";
        let score = if version >= 7 {
            4.0
        } else if version >= 5 {
            3.5
        } else {
            3.0
        };
        eventually("what was served is served", async || {
            let answer = world.get(&key, path).await;
            (answer.status == StatusCode::OK && answer.json()["predictions"]["score"] == score)
                .then_some(())
        })
        .await;
    }
    world.advance_to(NEXT_DUE).await;
    world.tick().await;
    world.work().await;
    let due: Vec<(String, i64)> = sqlx::query_as(
        "select state, generation from cameo.runs
         where (tenant, service, due_at, purpose) = ('marketing', 'gender', $1::timestamptz, 'publish')",
    )
    .bind(cameo_tests::at(NEXT_DUE))
    .fetch_all(&mut world.connection().await)
    .await
    .unwrap_or_else(|error| panic!("schema {version}: {error}"));
    let [(state, generation)] = due.as_slice() else { panic!("schema {version}: {due:?}") };
    assert_eq!(state, &RunState::Published.to_string(), "schema {version}");
    let never_given = version < 3 || *generation > NEW_NUMBERS_FROM;
    assert!(never_given, "schema {version}: number {generation} again");
    let doubled = "select due_at::text from cameo.runs where purpose = 'publish'
                   group by tenant, service, due_at having count(*) > 1
                   union all select 'still open: ' || run from cameo.runs where finished_at is null";
    assert_eq!(world.texts(doubled).await, Vec::<String>::new(), "schema {version}");
    let level = "select min(score - user_id % 7)::text from tenant_marketing.gender";
    generations::refresh_views(&world.store).await.expect("the views follow");
    assert_eq!(world.texts(level).await, ["8"], "schema {version}");
    world.mirror().await;
    world.make_snapshots().await;
    world.assert_sound().await;
}

/// The versions to go through: the first, the one before the latest, the latest, and some in between.
fn chosen(all: &[i64]) -> BTreeSet<i64> {
    let inner = &all[1..all.len() - 2];
    let wanted = (rounds(SHORT) as usize).min(inner.len());
    let start = usize::try_from(seed() % inner.len() as u64).unwrap_or(0);
    (0..wanted)
        .map(|round| inner[(start + round * inner.len() / wanted) % inner.len()])
        .chain([all[0], all[all.len() - 2], all[all.len() - 1]])
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_earlier_schema_with_its_data_comes_back_and_publishes() {
    let since = Instant::now();
    // The cluster lives as long as something of it is held.
    let _cluster = Cluster::shared().await;
    let present = Present::find().await;
    let all: Vec<i64> =
        migrator().await.iter().map(|migration: &Migration| migration.version).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let versions = chosen(&all);
    for version in &versions {
        let world = database_of(*version, &present).await;
        let before = rows_of(&world).await;
        let to = folder.path().join(version.to_string());
        let taken = take(&world, &to).await.unwrap_or_else(|error| panic!("{version}: {error:?}"));
        assert_eq!(taken.schema, *version);
        assert_eq!(taken.artifacts, 1, "schema {version}");

        let checked = cameo_backup::check(&to).await.expect("a sound backup");
        let another = empty_world().await;
        let restored = restore_into(&another, &checked)
            .await
            .unwrap_or_else(|error| panic!("schema {version}: {error:?}"));
        assert_eq!((restored.from, Some(&restored.to)), (*version, all.last()));
        assert!(restored.breaches.is_empty(), "schema {version}: {:#?}", restored.breaches);
        assert_kept(*version, &before, &rows_of(&another).await);
        assert_at_work(*version, &another).await;

        // The same where it is, without a way over a backup.
        world.store.migrate().await.unwrap_or_else(|error| panic!("{version}: {error:?}"));
        world.assert_sound().await;
        assert_kept(*version, &before, &rows_of(&world).await);
    }
    fs::remove_file(&present.model).expect("the model goes");
    report(
        "earlier schemas, backed up, restored, migrated, at work",
        &[
            ("schemas", &versions.len()),
            ("of", &all.len()),
            ("seconds", &since.elapsed().as_secs()),
        ],
    );
}

/// A migration that fails leaves the schema of before as it was, and goes through when its reason is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_changes_nothing_and_says_which_and_why() {
    let _cluster = Cluster::shared().await;
    let present = Present::find().await;
    let world = database_of(10, &present).await;
    // Somebody's table in the way of migration 11, at its very beginning; of 17, near its end.
    for (version, name, kept) in [(11, "snapshots", 10), (17, "erasure_turns", 16)] {
        world.sql(&format!("create table cameo.{name} (in_the_way integer)")).await;
        let failed = world.store.migrate().await.expect_err("it is in the way");
        let StoreError::MigrationFailed { version: found, .. } = &failed else {
            panic!("{failed:?}")
        };
        assert_eq!(*found, version);
        let found = schema::read(&world.store).await.expect("the schema");
        assert_eq!(found.version(), kept);
        let left =
            "select relname::text from pg_class where relname in ('erasures', 'erasure_keys')";
        assert_eq!(world.texts(left).await, Vec::<String>::new(), "all or nothing of it");
        world.sql(&format!("drop table cameo.{name}")).await;
    }
    world.store.migrate().await.expect("nothing is in the way any more");
    world.assert_sound().await;
}
