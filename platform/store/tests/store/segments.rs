//! Segments: defined in one place, materialised once for what is shown.

use std::collections::BTreeMap;

use cameo_domain::{Key, SegmentName, ServiceName, Sha256, TenantName};
use cameo_segment::{Catalog, Draft};
use cameo_store::{
    By, Store, StoreError, audit,
    erasures::{self, KeyType, Look, NewErasure},
    segments::{self, Defined, Made, NewSegment, SegmentTask, Standing},
};
use chrono::Utc;

use crate::support::{World, scores, tenant};

const LEASE_SECONDS: u32 = 60;

fn name(text: &str) -> SegmentName {
    text.parse().expect("a segment name")
}

pub(crate) fn ann() -> By {
    By::new("key:ann", "api")
}

/// A segment over `gender` (the schema of the tests: `user_id`, `score` and more).
pub(crate) fn segment(text: &str, condition: &str) -> NewSegment {
    let services: BTreeMap<ServiceName, _> =
        [("gender".parse().expect("a name"), scores())].into_iter().collect();
    let draft = Draft { condition: condition.to_owned(), ..Draft::default() };
    let read = draft.read(&Catalog::new(services)).expect("a sound definition");
    let services = read.definition.services(&read.condition);
    NewSegment { segment: name(text), definition: read.definition, services }
}

pub(crate) fn made(task: &SegmentTask) -> Made {
    let sha256 = Sha256::of(format!("{}/{}", task.segment, task.number));
    Made { members: 3, profiles: 10, sha256, bytes: 100 }
}

async fn define(store: &Store, of: &TenantName, new: &NewSegment) -> Defined {
    segments::define(store, of, new, &ann()).await.expect("a definition")
}

async fn claim(world: &World) -> Option<SegmentTask> {
    segments::claim(&world.store, LEASE_SECONDS).await.expect("a claim")
}

/// How far the segments of the one tenant are.
async fn standing(world: &World) -> Standing {
    let mut standing = segments::standing(&world.store).await.expect("an answer");
    assert_eq!(standing.len(), 1, "{standing:?}");
    standing.remove(0)
}

async fn waits(world: &World) -> bool {
    standing(world).await.wait_seconds > 0.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_keeps_its_versions_and_is_its_tenants_alone() {
    let world = World::start().await;
    let crm = tenant("crm");
    world.service("crm", "gender").await;
    assert_eq!(define(&world.store, &crm, &segment("keen", "score > 0.5")).await, Defined::Created);
    assert_eq!(define(&world.store, &crm, &segment("keen", "score>.5")).await, Defined::Unchanged);
    assert_eq!(define(&world.store, &crm, &segment("keen", "score > 0.6")).await, Defined::Changed);
    let found = segments::find(&world.store, &crm, &name("keen")).await.expect("found");
    let found = found.expect("a segment");
    assert_eq!((found.version, found.changed_by.as_str()), (2, "key:ann"));
    assert_eq!(found.definition.condition, "gender.score > 0.6");
    // Another tenant sees nothing of it.
    let other = world.tenant("other", 1).await;
    assert!(segments::list(&world.store, &other).await.expect("a list").is_empty());
    assert!(!segments::remove(&world.store, &other, &name("keen"), &ann()).await.expect("no"));

    assert!(segments::remove(&world.store, &crm, &name("keen"), &ann()).await.expect("removed"));
    assert!(!segments::remove(&world.store, &crm, &name("keen"), &ann()).await.expect("not twice"));
    let filter = audit::AuditFilter { tenant: Some(crm.clone()), ..Default::default() };
    let trail = audit::list(&world.store, &filter).await.expect("the trail");
    let actions = |segment: &str| -> Vec<String> {
        let own = trail.iter().filter(|entry| entry.subject == segment);
        own.map(|entry| entry.action.clone()).collect()
    };
    assert_eq!(actions("keen"), ["segment.removed", "segment.changed", "segment.created"]);
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_made_once_for_what_is_shown_and_a_late_worker_is_refused() {
    let world = World::start().await;
    let crm = tenant("crm");
    world.service("crm", "gender").await;
    define(&world.store, &crm, &segment("keen", "score > 0.5")).await;
    assert!(claim(&world).await.is_none(), "nothing is shown yet");
    assert!(!waits(&world).await, "nothing to wait for");

    let first = world.published("gender", "2026-03-01T18:00:00Z", 10).await;
    let late = claim(&world).await.expect("a segment that is due");
    assert_eq!(late.generations().values().copied().collect::<Vec<_>>(), [first.id]);
    assert!(claim(&world).await.is_none(), "it is held");
    assert!(waits(&world).await);
    // The lease of the first worker ends without an answer.
    segments::heartbeat(&world.store, &late, 0).await.expect("held");
    let task = claim(&world).await.expect("the segment again");
    assert!(matches!(
        segments::complete(&world.store, &late, made(&late)).await,
        Err(StoreError::StaleSegment { .. })
    ));
    segments::complete(&world.store, &task, made(&task)).await.expect("recorded");
    assert!(segments::complete(&world.store, &task, made(&task)).await.is_err(), "not twice");
    assert!(claim(&world).await.is_none(), "nothing changed since");
    let now = standing(&world).await;
    assert!(now.newest_age_seconds.is_some_and(|age| (0.0..60.0).contains(&age)));
    assert!(now.wait_seconds.abs() < f64::EPSILON && now.refused == 0, "{now:?}");

    // Another definition, then another generation: each is looked at once.
    define(&world.store, &crm, &segment("keen", "score > 0.7")).await;
    let task = claim(&world).await.expect("another version");
    assert_eq!((task.version, task.number), (2, 2));
    segments::refuse(&world.store, &task, "a column is gone").await.expect("refused");
    assert!(claim(&world).await.is_none(), "the same would be refused again");
    let found = segments::find(&world.store, &crm, &name("keen")).await.expect("found");
    assert_eq!(found.expect("a segment").reason.as_deref(), Some("a column is gone"));
    assert_eq!(standing(&world).await.refused, 1);
    world.published("gender", "2026-03-02T18:00:00Z", 10).await;
    let task = claim(&world).await.expect("another generation");
    segments::retry(&world.store, &task, None, Utc::now()).await.expect("given back");
    let task = claim(&world).await.expect("once more");
    segments::complete(&world.store, &task, made(&task)).await.expect("recorded");
    let list = segments::materialisations(&world.store, &crm, &name("keen")).await.expect("a list");
    assert_eq!(list.iter().map(|one| one.number).collect::<Vec<_>>(), [2, 1]);
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_materialisations_are_kept_and_those_that_somebody_reads() {
    let world = World::start().await;
    let crm = tenant("crm");
    world.service("crm", "gender").await;
    world.published("gender", "2026-03-01T18:00:00Z", 10).await;
    let made_now = segments::KEPT + 3;
    for nth in 0..made_now {
        define(&world.store, &crm, &segment("keen", &format!("score > 0.{}", nth + 1))).await;
        let task = claim(&world).await.expect("another version");
        segments::complete(&world.store, &task, made(&task)).await.expect("recorded");
    }
    let soon = Utc::now() + chrono::Duration::hours(1);
    let keen = name("keen");
    let pin = |number| segments::pin(&world.store, &crm, &keen, number, soon);
    assert!(pin(2).await.expect("pinned"));
    let files = segments::expired(&world.store).await.expect("files");
    assert_eq!(files.iter().map(|file| file.number).collect::<Vec<_>>(), [1, 3]);
    assert!(!pin(1).await.expect("an answer"), "what was given up cannot be read any more");
    segments::removed(&world.store, &files[0]).await.expect("recorded");
    let files = segments::expired(&world.store).await.expect("files");
    assert_eq!(
        files.iter().map(|file| file.number).collect::<Vec<_>>(),
        [3],
        "until it is deleted"
    );
    segments::remove(&world.store, &crm, &keen, &ann()).await.expect("removed");
    let files = segments::expired(&world.store).await.expect("files");
    assert_eq!(files.len(), made_now as usize - 2, "all but the deleted and the pinned one");
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_members_while_a_customer_is_erased_is_refused_and_what_they_stored_is_deleted() {
    let world = World::start().await;
    let crm = tenant("crm");
    world.service("crm", "gender").await;
    world.published("gender", "2026-03-01T18:00:00Z", 10).await;
    define(&world.store, &crm, &segment("keen", "score > 0.5")).await;
    let late = claim(&world).await.expect("a segment that is due");
    let stored = made(&late).sha256;
    segments::announce(&world.store, &late, &stored).await.expect("announced");
    erase(&world, "7", None).await;
    let refused = segments::complete(&world.store, &late, made(&late)).await;
    assert!(matches!(refused, Err(StoreError::StaleSegment { .. })), "{refused:?}");

    // Nobody deletes the file while it may still be on its way to the store.
    let left_over =
        async || segments::claim_left_over(&world.store, LEASE_SECONDS).await.expect("a claim");
    assert!(left_over().await.is_none(), "the lease of its maker goes on");
    segments::disown(&world.store, &late, &stored).await.expect("known already");
    segments::let_go(&world.store, &late).await.expect("let go");
    let files = left_over().await.expect("a file to delete");
    assert_eq!((&files.files, files.segment.as_str()), (&vec![stored], "keen"));
    assert!(claim(&world).await.is_none(), "one holds the segment at a time");
    // Somebody else is erased meanwhile: what was deleted is deleted all the same.
    erase(&world, "8", None).await;
    segments::left_over_deleted(&world.store, &files).await.expect("deleted");
    assert!(left_over().await.is_none());

    let task = claim(&world).await.expect("the segment again");
    segments::announce(&world.store, &task, &stored).await.expect("announced");
    // Whoever held it before lets nothing go, and has nothing deleted that was made again.
    segments::let_go(&world.store, &late).await.expect("nothing");
    segments::disown(&world.store, &late, &stored).await.expect("nothing");
    segments::complete(&world.store, &task, made(&task)).await.expect("recorded");
    segments::disown(&world.store, &late, &stored).await.expect("nothing");
    assert!(left_over().await.is_none());
    assert!(claim(&world).await.is_none(), "nothing changed since");
    world.assert_sound().await;
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_worker_stored_of_a_segment_that_is_removed_is_deleted() {
    let world = World::start().await;
    let crm = tenant("crm");
    world.service("crm", "gender").await;
    world.published("gender", "2026-03-01T18:00:00Z", 10).await;
    define(&world.store, &crm, &segment("keen", "score > 0.5")).await;
    let dead = claim(&world).await.expect("a segment that is due");
    let stored = made(&dead).sha256;
    segments::announce(&world.store, &dead, &stored).await.expect("announced");
    segments::heartbeat(&world.store, &dead, 0).await.expect("held");
    segments::remove(&world.store, &crm, &name("keen"), &ann()).await.expect("removed");
    let left_over = segments::claim_left_over(&world.store, LEASE_SECONDS).await;
    let left_over = left_over.expect("a claim").expect("a file to delete");
    assert_eq!(left_over.files, [stored]);
    segments::left_over_deleted(&world.store, &left_over).await.expect("deleted");
    let none = segments::claim_left_over(&world.store, LEASE_SECONDS).await.expect("a claim");
    assert!(none.is_none(), "{none:?}");
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_goes_through_the_members_that_may_have_the_customer_and_ends_when_they_are_deleted()
 {
    let world = World::start().await;
    let crm = tenant("crm");
    for service in ["gender", "clv"] {
        world.service("crm", service).await;
    }
    world.published("gender", "2026-03-01T18:00:00Z", 10).await;
    define(&world.store, &crm, &segment("keen", "score > 0.5")).await;
    let task = claim(&world).await.expect("a segment that is due");
    segments::complete(&world.store, &task, made(&task)).await.expect("recorded");
    erase(&world, "7", Some("clv")).await;
    erase(&world, "7", None).await;
    let turn = erasures::claim(&world.store, 60).await.expect("a claim").expect("a turn");
    let places = erasures::members_to_search(&world.store, &turn, Look::First).await;
    let [place] = places.expect("places").try_into().expect("one file");
    let keys: Vec<_> = place.keys.iter().map(|one| (one.erasure, one.key.clone())).collect();
    let second = turn.erasures[1];
    let (number, text) = (Key::Int(7), Key::String("7".to_owned()));
    assert_eq!(keys, [(second, number), (second, text)], "of the erasure from its service alone");

    let look = Look::First;
    erasures::members_searched(&world.store, &turn, &place, &[1, 0], look).await.expect("noted");
    let soon = Utc::now() + chrono::Duration::hours(1);
    let pinned = segments::pin(&world.store, &crm, &name("keen"), 1, soon).await;
    assert!(!pinned.expect("an answer"), "nobody reads it any more");
    assert_eq!(claim(&world).await.expect("made anew").number, 2);
    let waiting = "select count(*) from cameo.erasures e where cameo.erased_files_left(e)";
    assert_eq!(world.number(waiting).await, 1);
    let files = erasures::members_to_delete(&world.store, &turn).await.expect("files");
    assert_eq!(files.iter().map(|file| file.number).collect::<Vec<_>>(), [1]);
    segments::removed(&world.store, &files[0]).await.expect("recorded");
    assert_eq!(world.number(waiting).await, 0);
    erasures::members_renewed(&world.store, &turn).await.expect("done");
    let found = erasures::find(&world.store, &crm, second).await.expect("an answer");
    let steps = found.expect("the erasure").1;
    let step = steps.iter().find(|step| step.place == "segment").expect("the file");
    assert_eq!((step.state.as_str(), step.rows_removed), ("done", 1));
    world.store.close().await;
}

async fn erase(world: &World, key: &str, service: Option<&str>) {
    let services = service.map(|service| vec![service.parse().expect("a name")]);
    let key_type = KeyType::Any;
    let new = NewErasure { key: key.to_owned(), key_type, services, reason: None };
    erasures::request(&world.store, &tenant("crm"), &new, &ann()).await.expect("asked");
}
