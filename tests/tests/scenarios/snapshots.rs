//! Generations as mapped files: made, served, damaged, deleted.

use std::{fs, path::Path};

use cameo_api::{Config, SnapshotSettings};
use cameo_domain::RunState;
use cameo_store::snapshots;
use cameo_tests::{AnotherApi, Bundle, Service, World, eventually};
use serde_json::{Value, json};

const ROWS: u64 = 500;
const MAPPED: &str = "cameo_api_services_with_snapshot";
const FROM_SNAPSHOTS: &str = "cameo_api_lookup_sources_total{source=\"snapshot\"}";
const FROM_POSTGRES: &str = "cameo_api_lookup_sources_total{source=\"postgres\"}";

fn settings(folder: &Path, in_place: bool, bytes_max: u64) -> Config {
    let snapshots = SnapshotSettings { folder: folder.to_owned(), in_place, bytes_max };
    Config { snapshots: Some(snapshots), ..Config::default() }
}

async fn level(api: &AnotherApi, key: &str, service: &Service<'_>) -> (Value, String) {
    let answer = api.get(key, &format!("{}/predictions/1", service.url())).await;
    // Customer 1 has made one visit: `score = level + visits`.
    let score = answer.json()["predictions"]["score"].as_f64();
    (json!(score.map(|score| score - 1.0)), answer.header("cameo-generation").to_owned())
}

async fn mapped(api: &AnotherApi, services: u64) {
    eventually("the snapshot is mapped", async || {
        (api.metric(MAPPED).await == services).then_some(())
    })
    .await;
}

/// Waits until the API shows a generation.
async fn shows(api: &AnotherApi, key: &str, service: &Service<'_>, generation: &str) -> Value {
    eventually("the API has the news", async || {
        let (level, found) = level(api, key, service).await;
        (found == generation).then_some(level)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_follows_the_pointer_with_and_without_a_snapshot() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let key = world.key(Some("marketing")).await;
    let first = gender.publish("2024-03-01T18:00:00Z").await.to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let api = world.another_api(settings(folder.path(), false, 1 << 30));
    shows(&api, &key, &gender, &first).await;
    world.make_snapshots().await;
    mapped(&api, 1).await;
    assert_eq!(level(&api, &key, &gender).await, (json!(1.0), first.clone()));

    world.customers("marketing", ROWS, 2.0).await;
    let second = gender.publish("2024-03-02T18:00:00Z").await.to_string();
    // From Postgres, or from the file that the worker has made meanwhile.
    assert_eq!(shows(&api, &key, &gender, &second).await, 2.0);
    world.make_snapshots().await;
    mapped(&api, 1).await;
    assert_eq!(level(&api, &key, &gender).await, (json!(2.0), second.clone()));
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 2);

    let rollback = format!("{}:rollback", gender.url());
    let back = api.post(&key, &rollback, &json!({})).await;
    assert_eq!(back.status, 200, "{back:?}");
    assert_eq!(shows(&api, &key, &gender, &first).await, 1.0);
    assert_eq!(api.metric(MAPPED).await, 1, "its file was still here");
    let unknown = api.get(&key, &format!("{}/predictions/-1", gender.url())).await;
    assert_eq!(unknown.json()["code"], "unknown_key");
    assert!(api.metric(FROM_SNAPSHOTS).await > 0);
    assert_eq!(api.metric("cameo_api_snapshot_failures").await, 0);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_of_a_large_generation_is_there_when_it_is_published() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let key = world.key(Some("marketing")).await;
    let first = gender.publish("2024-03-01T18:00:00Z").await;
    world.make_snapshots().await;
    let folder = tempfile::tempdir().expect("a folder");
    let api = world.another_api(settings(folder.path(), false, 1 << 30));
    shows(&api, &key, &gender, &first.to_string()).await;
    mapped(&api, 1).await;

    world.customers("marketing", ROWS, 2.0).await;
    let hold = world.hold_publications().await;
    let run = gender.request("2024-03-02T18:00:00Z").await;
    let config = cameo_worker::Config { snapshot_first_above: 0, ..world.worker_config() };
    let worker = world.worker(config).await;
    eventually("the API has the file before its time", async || {
        (fs::read_dir(folder.path()).expect("the folder").count() == 2).then_some(())
    })
    .await;
    assert_eq!(level(&api, &key, &gender).await, (json!(1.0), first.to_string()));
    let from_postgres = api.metric(FROM_POSTGRES).await;
    hold.release().await;
    let ended = gender.run_when("at its end", run, |run| run.state.is_finished()).await;
    let second = ended.generation.expect("a generation").to_string();
    assert_eq!(shows(&api, &key, &gender, &second).await, 2.0);
    assert_eq!(api.metric(FROM_POSTGRES).await, from_postgres, "Postgres was not asked");
    let steps = ended.progress.expect("progress").steps;
    assert!(steps.iter().any(|step| step.name == "snapshot"), "{steps:?}");
    worker.stop().await;
    assert_eq!(world.make_snapshots().await, 0);

    let config = cameo_worker::Config { snapshot_first_above: ROWS, ..world.worker_config() };
    let worker = world.worker(config).await;
    let run = gender.request("2024-03-03T18:00:00Z").await;
    let ended = gender.run_when("at its end", run, |run| run.state.is_finished()).await;
    let steps = ended.progress.expect("progress").steps;
    assert!(steps.iter().all(|step| step.name != "snapshot"), "it has no more rows: {steps:?}");
    worker.stop().await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_goes_on_where_its_snapshot_cannot_be_made() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    gender.publish("2024-03-01T18:00:00Z").await;
    world.make_snapshots().await;
    let run = gender.request("2024-03-02T18:00:00Z").await;
    let no_folder = tempfile::NamedTempFile::new().expect("a file");
    let config = cameo_worker::Config {
        snapshot_first_above: 0,
        scratch: no_folder.path().to_owned(),
        ..world.worker_config()
    };
    let worker = world.worker(config).await;
    let ended = gender.run_when("at its end", run, |run| run.state.is_finished()).await;
    assert_eq!(ended.state, RunState::Published, "{ended:#?}");
    worker.stop().await;
    let waiting = snapshots::waiting(&world.store).await.expect("what waits");
    assert_eq!(waiting.pending, 1, "it is made later");
    eventually("the queue makes it", async || (world.make_snapshots().await > 0).then_some(()))
        .await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_never_served_and_a_damaged_copy_is_fetched_anew() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let key = world.key(Some("marketing")).await;
    let generation = gender.publish("2024-03-01T18:00:00Z").await;
    world.make_snapshots().await;
    let tenant = &gender.path.tenant;
    let found = snapshots::find(&world.store, tenant, generation).await.expect("an answer");
    let file = found.expect("a snapshot");
    let stored = world.place.artifacts().file_of(&file.sha256).expect("its file");

    let copies = tempfile::tempdir().expect("a folder");
    fs::write(copies.path().join(format!("{}.arrow", file.sha256)), "cut short").expect("a file");
    let healed = world.another_api(settings(copies.path(), false, 1 << 30));
    mapped(&healed, 1).await;
    assert_eq!(level(&healed, &key, &gender).await.0, 1.0);

    let mut bytes = fs::read(&stored).expect("the file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&stored).expect("deleted");
    fs::write(&stored, &bytes).expect("another file");
    let empty = tempfile::tempdir().expect("a folder");
    for in_place in [true, false] {
        let api = world.another_api(settings(empty.path(), in_place, 1 << 30));
        eventually("the damage is noticed", async || {
            (api.metric("cameo_api_snapshot_failures").await > 0).then_some(())
        })
        .await;
        assert_eq!(level(&api, &key, &gender).await, (json!(1.0), generation.to_string()));
        assert_eq!(api.metric(MAPPED).await, 0);
        assert_eq!(fs::read_dir(empty.path()).expect("the folder").count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_stay_within_their_bound_and_what_is_shown_stays() {
    let world = World::start().await;
    let key = world.key(None).await;
    let mut services = Vec::new();
    for tenant in ["marketing", "crm"] {
        world.customers(tenant, ROWS, 1.0).await;
        services.push(world.apply(&Bundle::new(tenant, "gender")).await);
    }
    let mut sizes = Vec::new();
    for service in &services {
        let generation = service.publish("2024-03-01T18:00:00Z").await;
        world.make_snapshots().await;
        let found = snapshots::find(&world.store, &service.path.tenant, generation).await;
        sizes.push(found.expect("an answer").expect("a snapshot").bytes);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let one_and_a_half = sizes[0] + sizes[1] / 2;
    let api = world.another_api(settings(folder.path(), false, one_and_a_half));
    mapped(&api, 1).await;
    eventually("the other one does not fit", async || {
        (api.metric("cameo_api_snapshot_failures").await > 0).then_some(())
    })
    .await;
    for service in &services {
        assert_eq!(level(&api, &key, service).await.0, 1.0);
    }
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1);

    // Room for both, and for none besides: what is no longer shown goes.
    let folder = tempfile::tempdir().expect("a folder");
    let api = world.another_api(settings(folder.path(), false, sizes[0] + sizes[1] + sizes[1] / 2));
    mapped(&api, 2).await;
    world.customers("crm", ROWS, 2.0).await;
    let newer = services[1].publish("2024-03-02T18:00:00Z").await.to_string();
    world.make_snapshots().await;
    shows(&api, &key, &services[1], &newer).await;
    mapped(&api, 2).await;
    assert_eq!(level(&api, &key, &services[1]).await, (json!(2.0), newer));
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_a_dropped_generation_is_deleted() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let bundle = Bundle::new("marketing", "gender").setting("GENERATIONS_KEPT", 1);
    let gender = world.apply(&bundle).await;
    let first = gender.publish("2024-03-01T18:00:00Z").await;
    world.make_snapshots().await;
    let tenant = &gender.path.tenant;
    let found = snapshots::find(&world.store, tenant, first).await.expect("an answer");
    let file = found.expect("a snapshot");
    gender.publish("2024-03-02T18:00:00Z").await;
    gender.publish("2024-03-03T18:00:00Z").await;
    world.mirror().await;
    cameo_store::generations::retain_after(&world.store, 0).await.expect("retained");
    world.make_snapshots().await;
    assert_eq!(snapshots::find(&world.store, tenant, first).await.expect("an answer"), None);
    assert_eq!(world.place.artifacts().file_of(&file.sha256), None);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_has_changed_is_answered_from_at_once_and_copies_of_its_old_file_go() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let key = world.key(Some("marketing")).await;
    let generation = gender.publish("2024-03-01T18:00:00Z").await;
    world.make_snapshots().await;
    let folder = tempfile::tempdir().expect("a folder");
    let api = world.another_api(settings(folder.path(), false, 1 << 30));
    mapped(&api, 1).await;
    let names = || -> Vec<_> {
        let files = fs::read_dir(folder.path()).expect("the folder").flatten();
        files.map(|file| file.file_name()).collect()
    };
    let before = names();

    world
        .sql(&format!("delete from tenant_marketing.gender_g{generation} where user_id = 1"))
        .await;
    let tenant = &gender.path.tenant;
    snapshots::renew(&world.store, tenant, generation).await.expect("renewed");
    let path = format!("{}/predictions/1", gender.url());
    eventually("the customer is gone", async || {
        let answer = api.get(&key, &path).await;
        (answer.status == 404).then_some(())
    })
    .await;
    world.make_snapshots().await;
    mapped(&api, 1).await;
    assert_eq!(api.get(&key, &path).await.json()["code"], "unknown_key");
    eventually("the old copy is deleted", async || {
        let after = names();
        (after.len() == 1 && after != before).then_some(())
    })
    .await;
}
