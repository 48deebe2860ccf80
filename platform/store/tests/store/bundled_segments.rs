//! Segments that bundles define: those of the release in production, whatever puts it there.

use cameo_domain::{ReleaseId, ServiceName, ServicePath, Sha256, Stage};
use cameo_store::{
    Store, StoreError,
    generations::{self, Releases},
    releases::{self, Applied, NewRelease, Promotion},
    segments::{self, Defined},
};
use chrono::Utc;
use serde_json::json;

use crate::{
    segments::{ann, segment},
    support::{World, by, crm, release, scores},
};

fn path() -> ServicePath {
    "crm/gender".parse().expect("a path")
}

/// A release of `crm/gender` that declares segments by name and condition.
fn declaring(version: &str, declared: &[(&str, &str)]) -> NewRelease {
    let segments: Vec<_> = declared
        .iter()
        .map(|(name, condition)| json!({ "name": name, "condition": condition }))
        .collect();
    NewRelease {
        manifest: json!({ "service": "gender", "segments": segments }),
        release: ReleaseId(Sha256::of(version)),
        version: version.to_owned(),
        by: by("cli:ann"),
        ..release("gender", &scores())
    }
}

async fn apply(store: &Store, new: &NewRelease) -> Result<Applied, StoreError> {
    releases::apply(store, &crm(), new).await
}

/// The segments with their conditions and the service whose bundle defines each.
async fn defined(store: &Store) -> Vec<(String, String, Option<String>)> {
    let found = segments::list(store, &crm()).await.expect("a list").into_iter();
    let told = found.map(|one| {
        (one.segment.to_string(), one.definition.condition, one.service.map(String::from))
    });
    told.collect()
}

fn of_bundle(name: &str, condition: &str) -> (String, String, Option<String>) {
    (name.to_owned(), condition.to_owned(), Some("gender".to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_brings_its_segments_when_it_enters_production_and_takes_them_when_it_leaves() {
    let world = World::start().await;
    let store = &world.store;
    let first = declaring("1.0.0", &[("keen", "score > 0.5"), ("lost", "other.tier = 'Low'")]);
    apply(store, &first).await.expect("applied");
    let of_first =
        [of_bundle("keen", "gender.score > 0.5"), of_bundle("lost", "other.tier = 'Low'")];
    assert_eq!(defined(store).await, of_first, "a service that is not there yet is trusted");

    // A candidate changes nothing until it is promoted.
    let second = declaring("2.0.0", &[("keen", "score > 0.7")]);
    let candidate = NewRelease { stage: Stage::Candidate, ..second.clone() };
    apply(store, &candidate).await.expect("applied");
    assert_eq!(defined(store).await, of_first);
    let wish = Promotion {
        path: path(),
        release: second.release,
        to: Stage::Production,
        reason: None,
        by: by("cli:bob"),
        now: Utc::now(),
    };
    // As the API does it: row security lets it at the tenant's own segments.
    let confined = store.confined(crm());
    releases::promote(&confined, &wish).await.expect("promoted");
    assert_eq!(defined(store).await, [of_bundle("keen", "gender.score > 0.7")]);
    let keen = segments::find(store, &crm(), &"keen".parse().expect("a name")).await;
    let keen = keen.expect("found").expect("a segment");
    assert_eq!((keen.version, keen.changed_by.as_str()), (2, "cli:bob"));

    apply(&confined, &declaring("3.0.0", &[])).await.expect("applied");
    assert_eq!(defined(store).await, []);
    apply(&confined, &declaring("4.0.0", &[("keen", "score > 0.7")])).await.expect("applied");
    assert_eq!(defined(store).await, [of_bundle("keen", "gender.score > 0.7")]);
    world.assert_sound().await;
    // A service that is taken out of use takes its segments along.
    releases::archive(store, &path(), None, &by("cli:ann")).await.expect("archived");
    assert_eq!(defined(store).await, []);
    world.assert_sound().await;
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_defined_elsewhere_is_not_taken_over_and_the_release_stays_out() {
    let world = World::start().await;
    let store = &world.store;
    apply(store, &declaring("1.0.0", &[("keen", "score > 0.5")])).await.expect("applied");
    let by_hand = segment("lost", "score < 0.1");
    let made = segments::define(store, &crm(), &by_hand, &ann()).await.expect("a definition");
    assert_eq!(made, Defined::Created);
    let taking = declaring("2.0.0", &[("new", "score > 0.9"), ("lost", "score < 0.2")]);
    let refused = apply(store, &taking).await;
    assert!(
        matches!(&refused, Err(StoreError::SegmentDefinedElsewhere { segment, place })
            if segment.as_str() == "lost" && place == "the API"),
        "{refused:?}"
    );
    let stage = releases::stage(store, &crm(), &service(), taking.release).await;
    assert_eq!(stage.expect("an answer"), None, "nothing of it is kept");
    assert_eq!(
        defined(store).await,
        [
            of_bundle("keen", "gender.score > 0.5"),
            ("lost".to_owned(), "gender.score < 0.1".to_owned(), None)
        ]
    );
    // Nor does the API change what a bundle defines.
    let refused = segments::define(store, &crm(), &segment("keen", "score > 1"), &ann()).await;
    let said = refused.expect_err("a segment of a bundle").to_string();
    assert!(said.contains("SEGMENT_CONFIG of the bundle of `gender`"), "{said}");
    world.assert_sound().await;
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_segments_back_and_is_never_refused_for_one() {
    let world = World::start().await;
    let store = &world.store;
    let first = declaring("1.0.0", &[("keen", "score > 0.5"), ("lost", "score < 0.1")]);
    apply(store, &first).await.expect("applied");
    world.published("gender", "2026-03-01T18:00:00Z", 10).await;
    apply(store, &declaring("2.0.0", &[])).await.expect("applied");
    world.published("gender", "2026-03-02T18:00:00Z", 10).await;
    segments::define(store, &crm(), &segment("lost", "score < 0"), &ann()).await.expect("defined");

    let (to, follow) = (None, Releases::Follow);
    let back = generations::rollback(store, &crm(), &service(), to, follow, &by("cli:bob")).await;
    assert_eq!(back.expect("rolled back").release, Some(first.release));
    assert_eq!(
        defined(store).await,
        [
            of_bundle("keen", "gender.score > 0.5"),
            ("lost".to_owned(), "gender.score < 0.0".to_owned(), None)
        ],
        "the one that somebody else defined meanwhile stays theirs"
    );
    world.assert_sound().await;
    world.store.close().await;
}

fn service() -> ServiceName {
    "gender".parse().expect("a name")
}
