//! The warehouse's copy.

use std::path::PathBuf;

use cameo_batch::arrow_schema;
use cameo_domain::GenerationId;
use cameo_store::outbox;
use cameo_tests::{Bundle, Service, World};
use cameo_warehouse::LoadId;

const ROWS: u64 = 3_000;

fn file(world: &World, service: &Service<'_>, generation: GenerationId) -> PathBuf {
    let folder = world.place.folder.join("lake").join(service.path.tenant.as_str());
    folder
        .join("predictions")
        .join(service.path.service.as_str())
        .join(format!("generation={generation}.parquet"))
}

/// Asserts that the mirror was found equal, and is equal when it is looked at again.
async fn assert_equal(world: &World, service: &Service<'_>, generation: GenerationId) {
    let (tenant, name) = (&service.path.tenant, &service.path.service);
    let kept = service.generations().await;
    let kept = kept.iter().find(|kept| kept.generation == generation).expect("the generation");
    let recorded = outbox::list(&world.store, tenant, name).await.expect("the outbox");
    let recorded = recorded.iter().find(|row| row.generation == generation).expect("its row");
    assert!(recorded.completed_at.is_some(), "{recorded:#?}");
    assert_eq!(recorded.digest, kept.digest, "as recorded");
    let found = world.warehouse.digest(tenant, name, generation).await.expect("the digest");
    assert_eq!(Some(found), kept.digest, "as found");
    assert_eq!(found.rows, ROWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_published_generation_is_in_the_mirror_with_count_and_checksum() {
    let world = World::start().await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let mut published = Vec::new();
    for day in 1..=2 {
        world.customers("marketing", ROWS, f64::from(day)).await;
        published.push(gender.publish(&format!("2024-03-0{day}T18:00:00Z")).await);
    }
    assert_eq!(outbox::lag(&world.store).await.expect("the lag").pending, 2);
    assert_eq!(world.mirror().await, 2);
    for generation in published {
        assert_equal(&world, &gender, generation).await;
    }
    assert_eq!(outbox::lag(&world.store).await.expect("the lag").pending, 0);
    assert_eq!(world.mirror().await, 0);

    // Tenants read their mirror with SQL, all generations side by side.
    let mirrored = Bundle::new("marketing", "again").features(
        "SELECT user_id, score - MOD(user_id, 7) AS level, MOD(user_id, 7) AS visits
         FROM predictions.gender
         WHERE generation = (SELECT MAX(generation) FROM predictions.gender)",
    );
    let again = world.apply(&mirrored).await;
    again.publish("2024-03-03T18:00:00Z").await;
    let served = again.served().await.expect("a generation");
    assert!(served.is_whole(ROWS, 2.0), "{served:?}");
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_a_mirror_repeats_after_dying_changes_nothing() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let generation = gender.publish("2024-03-01T18:00:00Z").await;
    // A mirror that dies after the load and before it has recorded it.
    let task = outbox::claim(&world.store, 60, None).await.expect("an answer").expect("a task");
    let load: LoadId = task.load_id.to_string().parse().expect("a load id");
    let rows = outbox::rows(&world.store, &task).await.expect("the rows");
    let rows = futures_util::StreamExt::map(rows, |batch| Ok(batch.expect("a batch")));
    let (tenant, name) = (&gender.path.tenant, &gender.path.service);
    let loaded = world
        .warehouse
        .load(tenant, name, &load, generation, arrow_schema(&task.schema), Box::pin(rows))
        .await
        .expect("the load");
    assert_eq!((loaded.rows, loaded.already_loaded), (ROWS, false));
    let file = file(&world, &gender, generation);
    let modified = || file.metadata().and_then(|file| file.modified()).expect("the file");
    let before = modified();
    assert_eq!(world.mirror().await, 0, "the task is the dead mirror's until its lease ends");

    world.sql("update cameo.outbox set lease_expires_at = now() - interval '1 second'").await;
    assert_eq!(world.mirror().await, 1);
    assert_equal(&world, &gender, generation).await;
    assert_eq!(modified(), before, "nothing was written again");
    world.assert_sound().await;
}

/// Writes what claims to be the copy of a generation: its first `rows` rows.
async fn copy(world: &World, service: &Service<'_>, generation: GenerationId, rows: u64) {
    let recorded = outbox::list(&world.store, &service.path.tenant, &service.path.service).await;
    let recorded = recorded.expect("the outbox");
    let recorded = recorded.iter().find(|row| row.generation == generation).expect("its row");
    let file = file(world, service, generation);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("the folder");
    let sql = format!(
        "COPY (SELECT range AS user_id, random() AS score, random() AS twin
               FROM range(1, {rows} + 1))
         TO '{}' (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{cameo_load: '{}',
                  cameo_rows: '{rows}', cameo_checksum: '0000000000000000'}})",
        file.display(),
        recorded.load_id
    );
    cameo_warehouse::run_unconfined(&sql).expect("a copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_differs_from_what_was_published_is_replaced() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let generation = gender.publish("2024-03-01T18:00:00Z").await;
    copy(&world, &gender, generation, ROWS - 1).await;
    assert_eq!(world.mirror().await, 1);
    assert_equal(&world, &gender, generation).await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_cannot_be_read_is_replaced() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let cut = gender.publish("2024-03-01T18:00:00Z").await;
    let rotten = gender.publish("2024-03-02T18:00:00Z").await;

    copy(&world, &gender, cut, ROWS).await;
    let path = file(&world, &gender, cut);
    let bytes = std::fs::read(&path).expect("the file");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("half of it");

    // Its metadata, at the end, still says that the load is complete.
    copy(&world, &gender, rotten, ROWS).await;
    let path = file(&world, &gender, rotten);
    let mut bytes = std::fs::read(&path).expect("the file");
    let end = bytes.len() / 2;
    bytes[4..end].fill(0xff);
    std::fs::write(&path, &bytes).expect("the damage");

    assert_eq!(world.mirror().await, 2);
    for generation in [cut, rotten] {
        assert_equal(&world, &gender, generation).await;
    }
    world.assert_sound().await;
}
