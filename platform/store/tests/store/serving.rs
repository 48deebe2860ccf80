//! Look-ups and hints.

use std::time::Duration;

use cameo_domain::{GenerationId, Key, ServicePath};
use cameo_store::{
    StoreError, generations,
    lookup::{self, Hint, Value},
};

use crate::support::{World, crm, tenant};

#[tokio::test]
async fn predictions_are_found_by_key_in_the_order_of_the_keys() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    assert!(lookup::current(&world.store, Some(&crm())).await.expect("pointers").is_empty());
    let generation = world.published("gender", "2026-03-01T00:00:00Z", 1_000).await;
    let served = lookup::current(&world.store, None).await.expect("pointers").remove(0);
    assert_eq!((served.generation, served.rows), (generation.id, 1_000));
    assert_eq!(served.version, "0.0.1");
    let other = lookup::current(&world.store, Some(&tenant("other"))).await.expect("pointers");
    assert!(other.is_empty(), "another tenant sees nothing");
    let one = lookup::one(&world.store, &served, &Key::Int(8)).await.expect("a look-up");
    let one = one.expect("a prediction");
    assert_eq!(one.values, [Value::Float(1.0)]);
    assert_eq!(one.to_json(&served.schema)["score"], 1.0);
    let unknown = lookup::one(&world.store, &served, &Key::Int(-1)).await.expect("a look-up");
    assert!(unknown.is_none());
    let keys = [Key::Int(5), Key::Int(5_000), Key::Int(1), Key::Int(5)];
    let many = lookup::many(&world.store, &served, &keys).await.expect("look-ups");
    let found: Vec<_> = many.iter().map(|hit| hit.as_ref().map(|hit| hit.key.clone())).collect();
    assert_eq!(found, [Some(Key::Int(5)), None, Some(Key::Int(1)), Some(Key::Int(5))]);
    let text = Key::String("5".to_owned());
    assert!(matches!(lookup::one(&world.store, &served, &text).await, Err(StoreError::Schema(_))));
}

#[tokio::test]
async fn a_reader_of_a_dropped_generation_is_told_to_read_the_pointer_again() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    let served = lookup::current(&world.store, None).await.expect("pointers").remove(0);
    lookup::one(&world.store, &served, &Key::Int(1)).await.expect("a look-up");
    for day in 2..=3 {
        world.published("gender", &format!("2026-03-0{day}T00:00:00Z"), 10).await;
    }
    while let Some(task) =
        cameo_store::outbox::claim(&world.store, 60, None).await.expect("a claim")
    {
        cameo_store::outbox::complete(&world.store, &task, task.digest, task.digest)
            .await
            .expect("mirrored");
    }
    let dropped = generations::retain_after(&world.store, 0).await.expect("retained");
    assert_eq!(dropped, [served.generation]);
    assert!(matches!(
        lookup::one(&world.store, &served, &Key::Int(1)).await,
        Err(StoreError::StaleGeneration(GenerationId(_)))
    ));
}

#[tokio::test]
async fn listeners_hear_of_new_runs_and_publications() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    let mut hints = lookup::listen(&world.store).await.expect("listening");
    world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    let path: ServicePath = "crm/gender".parse().expect("a path");
    let mut heard = Vec::new();
    while heard.len() < 3 {
        let hint = tokio::time::timeout(Duration::from_secs(10), hints.next()).await;
        heard.push(hint.expect("a hint in time").expect("an open listener"));
    }
    assert_eq!(heard, [Hint::Runs, Hint::Publication(path), Hint::Outbox]);
}
