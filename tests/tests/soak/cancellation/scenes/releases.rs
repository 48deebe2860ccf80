//! Releases, their stages and the schedule.

use cameo_domain::{
    Stage,
    schedule::{Decision, DueOutcome},
};
use cameo_store::{
    By, Store,
    generations::{self, Releases},
    releases::{self, NewRelease, Promotion},
    schedule::{self, DueService},
    services,
};
use cameo_tests::at;
use chrono::{Duration, Utc};

use super::super::sweep::Sweep;
use crate::ground::{Ground, lasting};

pub(crate) async fn play(sweep: &mut Sweep, ground: &Ground) {
    let path = ground.service("crm/staged").await;
    let (tenant, service) = (&path.tenant, &path.service);
    let by = By::new("ann", "soak");
    // A version that is new each time.
    let version = std::cell::Cell::new(1);
    let next = |stage| {
        version.set(version.get() + 1);
        NewRelease { stage, ..lasting(service, version.get()) }
    };
    let candidate = async || {
        let new = next(Stage::Candidate);
        ground.apply(&path, &new).await;
        new.release
    };
    let apply = async |store: &Store, new: NewRelease| releases::apply(store, tenant, &new).await;
    let new = async || next(Stage::Production);
    sweep.prepared("releases::apply::apply", new, apply).await.expect("applied");
    let wish = |release, to| Promotion {
        path: path.clone(),
        release,
        to,
        reason: None,
        by: by.clone(),
        now: Utc::now(),
    };
    let promote = async |store: &Store, release| {
        releases::promote(store, &wish(release, Stage::Production)).await
    };
    sweep.prepared("releases::promote::promote", candidate, promote).await.expect("promoted");
    let asked = async || {
        let new = NewRelease { protected: true, ..next(Stage::Candidate) };
        ground.apply(&path, &new).await;
        let wish = wish(new.release, Stage::Production);
        releases::promote(ground.store(), &wish).await.expect("asked for an approval");
        new.release
    };
    let bob = By::new("bob", "soak");
    let approve = async |store: &Store, release| {
        releases::approve(store, &path, release, None, &bob, Utc::now()).await
    };
    let approved = sweep.prepared("releases::promote::approve", asked, approve).await;
    approved.expect("approved");
    // A protected release in production lets no other in without somebody's approval.
    releases::archive(ground.store(), &path, None, &by).await.expect("archived");
    let in_production = async || ground.apply(&path, &next(Stage::Production)).await;
    let archive = async |store: &Store, ()| releases::archive(store, &path, None, &by).await;
    let archived = sweep.prepared("releases::promote::archive", in_production, archive).await;
    archived.expect("archived");
    let last = next(Stage::Production);
    ground.apply(&path, &last).await;
    let release = last.release;

    let answer = sweep
        .call("releases::current", async |store| releases::current(store, tenant, service).await)
        .await;
    assert_eq!(answer.expect("an answer").expect("a release").release, release);
    let find = async |store: &Store| releases::find(store, tenant, service, release).await;
    sweep.call("releases::find", find).await.expect("an answer");
    let name = release.to_string();
    let named = async |store: &Store| releases::named(store, tenant, service, &name).await;
    sweep.call("releases::named::named", named).await.expect("the release");
    let list = async |store: &Store| releases::list(store, tenant, service).await;
    sweep.call("releases::history::list", list).await.expect("releases");
    let stage = async |store: &Store| releases::stage(store, tenant, service, release).await;
    let found = sweep.call("releases::history::stage", stage).await.expect("an answer");
    assert_eq!(found, Some(Stage::Production));
    let standing = async |store: &Store| releases::standing(store, tenant, service, release).await;
    sweep.call("releases::history::standing", standing).await.expect("an answer");
    let history = async |store: &Store| releases::history(store, tenant, service, None, 10).await;
    sweep.call("releases::history::history", history).await.expect("promotions");
    let now = Utc::now();
    let then = async |store: &Store| releases::in_production_at(store, tenant, service, now).await;
    sweep.call("releases::history::in_production_at", then).await.expect("an answer");
    let ledger = async |store: &Store| releases::ledger(store, tenant, service, None, 10).await;
    sweep.call("releases::ledger::ledger", ledger).await.expect("entries");
    let as_of = async |store: &Store| releases::as_of(store, tenant, service, now).await;
    sweep.call("releases::ledger::as_of", as_of).await.expect("an answer");
    let list = async |store: &Store| services::list(store, Some(tenant)).await;
    sweep.call("services::list", list).await.expect("services");
    let find = async |store: &Store| services::find(store, tenant, service).await;
    sweep.call("services::find", find).await.expect("an answer").expect("the service");
    moved_back(sweep, ground).await;
    scheduled(sweep).await;
    ground.world.sql("update cameo.services set next_due_at = '2100-01-01'").await;
    super::runs::clear(ground).await;
}

async fn moved_back(sweep: &mut Sweep, ground: &Ground) {
    let path = ground.service("crm/moved").await;
    let by = By::new("ann", "soak");
    ground.published(&path, 3).await;
    let published = async || {
        ground.published(&path, 3).await;
    };
    let roll_back = async |store: &Store, ()| {
        let (tenant, service) = (&path.tenant, &path.service);
        generations::rollback(store, tenant, service, None, Releases::Follow, &by).await
    };
    let moved = sweep.prepared("generations::rollback::rollback", published, roll_back).await;
    moved.expect("rolled back");
}

/// Everything that is due runs once, and is due again a minute later.
async fn scheduled(sweep: &mut Sweep) {
    let minute = std::cell::Cell::new(0);
    let later = async || {
        minute.set(minute.get() + 1);
        at("2030-01-01T00:00:00Z") + Duration::minutes(minute.get())
    };
    let advance = async |store: &Store, now| {
        let decide = move |_: &DueService| Decision {
            due: vec![(now, DueOutcome::Run)],
            next: now + Duration::seconds(1),
        };
        schedule::advance(store, now, 10, decide).await
    };
    let decided = sweep.prepared("schedule::advance", later, advance).await;
    assert!(!decided.expect("decided").is_empty());
}
