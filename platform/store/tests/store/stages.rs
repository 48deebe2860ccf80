//! Stages: what the ledger of promotions lets happen, and what it tells.

use cameo_domain::{ReleaseId, ServicePath, Sha256, Stage};
use cameo_store::{
    StoreError,
    generations::{self, Releases, refresh_views, retain_after, rollback, withdraw_after},
    outbox,
    releases::{self, Applied, Move, Moved, NewRelease, Promotion},
};
use chrono::Utc;

use crate::support::{World, by, crm, release, scores};

pub(crate) fn path(service: &str) -> ServicePath {
    ServicePath::new(crm(), service.parse().expect("a service name"))
}

/// A version of the service `gender`.
pub(crate) fn version(version: &str) -> NewRelease {
    let mut new = release("gender", &scores());
    new.release = ReleaseId(Sha256::of(version));
    version.clone_into(&mut new.version);
    new
}

pub(crate) async fn promote(
    world: &World,
    release: ReleaseId,
    to: Stage,
    actor: &str,
) -> Result<Moved, StoreError> {
    let promotion = Promotion {
        path: path("gender"),
        release,
        to,
        reason: Some(format!("{actor} says so")),
        by: by(actor),
        now: Utc::now(),
    };
    releases::promote(&world.store, &promotion).await
}

pub(crate) async fn stage(world: &World, release: ReleaseId) -> Option<Stage> {
    let path = path("gender");
    releases::stage(&world.store, &path.tenant, &path.service, release).await.expect("an answer")
}

async fn apply(world: &World, new: &NewRelease) -> Applied {
    releases::apply(&world.store, &crm(), new).await.expect("applied")
}

#[tokio::test]
async fn a_candidate_runs_only_once_it_is_promoted_and_takes_the_place_of_what_ran() {
    let world = World::start().await;
    let (one, mut two) = (version("1.0.0"), version("2.0.0"));
    two.stage = Stage::Candidate;
    assert_eq!(apply(&world, &one).await, Applied::Created);
    assert_eq!(apply(&world, &two).await, Applied::Registered);
    let path = path("gender");
    let current = releases::current(&world.store, &path.tenant, &path.service);
    assert_eq!(current.await.expect("an answer").expect("a release").release, one.release);
    let moved = promote(&world, two.release, Stage::Production, "ann").await.expect("promoted");
    assert_eq!(moved, Moved::Moved { from: Stage::Candidate, replaced: Some(one.release) });
    assert_eq!(stage(&world, one.release).await, Some(Stage::Archived));
    let unchanged = promote(&world, two.release, Stage::Production, "ann").await;
    assert_eq!(unchanged.expect("an answer"), Moved::Unchanged);
    // Git is what is wanted: the tree that was replaced comes back when it is applied again.
    assert_eq!(apply(&world, &one).await, Applied::Changed);
    assert_eq!(stage(&world, two.release).await, Some(Stage::Archived));
    world.assert_sound().await;
}

#[tokio::test]
async fn a_protected_service_takes_two_people_and_lifting_the_protection_does_too() {
    let world = World::start().await;
    let (mut one, two) = (version("1.0.0"), version("2.0.0"));
    one.protected = true;
    assert_eq!(apply(&world, &one).await, Applied::AwaitsApproval);
    let approve = async |release, actor| {
        let (store, path, by) = (&world.store, path("gender"), by(actor));
        releases::approve(store, &path, release, Some("fine"), &by, Utc::now()).await
    };
    let own = approve(one.release, "test").await.expect_err("one's own request");
    assert!(own.to_string().contains("somebody else"), "{own}");
    assert!(matches!(approve(one.release, "bob").await, Ok(Moved::Moved { .. })));
    // The next release says nothing of a protection, which is what it would lift.
    assert_eq!(apply(&world, &two).await, Applied::AwaitsApproval);
    assert_eq!(stage(&world, two.release).await, Some(Stage::Candidate));
    assert!(matches!(
        promote(&world, two.release, Stage::Production, "bob").await,
        Ok(Moved::AwaitsApproval { .. })
    ));
    // Bob asked last, but the pipeline had asked before: that he may approve.
    assert!(matches!(approve(two.release, "bob").await, Ok(Moved::Moved { .. })));
    assert_eq!(stage(&world, two.release).await, Some(Stage::Production));
    let three = version("3.0.0");
    assert_eq!(apply(&world, &three).await, Applied::Changed, "nothing is protected any more");
    let nobody = approve(two.release, "eve").await.expect_err("nobody asked");
    assert!(nobody.to_string().contains("nobody has asked"), "{nobody}");
    world.assert_sound().await;
}

#[tokio::test]
async fn the_ledger_cannot_be_passed_by_nor_changed() {
    let world = World::start().await;
    let (one, mut two) = (version("1.0.0"), version("2.0.0"));
    two.stage = Stage::Candidate;
    two.protected = true;
    apply(&world, &one).await;
    apply(&world, &two).await;
    promote(&world, two.release, Stage::Production, "ann").await.expect("asked for");
    let insert = "insert into cameo.promotions
        (tenant, service, release, from_stage, to_stage, action, actor, origin, request)";
    let of = |stage: &str| format!("from cameo.release_stages where stage = '{stage}'");
    let (production, candidate) = (of("production"), of("candidate"));
    for refused in [
        "update cameo.release_stages set stage = 'production' where stage = 'candidate'".to_owned(),
        "delete from cameo.release_stages".to_owned(),
        "insert into cameo.release_stages select tenant, service, release, 'canary', now(), promotion
         from cameo.release_stages limit 1"
            .to_owned(),
        "update cameo.promotions set actor = 'nobody'".to_owned(),
        "delete from cameo.promotions".to_owned(),
        "update cameo.promotion_requests set actor = 'nobody'".to_owned(),
        "delete from cameo.promotion_requests".to_owned(),
        "update cameo.services set release = null".to_owned(),
        // What runs would not be what is in production.
        format!("{insert} select tenant, service, release, stage, 'archived', 'archive', 'eve', 'x', null {production}"),
        // Two would be in production.
        format!("{insert} select tenant, service, release, stage, 'production', 'promote', 'eve', 'x', null {candidate}"),
        // It does not stand there; there is no such step.
        format!("{insert} select tenant, service, release, 'shadow', 'canary', 'promote', 'eve', 'x', null {candidate}"),
        format!("{insert} select tenant, service, release, stage, 'shadow', 'promote', 'eve', 'x', null {production}"),
        // An approval of nothing, and one's own.
        format!("{insert} select tenant, service, release, stage, 'shadow', 'approve', 'eve', 'x', null {candidate}"),
        format!("{insert} select tenant, service, release, stage, 'shadow', 'approve', 'ann', 'x', 1 {candidate}"),
    ] {
        assert!(world.any_sql(&refused).await.is_err(), "accepted: {refused}");
    }
    world.assert_sound().await;
}

#[tokio::test]
async fn what_was_rolled_back_stays_away_until_it_is_promoted() {
    let world = World::start().await;
    let (one, two) = (version("1.0.0"), version("2.0.0"));
    apply(&world, &one).await;
    let first = world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    apply(&world, &two).await;
    world.published("gender", "2026-03-02T00:00:00Z", 10).await;
    let path = path("gender");
    let back = async |releases| {
        let (store, by) = (&world.store, by("ann"));
        rollback(store, &path.tenant, &path.service, None, releases, &by).await
    };
    let done = back(Releases::Follow).await.expect("rolled back");
    assert_eq!((done.to, done.release), (first.id, Some(one.release)));
    assert_eq!(apply(&world, &two).await, Applied::Held, "or the merged tree would undo it");
    assert_eq!(apply(&world, &one).await, Applied::Unchanged);
    promote(&world, two.release, Stage::Production, "ann").await.expect("promoted");
    world.published("gender", "2026-03-03T00:00:00Z", 10).await;
    let kept = back(Releases::Keep).await.expect("rolled back");
    assert_eq!(kept.release, None);
    assert_eq!(stage(&world, two.release).await, Some(Stage::Production));
    world.assert_sound().await;
}

#[tokio::test]
async fn the_ledger_tells_what_stood_in_production_and_what_was_served_at_any_instant() {
    let world = World::start().await;
    let (one, two) = (version("1.0.0"), version("2.0.0"));
    apply(&world, &one).await;
    let first = world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    apply(&world, &two).await;
    let second = world.published("gender", "2026-03-02T00:00:00Z", 10).await;
    let path = path("gender");
    let (store, tenant, service) = (&world.store, &path.tenant, &path.service);
    rollback(store, tenant, service, None, Releases::Follow, &by("ann")).await.expect("back");

    let all = releases::ledger(store, tenant, service, None, 200).await.expect("the ledger");
    let told: Vec<String> = all
        .iter()
        .map(|entry| match &entry.moved {
            Move::Promotion { action, version, to, .. } => format!("{action} {version} {to}"),
            Move::Publication { action, generation, .. } => {
                format!("{action} {}", generation.expect("a generation"))
            }
        })
        .collect();
    let (g1, g2) = (first.id, second.id);
    assert_eq!(
        told,
        [
            format!("rollback {g1}"),
            "rollback 1.0.0 production".to_owned(),
            "rollback 2.0.0 archived".to_owned(),
            format!("publish {g2}"),
            "apply 2.0.0 production".to_owned(),
            "replace 1.0.0 archived".to_owned(),
            format!("publish {g1}"),
            "apply 1.0.0 production".to_owned(),
        ]
    );
    assert_eq!(all[0].at, all[2].at, "a rollback is one instant");
    let expected = [
        (all[7].at, Some("1.0.0"), None),
        (all[6].at, Some("1.0.0"), Some(g1)),
        (all[5].at, Some("2.0.0"), Some(g1)),
        (all[3].at, Some("2.0.0"), Some(g2)),
        (all[0].at, Some("1.0.0"), Some(g1)),
    ];
    let microsecond = chrono::Duration::microseconds(1);
    let as_of = async |instant| {
        let found = releases::as_of(store, tenant, service, instant).await.expect("an answer");
        (found.version, found.served.map(|served| served.generation))
    };
    let mut before = (None, None);
    for (instant, version, generation) in expected {
        assert_eq!(as_of(instant - microsecond).await, before, "just before {instant}");
        before = (version.map(str::to_owned), generation);
        assert_eq!(as_of(instant).await, before, "at {instant}");
    }
    // Pages never split an instant.
    let page = releases::ledger(store, tenant, service, None, 2).await.expect("a page");
    assert_eq!(page.len(), 3);
    let rest = releases::ledger(store, tenant, service, Some(page[2].at), 200).await;
    assert_eq!(rest.expect("the rest").len(), 5);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_release_is_named_by_its_first_digits_or_its_version_and_never_by_chance() {
    let world = World::start().await;
    let (one, mut two) = (version("1.0.0"), version("2.0.0"));
    two.stage = Stage::Candidate;
    let mut again = version("2.0.0 again");
    "2.0.0".clone_into(&mut again.version);
    again.stage = Stage::Candidate;
    for new in [&one, &two, &again] {
        apply(&world, new).await;
    }
    let named = async |name: &str| {
        let path = path("gender");
        releases::named(&world.store, &path.tenant, &path.service, name).await
    };
    let digits = two.release.to_string();
    for (name, release) in [("1.0.0", &one), (&digits[..4], &two), (&digits.to_uppercase(), &two)] {
        assert_eq!(named(name).await.expect("one").release, release.release, "{name}");
    }
    let ambiguous = named("2.0.0").await.expect_err("two have this version");
    assert!(matches!(ambiguous, StoreError::AmbiguousRelease(_)), "{ambiguous}");
    assert!(ambiguous.to_string().contains(&two.release.0.short()), "{ambiguous}");
    for name in [&digits[..3], "9.9.9", "%", ""] {
        let unknown = named(name).await.expect_err("nothing of this name");
        assert!(matches!(unknown, StoreError::UnknownRelease(_)), "{unknown}");
        assert!(unknown.to_string().contains(&one.release.0.short()), "{unknown}");
    }
}

#[tokio::test]
async fn an_archived_service_is_served_until_its_time_is_over_and_then_leaves_no_table() {
    let world = World::start().await;
    let one = version("1.0.0");
    apply(&world, &one).await;
    let first = world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    world.request("crm", "gender", "2026-03-02T00:00:00Z").await;
    let (store, path) = (&world.store, path("gender"));
    let archived = releases::archive(store, &path, Some("gone"), &by("ann")).await;
    assert_eq!(archived.expect("archived"), [one.release]);
    assert!(world.claim().await.is_none(), "what waited is cancelled");
    refresh_views(store).await.expect("the view");
    assert_eq!(generations::withdraw(store).await.expect("an answer"), [], "its time is not over");
    assert_eq!(world.number("select count(*) from tenant_crm.gender").await, 10);
    assert_eq!(withdraw_after(store, 0).await.expect("an answer"), std::slice::from_ref(&path));
    assert_eq!(withdraw_after(store, 0).await.expect("an answer"), []);
    assert_eq!(retain_after(store, 0).await.expect("an answer"), [], "the mirror has not seen it");
    while let Some(task) = outbox::claim(store, 60, None).await.expect("a claim") {
        outbox::complete(store, &task, task.digest, task.digest).await.expect("mirrored");
    }
    assert_eq!(retain_after(store, 0).await.expect("an answer"), [first.id]);
    world.assert_sound().await;
    // Applied again, it begins anew.
    assert_eq!(apply(&world, &one).await, Applied::Changed);
    world.published("gender", "2026-03-01T12:00:00Z", 10).await;
    refresh_views(store).await.expect("the view");
    assert_eq!(world.number("select count(*) from tenant_crm.gender").await, 10);
    let told = generations::history(store, &path.tenant, &path.service).await.expect("told");
    let told: Vec<_> = told.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(told, ["publish", "withdraw", "publish"]);
    world.assert_sound().await;
}
