//! Webhooks: told of what is made, in order, again until it works, and never after they are disabled.

use cameo_domain::{SegmentName, WebhookName};
use cameo_store::{
    StoreError, segments,
    webhooks::{
        self, NewWebhook, Put,
        deliveries::{self, Delivery, Ending, Failure, Subject},
    },
};

use crate::{
    segments::{ann, made, segment},
    support::{World, tenant},
};

const LEASE_SECONDS: u32 = 60;

fn hook(text: &str) -> WebhookName {
    text.parse().expect("a webhook name")
}

async fn put(world: &World, webhook: &str, of: &[&str]) -> Put {
    let segments: Vec<SegmentName> =
        of.iter().map(|segment| segment.parse().expect("a segment name")).collect();
    let url = "https://campaigns.example/".to_owned();
    let new = NewWebhook { webhook: hook(webhook), url, segments, secret: vec![7; 32] };
    webhooks::put(&world.store, &tenant("crm"), &new, &ann()).await.expect("a webhook")
}

async fn claim(world: &World) -> Option<Delivery> {
    deliveries::claim(&world.store, LEASE_SECONDS).await.expect("a claim")
}

/// Publishes the service, and makes the members of its segment.
async fn materialise(world: &World, due_at: &str) {
    world.published("gender", due_at, 10).await;
    let task = segments::claim(&world.store, LEASE_SECONDS).await.expect("a claim");
    let task = task.expect("a segment that is due");
    segments::complete(&world.store, &task, made(&task)).await.expect("made");
}

fn failure(again_seconds: Option<u32>) -> Failure {
    Failure { status: Some(502), reason: "expected 200, found 502".to_owned(), again_seconds }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wants_to_know_of_a_segment_is_told_of_each_materialisation_in_order() {
    let world = World::start().await;
    let crm = tenant("crm");
    world.service("crm", "gender").await;
    let keen = segment("keen", "score > 0.5");
    segments::define(&world.store, &crm, &keen, &ann()).await.expect("a segment");
    put(&world, "all", &[]).await;
    put(&world, "others", &["loyal"]).await;
    materialise(&world, "2026-03-01T18:00:00Z").await;
    materialise(&world, "2026-03-02T18:00:00Z").await;

    let first = claim(&world).await.expect("something to tell");
    let told = |delivery: &Delivery| match &delivery.subject {
        Subject::Segment { segment, materialisation } => (segment.to_string(), *materialisation),
        Subject::Ping => panic!("nobody asked for a test"),
    };
    assert_eq!(told(&first), ("keen".to_owned(), 1));
    assert_eq!(first.webhook, hook("all"));
    assert!(claim(&world).await.is_none(), "the second waits for the first, `others` for nothing");
    deliveries::write_body(&world.store, &first, "{}").await.expect("held");
    deliveries::fail(&world.store, &first, &failure(Some(0))).await.expect("held");
    let again = claim(&world).await.expect("the same again");
    assert_eq!((again.id.as_str(), again.attempt), (first.id.as_str(), 2));
    assert_eq!(again.body.as_deref(), Some("{}"));
    let late = deliveries::end(&world.store, &first, Ending::Delivered(200)).await;
    assert!(matches!(late, Err(StoreError::NotFound(_))), "a lost claim ends nothing: {late:?}");
    let found = webhooks::find(&world.store, &crm, &hook("all")).await.expect("the webhook");
    assert!(found.failing_since.is_some());
    deliveries::end(&world.store, &again, Ending::Delivered(204)).await.expect("held");
    let found = webhooks::find(&world.store, &crm, &hook("all")).await.expect("the webhook");
    assert!(found.failing_since.is_none());

    let second = claim(&world).await.expect("the second");
    assert_eq!(told(&second), ("keen".to_owned(), 2));
    deliveries::end(&world.store, &second, Ending::Unchanged).await.expect("held");
    assert!(claim(&world).await.is_none());
    let list = deliveries::list(&world.store, &crm, &hook("all"), 10).await.expect("a list");
    let states: Vec<&str> = list.iter().map(|delivery| delivery.state.as_str()).collect();
    assert_eq!(states, ["unchanged", "delivered"]);
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_refuses_for_good_is_told_nothing_until_somebody_enables_it() {
    let world = World::start().await;
    let crm = tenant("crm");
    assert!(matches!(put(&world, "all", &[]).await, Put::Created(_)));
    for _ in 0..2 {
        deliveries::ping(&world.store, &crm, &hook("all")).await.expect("a test");
    }
    let delivery = claim(&world).await.expect("a test");
    assert!(deliveries::fail(&world.store, &delivery, &failure(None)).await.expect("held"));
    assert!(claim(&world).await.is_none(), "what waited was given up");
    let list = deliveries::list(&world.store, &crm, &hook("all"), 10).await.expect("a list");
    assert!(list.iter().all(|delivery| delivery.state == "abandoned"), "{list:?}");
    // A test of a webhook that is disabled does not enable it.
    deliveries::ping(&world.store, &crm, &hook("all")).await.expect("a test");
    let delivery = claim(&world).await.expect("a test");
    assert!(deliveries::fail(&world.store, &delivery, &failure(Some(0))).await.expect("held"));
    let Put::Changed(record) = put(&world, "all", &[]).await else { panic!("it was there") };
    assert!(record.disabled.is_none() && record.failing_since.is_none());

    deliveries::ping(&world.store, &crm, &hook("all")).await.expect("a test");
    let delivery = claim(&world).await.expect("a test");
    assert!(!deliveries::fail(&world.store, &delivery, &failure(Some(600))).await.expect("held"));
    assert!(claim(&world).await.is_none(), "it is not time yet");
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_secret_is_replaced_both_sign() {
    let world = World::start().await;
    let crm = tenant("crm");
    put(&world, "all", &[]).await;
    for (both_seconds, secrets) in [(3_600, 2), (0, 1)] {
        let secret = vec![8; 32];
        webhooks::rotate(&world.store, &crm, &hook("all"), secret.clone(), both_seconds)
            .await
            .expect("rotated");
        deliveries::ping(&world.store, &crm, &hook("all")).await.expect("a test");
        let delivery = claim(&world).await.expect("a test");
        assert_eq!(delivery.secrets.len(), secrets);
        assert_eq!(delivery.secrets[0], secret, "the new one comes first");
        deliveries::end(&world.store, &delivery, Ending::Delivered(200)).await.expect("held");
    }
    let other = world.tenant("other", 1).await;
    let hidden = webhooks::find(&world.store, &other, &hook("all")).await;
    assert!(matches!(hidden, Err(StoreError::NotFound(_))));
    world.store.close().await;
}
