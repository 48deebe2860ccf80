//! Segments, what is exported of them, and who is told.

use std::{cell::Cell, collections::BTreeMap};

use cameo_domain::{ConsumerName, Reason, SegmentName, ServiceName, Sha256, WebhookName};
use cameo_segment::{Catalog, Draft};
use cameo_store::{
    By, Store,
    erasures::{self, KeyType, Look, NewErasure},
    exports,
    segments::{self, Made, NewSegment, SegmentTask},
    webhooks::{
        self, NewWebhook,
        deliveries::{self, Delivery, Ending, Failure},
    },
};
use chrono::Utc;

use super::super::sweep::Sweep;
use crate::{
    ground::{Ground, LEASE_SECONDS},
    releases::scores,
};

/// A claim that anybody may take over at once, as after the end of its lease.
const NO_LEASE: u32 = 0;

fn segment(name: &SegmentName, condition: &str) -> NewSegment {
    let services: BTreeMap<ServiceName, _> =
        [("told".parse().expect("a name"), scores())].into_iter().collect();
    let draft = Draft { condition: condition.to_owned(), ..Draft::default() };
    let read = draft.read(&Catalog::new(services)).expect("a sound definition");
    let services = read.definition.services(&read.condition);
    NewSegment { segment: name.clone(), definition: read.definition, services }
}

fn made(task: &SegmentTask) -> Made {
    let sha256 = Sha256::of(format!("{}/{}", task.segment, task.number));
    Made { members: 3, profiles: 10, sha256, bytes: 100 }
}

pub(crate) async fn play(sweep: &mut Sweep, ground: &Ground) {
    let path = ground.service("crm/told").await;
    ground.published(&path, 10).await;
    let (crm, by) = (&path.tenant, By::new("ann", "soak"));
    let keen: SegmentName = "keen".parse().expect("a name");
    let threshold = Cell::new(0);
    let version = || {
        threshold.set(threshold.get() + 1);
        segment(&keen, &format!("score > {}.5", threshold.get()))
    };
    let new = async || version();
    let define = async |store: &Store, new| segments::define(store, crm, &new, &by).await;
    sweep.prepared("segments::define", new, define).await.expect("defined");
    let list = async |store: &Store| segments::list(store, crm).await;
    sweep.call("segments::list", list).await.expect("segments");
    let find = async |store: &Store| segments::find(store, crm, &keen).await;
    sweep.call("segments::find", find).await.expect("an answer").expect("the segment");
    let lost: SegmentName = "lost".parse().expect("a name");
    let defined = async || {
        let new = segment(&lost, "score < 0.5");
        segments::define(ground.store(), crm, &new, &by).await.expect("defined");
    };
    let remove = async |store: &Store, ()| segments::remove(store, crm, &lost, &by).await;
    assert!(sweep.prepared("segments::remove", defined, remove).await.expect("removed"));
    sweep.call("segments::standing::standing", segments::standing).await.expect("segments");

    let claim = async |store: &Store| segments::claim(store, NO_LEASE).await;
    let task = sweep.call("segments::queue::claim", claim).await.expect("a claim");
    let task = task.expect("a segment that is due");
    let beat = async |store: &Store| segments::heartbeat(store, &task, NO_LEASE).await;
    sweep.call("segments::queue::heartbeat", beat).await.expect("held");
    let sha256 = made(&task).sha256;
    let announce = async |store: &Store| segments::announce(store, &task, &sha256).await;
    sweep.call("segments::queue::announce", announce).await.expect("announced");
    let claimed = async || {
        segments::define(ground.store(), crm, &version(), &by).await.expect("defined");
        let task = segments::claim(ground.store(), NO_LEASE).await.expect("a claim");
        task.expect("a segment that is due")
    };
    let retry = async |store: &Store, task: SegmentTask| {
        segments::retry(store, &task, None, Utc::now()).await
    };
    sweep.prepared("segments::queue::retry", claimed, retry).await.expect("given back");
    let refuse = async |store: &Store, task: SegmentTask| {
        segments::refuse(store, &task, "a column is gone").await
    };
    sweep.prepared("segments::queue::refuse", claimed, refuse).await.expect("refused");
    let complete = async |store: &Store, task: SegmentTask| {
        segments::complete(store, &task, made(&task)).await.map(|()| task.number)
    };
    let complete = sweep.prepared("segments::queue::complete", claimed, complete).await;
    let number = complete.expect("made");
    materialised(sweep, ground, &keen, number).await;
    told(sweep, ground).await;
    // More than are kept.
    for _ in 0..segments::KEPT + 2 {
        let task = claimed().await;
        segments::complete(ground.store(), &task, made(&task)).await.expect("made");
    }
    let files = sweep.call("segments::members::expired", segments::expired).await.expect("files");
    let file = files.first().expect("a file that nobody needs");
    let removed = async |store: &Store| segments::removed(store, file).await;
    sweep.call("segments::members::removed", removed).await.expect("noted");
    let late = claimed().await;
    erased(sweep, ground, &late).await;
}

/// A customer is erased while `late` is made.
async fn erased(sweep: &mut Sweep, ground: &Ground, late: &SegmentTask) {
    let (crm, by) = (&late.tenant, By::new("ann", "soak"));
    let sha256 = made(late).sha256;
    segments::announce(ground.store(), late, &sha256).await.expect("announced");
    let key_type = KeyType::Any;
    let new = NewErasure { key: "nobody".to_owned(), key_type, services: None, reason: None };
    let asked = erasures::request(ground.store(), crm, &new, &by).await.expect("asked");
    let erasure = asked.into_erasure().erasure;
    let disown = async |store: &Store| segments::disown(store, late, &sha256).await;
    sweep.call("segments::left_over::disown", disown).await.expect("named");
    let let_go = async |store: &Store| segments::let_go(store, late).await;
    sweep.call("segments::left_over::let_go", let_go).await.expect("given back");
    let claim = async |store: &Store| segments::claim_left_over(store, NO_LEASE).await;
    let left_over = sweep.call("segments::left_over::claim_left_over", claim).await;
    let left_over = left_over.expect("a claim").expect("a file to delete");
    let deleted = async |store: &Store| segments::left_over_deleted(store, &left_over).await;
    sweep.call("segments::left_over::left_over_deleted", deleted).await.expect("noted");

    let turn = erasures::claim(ground.store(), LEASE_SECONDS).await.expect("a claim");
    let turn = turn.expect("a turn");
    let look = Look::First;
    let places = async |store: &Store| erasures::members_to_search(store, &turn, look).await;
    let places = sweep.call("erasures::members::members_to_search", places).await.expect("files");
    let place = places.first().expect("a file of members");
    let found = vec![1; place.keys.len()];
    let searched =
        async |store: &Store| erasures::members_searched(store, &turn, place, &found, look).await;
    sweep.call("erasures::members::members_searched", searched).await.expect("noted");
    let files = async |store: &Store| erasures::members_to_delete(store, &turn).await;
    let files = sweep.call("erasures::members::members_to_delete", files).await;
    assert!(!files.expect("files").is_empty());
    let renewed = async |store: &Store| erasures::members_renewed(store, &turn).await;
    sweep.call("erasures::members::members_renewed", renewed).await.expect("noted");
    let trail = async |store: &Store| erasures::trail(store, crm, erasure).await;
    assert_eq!(sweep.call("erasures::trail", trail).await.expect("the trail").len(), 1);
    let fingerprint = async |store: &Store| erasures::fingerprint(store, crm).await;
    sweep.call("erasures::fingerprint", fingerprint).await.expect("an answer").expect("a salt");
    // The next turn is to be somebody else's.
    let reason = Reason::new("soak", "enough of it");
    let later = Utc::now() + chrono::Duration::days(1);
    erasures::put_off(ground.store(), &turn, reason, later).await.expect("put off");
}

async fn materialised(sweep: &mut Sweep, ground: &Ground, keen: &SegmentName, number: u32) {
    let (crm, by) = (ground.tenant("crm", 100).await, By::new("ann", "soak"));
    let list = async |store: &Store| segments::materialisations(store, &crm, keen).await;
    sweep.call("segments::members::list", list).await.expect("materialisations");
    let latest = async |store: &Store| segments::latest(store, &crm).await;
    sweep.call("segments::members::latest", latest).await.expect("materialisations");
    let soon = Utc::now() + chrono::Duration::hours(1);
    let pin = async |store: &Store| segments::pin(store, &crm, keen, number, soon).await;
    assert!(sweep.call("segments::members::pin", pin).await.expect("an answer"));
    let find = async |store: &Store| exports::materialisation(store, &crm, keen, number).await;
    sweep.call("exports::materialisation", find).await.expect("an answer").expect("it is there");
    let latest = async |store: &Store| exports::latest(store, &crm, keen).await;
    sweep.call("exports::latest", latest).await.expect("an answer").expect("it is there");
    sweep.call("exports::cursor_secret", exports::cursor_secret).await.expect("a secret");
    let mailer: ConsumerName = "mailer".parse().expect("a name");
    let acknowledge =
        async |store: &Store| exports::acknowledge(store, &crm, keen, &mailer, number, &by).await;
    sweep.call("exports::acknowledge", acknowledge).await.expect("noted");
    let consumers = async |store: &Store| exports::consumers(store, &crm, keen).await;
    sweep.call("exports::consumers", consumers).await.expect("consumers");
    let consumer = async |store: &Store| exports::consumer(store, &crm, keen, &mailer).await;
    sweep.call("exports::consumer", consumer).await.expect("an answer").expect("it is there");
}

async fn told(sweep: &mut Sweep, ground: &Ground) {
    let (crm, by) = (ground.tenant("crm", 100).await, By::new("ann", "soak"));
    let hook: WebhookName = "all".parse().expect("a name");
    let new = |name: &WebhookName| NewWebhook {
        webhook: name.clone(),
        url: "https://campaigns.example/".to_owned(),
        segments: Vec::new(),
        secret: vec![7; 32],
    };
    let put = async |store: &Store| webhooks::put(store, &crm, &new(&hook), &by).await;
    sweep.call("webhooks::put", put).await.expect("a webhook");
    let list = async |store: &Store| webhooks::list(store, &crm).await;
    sweep.call("webhooks::list", list).await.expect("webhooks");
    let find = async |store: &Store| webhooks::find(store, &crm, &hook).await;
    sweep.call("webhooks::find", find).await.expect("the webhook");
    let rotate = async |store: &Store| webhooks::rotate(store, &crm, &hook, vec![8; 32], 60).await;
    sweep.call("webhooks::rotate", rotate).await.expect("rotated");
    let ping = async |store: &Store| deliveries::ping(store, &crm, &hook).await;
    sweep.call("webhooks::deliveries::ping", ping).await.expect("a test");
    let claim = async |store: &Store| deliveries::claim(store, NO_LEASE).await;
    let delivery = sweep.call("webhooks::deliveries::claim", claim).await.expect("a claim");
    let delivery = delivery.expect("something to tell");
    let write = async |store: &Store| deliveries::write_body(store, &delivery, "{}").await;
    sweep.call("webhooks::deliveries::write_body", write).await.expect("held");
    let claimed = async || {
        deliveries::ping(ground.store(), &crm, &hook).await.expect("a test");
        let delivery = deliveries::claim(ground.store(), NO_LEASE).await.expect("a claim");
        delivery.expect("something to tell")
    };
    let failure =
        Failure { status: Some(502), reason: "expected 200".to_owned(), again_seconds: Some(0) };
    let fail = async |store: &Store, delivery: Delivery| {
        deliveries::fail(store, &delivery, &failure).await
    };
    sweep.prepared("webhooks::deliveries::fail", claimed, fail).await.expect("held");
    let end = async |store: &Store, delivery: Delivery| {
        deliveries::end(store, &delivery, Ending::Delivered(204)).await
    };
    sweep.prepared("webhooks::deliveries::end", claimed, end).await.expect("held");
    let list = async |store: &Store| deliveries::list(store, &crm, &hook, 10).await;
    sweep.call("webhooks::deliveries::list", list).await.expect("deliveries");
    sweep.call("webhooks::deliveries::retain", deliveries::retain).await.expect("deleted");
    let passing: WebhookName = "passing".parse().expect("a name");
    let put = async || {
        webhooks::put(ground.store(), &crm, &new(&passing), &by).await.expect("a webhook");
    };
    let delete = async |store: &Store, ()| webhooks::delete(store, &crm, &passing).await;
    sweep.prepared("webhooks::delete", put, delete).await.expect("deleted");
    webhooks::delete(ground.store(), &crm, &hook).await.expect("deleted");
}
