//! Going back, and what is kept.

use axum::http::StatusCode;
use cameo_store::{
    By,
    generations::{self, Releases},
};
use cameo_tests::{Bundle, World, eventually};
use serde_json::json;

const ROWS: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn readers_follow_a_rollback_and_the_way_forward_again() {
    let world = World::start().await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let mut published = Vec::new();
    for day in 1..=3 {
        world.customers("marketing", ROWS, f64::from(day)).await;
        published.push(gender.publish(&format!("2024-03-0{day}T18:00:00Z")).await);
    }
    let key = world.key(Some("marketing")).await;
    let rollback = format!("{}:rollback", gender.url());
    let shows = async |level: f64| {
        let url = format!("{}/predictions/7", gender.url());
        eventually("the API follows", async || {
            let answer = world.get(&key, &url).await;
            let answer = (answer.status == StatusCode::OK).then(|| answer.json())?;
            Some(()).filter(|()| answer["predictions"]["score"] == level)
        })
        .await;
        let served = gender.served().await.expect("a generation");
        assert!(served.is_whole(ROWS, level), "{served:?}");
    };
    shows(3.0).await;
    let back = world.post(&key, &rollback, &json!({})).await;
    assert_eq!(
        back.json(),
        json!({"generation": published[1].0, "previous": published[2].0, "release": null}),
        "{back:?}"
    );
    shows(2.0).await;
    world.post(&key, &rollback, &json!({"generation": published[0].0})).await;
    shows(1.0).await;
    world.post(&key, &rollback, &json!({"generation": published[2].0})).await;
    shows(3.0).await;
    world.post(&key, &rollback, &json!({})).await;
    shows(2.0).await;

    // The schedule goes on from wherever people have put the pointer.
    world.customers("marketing", ROWS, 4.0).await;
    gender.publish("2024-03-04T18:00:00Z").await;
    shows(4.0).await;
    let history =
        generations::history(&world.store, &gender.path.tenant, &gender.path.service).await;
    assert_eq!(history.expect("the ledger").len(), 8);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_generations_are_kept_and_none_goes_that_is_served_or_not_yet_mirrored() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let bundle = Bundle::new("marketing", "gender").setting("GENERATIONS_KEPT", 2);
    let gender = world.apply(&bundle).await;
    let mut published = Vec::new();
    for day in 1..=5 {
        published.push(gender.publish(&format!("2024-03-0{day}T18:00:00Z")).await);
    }
    let retain = async || generations::retain_after(&world.store, 0).await.expect("an answer");
    assert_eq!(retain().await, [], "the mirror has not seen any of them");
    assert_eq!(world.mirror().await, 5);
    let by = By::new("scenario", "test");
    let rollback = async |to| {
        let (tenant, service) = (&gender.path.tenant, &gender.path.service);
        generations::rollback(&world.store, tenant, service, Some(to), Releases::Follow, &by).await
    };
    rollback(published[1]).await.expect("rolled back");
    assert_eq!(retain().await, [published[0], published[2]], "what is served stays");
    assert!(gender.served().await.expect("a generation").is_whole(ROWS, 1.0));
    rollback(published[4]).await.expect("forward again");
    assert_eq!(retain().await, [published[1]]);
    assert_eq!(retain().await, []);
    let gone = rollback(published[0]).await;
    assert!(gone.is_err(), "a dropped generation cannot come back");
    world.assert_sound().await;
}
