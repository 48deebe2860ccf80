//! Segments over several services: counted while they are edited, made when something is published.

use cameo_api::{Config, SnapshotSettings};
use cameo_segment::membership::Membership;
use cameo_store::segments::Materialisation;
use cameo_tests::{Bundle, Service, World, eventually};
use serde_json::json;

const ROWS: u64 = 500;
/// Customer n has the score `1 + n % 7` of both services.
const CONDITION: &str = "gender.score >= 7 and clv.score >= 7";
/// How many of 1 to 500 leave 6 over.
const MEMBERS: u64 = 71;

/// Defines the segment `loyal` of a service's tenant.
async fn define(service: &Service<'_>, condition: &str) {
    service.define_segment("loyal", condition, &["clv.score"]).await;
}

/// Waits until members were made so many times, by the worker that published or by another one.
async fn made(world: &World, service: &Service<'_>, times: usize) -> Vec<Materialisation> {
    let made = eventually("the members are made", async || {
        world.make_snapshots().await;
        world.make_members().await;
        let list = service.materialisations("loyal").await;
        (list.len() >= times).then_some(list)
    })
    .await;
    assert_eq!(made.len(), times, "each change is looked at once");
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn members_over_two_services_are_made_at_each_publication_and_once() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let clv = world.apply(&Bundle::new("marketing", "clv")).await;
    define(&gender, CONDITION).await;
    gender.publish("2024-03-01T18:00:00Z").await;
    assert!(made(&world, &gender, 0).await.is_empty(), "one of its services shows nothing");
    clv.publish("2024-03-01T18:00:00Z").await;
    let list = made(&world, &gender, 1).await;
    assert_eq!((list[0].members, list[0].profiles), (MEMBERS, ROWS));
    let path = world.place.artifacts().file_of(&list[0].sha256).expect("a file");
    let mut file = Membership::open(&path).expect("a membership file");
    assert_eq!(file.label().generations, list[0].generations);
    let batch = file.batch(0).expect("readable").expect("a batch");
    assert_eq!(batch.num_rows() as u64, MEMBERS);
    assert_eq!(batch.schema().field(1).name(), "clv.score");

    gender.publish("2024-03-02T18:00:00Z").await;
    made(&world, &gender, 2).await;
    define(&gender, "gender.score >= 7 or clv.score < 2").await;
    let list = made(&world, &gender, 3).await;
    assert_eq!(list.iter().map(|one| one.number).collect::<Vec<_>>(), [3, 2, 1]);
    assert!(list[0].members > MEMBERS);
    made(&world, &gender, 3).await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_is_counted_while_it_is_edited() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let clv = world.apply(&Bundle::new("marketing", "clv")).await;
    let generation = gender.publish("2024-03-01T18:00:00Z").await;
    clv.publish("2024-03-01T18:00:00Z").await;
    world.make_snapshots().await;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_owned();
    let snapshots = SnapshotSettings { folder, in_place: true, bytes_max: 1 << 30 };
    let api = world.another_api(Config { snapshots: Some(snapshots), ..Config::default() });
    let key = world.key(Some("marketing")).await;
    let count = async |condition: &str| {
        eventually("the snapshots are mapped", async || {
            let path = "/v1/tenants/marketing/segments:count";
            let answer = api.post(&key, path, &json!({"condition": condition})).await;
            (answer.status == 200).then_some(answer)
        })
        .await
    };
    let counted = count(CONDITION).await.json();
    assert_eq!((&counted["members"], &counted["profiles"]), (&json!(MEMBERS), &json!(ROWS)));
    assert_eq!(counted["generations"]["gender"], json!(generation));
    assert_eq!(counted["condition"], "gender.score >= 7.0 AND clv.score >= 7.0");
    assert_eq!(count("gender.score > 100").await.json()["members"], 0);
}
