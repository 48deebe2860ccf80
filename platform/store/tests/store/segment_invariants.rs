//! The doctor sees what the triggers of segments would not let happen.

use cameo_store::{invariants, segments};

use crate::{
    segments::{ann, made, segment},
    support::{LEASE_SECONDS, World, crm},
};

/// Changes rows past their triggers, as somebody with the database's password could.
const TAMPERING: &str = "set session_replication_role = replica;";

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_sees_each_way_in_which_a_segment_can_be_false() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.published("gender", "2026-03-01T18:00:00Z", 10).await;
    let store = &world.store;
    segments::define(store, &crm(), &segment("keen", "score > 0.5"), &ann())
        .await
        .expect("defined");
    let task = segments::claim(store, LEASE_SECONDS).await.expect("a claim").expect("a task");
    segments::complete(store, &task, made(&task)).await.expect("recorded");
    world.assert_sound().await;

    for (invariant, breaks, mends) in WAYS {
        world.any_sql(&format!("{TAMPERING} {breaks}")).await.expect("broken");
        let breaches = invariants::check(store).await.expect("the check");
        let told = breaches.iter().any(|breach| breach.invariant == *invariant);
        assert!(told, "{breaks}: {breaches:#?}");
        world.any_sql(&format!("{TAMPERING} {mends}")).await.expect("mended");
        world.assert_sound().await;
    }
    world.store.close().await;
}

const LATEST: &str = "a segment is what its latest version says, and no version is missing";
const DECLARED: &str =
    "a bundle in production defines the segments that it declares, and no others";
const NUMBERED: &str = "the members of a segment are numbered from 1 without gaps";
const PUBLISHED: &str =
    "members are of published generations of their tenant, as of the oldest of them";
const SEEN: &str = "a segment that was looked at has members of what was seen, or says why not";

/// What holds, what breaks it, and what mends it again.
const WAYS: &[(&str, &str, &str)] = &[
    (
        LATEST,
        "update cameo.segments set definition = definition || '{\"description\": \"other\"}'",
        "update cameo.segments s set definition = v.definition from cameo.segment_versions v
         where (v.tenant, v.segment) = (s.tenant, s.segment)",
    ),
    (
        LATEST,
        "update cameo.segment_versions set version = 2; update cameo.segments set version = 2",
        "update cameo.segment_versions set version = 1; update cameo.segments set version = 1",
    ),
    (
        DECLARED,
        "update cameo.releases
         set manifest = manifest || '{\"segments\": [{\"name\": \"lost\"}]}'",
        "update cameo.releases set manifest = manifest - 'segments'",
    ),
    (
        DECLARED,
        "update cameo.segments set service = 'gender';
         update cameo.segment_versions set service = 'gender'",
        "update cameo.segments set service = null;
         update cameo.segment_versions set service = null",
    ),
    (
        NUMBERED,
        "update cameo.segment_materialisations set number = 2, previous = 1",
        "update cameo.segment_materialisations set number = 1, previous = null",
    ),
    (
        PUBLISHED,
        "update cameo.segment_materialisations set as_of = as_of - interval '1 day'",
        "update cameo.segment_materialisations set as_of = as_of + interval '1 day'",
    ),
    (
        PUBLISHED,
        "update cameo.segment_materialisations set generations = '{\"clv\": 1}'",
        "update cameo.segment_materialisations m set generations = s.seen_generations
         from cameo.segments s",
    ),
    (
        SEEN,
        "update cameo.segments set seen_generations = '{\"gender\": 987}'",
        "update cameo.segments set seen_generations = m.generations
         from cameo.segment_materialisations m",
    ),
    (
        SEEN,
        "update cameo.segment_materialisations set dropped_at = now()",
        "update cameo.segment_materialisations set dropped_at = null",
    ),
];
