//! Releases, quarantine, keys and migrations.

use cameo_domain::{ReleaseId, Scopes, Services, Sha256};
use cameo_store::{
    keys::{self, NewKey, Rotation},
    quarantine::{self, QUARANTINE_ROWS_MAX, QuarantinedRow},
    releases::{self, Applied},
    runs::{self, Progress, StepTime},
    services,
};
use chrono::Utc;

use crate::support::{World, at, crm, release, scores, tenant};

#[tokio::test]
async fn migrations_may_run_twice_at_once() {
    let world = World::start().await;
    let (one, other) = tokio::join!(world.store.migrate(), world.store.migrate());
    one.expect("migrated");
    other.expect("migrated");
    world.store.migrate().await.expect("nothing left to do");
    world.store.ping().await.expect("an answer");
}

#[tokio::test]
async fn an_unchanged_schedule_keeps_its_place_and_a_changed_one_starts_anew() {
    let world = World::start().await;
    let mut new = release("gender", &scores());
    let (store, tenant_name) = (&world.store, crm());
    let apply = async |new: &releases::NewRelease| {
        releases::apply(store, &tenant_name, new).await.expect("applied")
    };
    assert_eq!(apply(&new).await, Applied::Created);
    assert_eq!(apply(&new).await, Applied::Unchanged);
    let first_due = new.next_due_at;
    new.release = ReleaseId(Sha256::of("second"));
    new.next_due_at = at("2027-01-01T18:00:00Z");
    assert_eq!(apply(&new).await, Applied::Changed);
    let find = async || {
        services::find(store, &tenant_name, &new.service).await.expect("read").expect("found")
    };
    assert_eq!(find().await.next_due_at, Some(first_due));
    let second = new.release;
    new.release = ReleaseId(Sha256::of("third"));
    new.cron = "0 6 * * *".to_owned();
    assert_eq!(apply(&new).await, Applied::Changed);
    assert_eq!(find().await.next_due_at, Some(new.next_due_at));
    let found = releases::find(store, &tenant_name, &new.service, second).await.expect("read");
    assert_eq!(found.expect("the older release").release, second);
    let foreign = releases::current(store, &tenant("other"), &new.service).await.expect("read");
    assert!(foreign.is_none(), "another tenant's release is not found");
    let mut like_a_table = release("gender_g1", &scores());
    like_a_table.release = new.release;
    assert!(releases::apply(store, &tenant_name, &like_a_table).await.is_err());
}

#[tokio::test]
async fn quarantined_rows_and_progress_belong_to_the_latest_attempt() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    let id = world.request("crm", "gender", "2026-03-01T00:00:00Z").await;
    let run = world.claim().await.expect("a run");
    let row = |key: &str| QuarantinedRow {
        key: Some(key.to_owned()),
        column: Some("age".to_owned()),
        reason: "expected a number, found null".to_owned(),
    };
    let store = &world.store;
    quarantine::insert(store, id, run.epoch, &[row("a\0b"), row("c")]).await.expect("kept");
    quarantine::insert(store, id, run.epoch, &[row("d")]).await.expect("kept");
    let rows = quarantine::list(store, &crm(), id).await.expect("rows");
    let kept: Vec<_> = rows.iter().filter_map(|row| row.key.as_deref()).collect();
    assert_eq!(kept, ["a\u{fffd}b", "c", "d"]);
    let full = vec![row("x"); QUARANTINE_ROWS_MAX];
    assert!(quarantine::insert(store, id, run.epoch, &full).await.is_err());
    assert!(quarantine::list(store, &tenant("other"), id).await.expect("rows").is_empty());

    let progress = Progress {
        stage: "scoring".to_owned(),
        rows_read: 10,
        steps: vec![StepTime { name: "read".to_owned(), seconds: 0.5 }],
        ..Progress::default()
    };
    runs::heartbeat(store, id, run.epoch, 60, &progress).await.expect("renewed");
    let found = runs::find(store, &crm(), id).await.expect("read").expect("the run");
    assert_eq!(found.progress, Some(progress));
}

#[tokio::test]
async fn keys_are_found_by_prefix_and_revoked_only_by_their_tenant() {
    let world = World::start().await;
    let new = NewKey {
        prefix: "cam_abc".to_owned(),
        hash: Sha256::of("secret"),
        tenant: Some(crm()),
        name: "dashboard".to_owned(),
        scopes: Scopes::all(),
        services: Services::All,
        created_by: "ann".to_owned(),
        expires_at: None,
    };
    let store = &world.store;
    keys::insert(store, &new).await.expect("kept");
    assert!(keys::find(store, &tenant("other"), "cam_abc").await.is_err());
    assert_eq!(keys::find(store, &crm(), "cam_abc").await.expect("the key").name, "dashboard");
    let found = keys::find_by_prefix(store, "cam_abc").await.expect("read").expect("the key");
    assert_eq!((found.hash, found.tenant), (new.hash, new.tenant));
    keys::touch(store, "cam_abc").await.expect("touched");
    let listed = keys::list(store, Some(&crm())).await.expect("keys");
    assert!(listed[0].last_used_at.is_some() && listed[0].is_active(Utc::now()));
    assert!(keys::list(store, Some(&tenant("other"))).await.expect("keys").is_empty());
    assert!(keys::revoke(store, Some(&tenant("other")), "cam_abc").await.is_err());
    let revoked = keys::revoke(store, Some(&crm()), "cam_abc").await.expect("revoked");
    assert!(!revoked.is_active(Utc::now()));
}

#[tokio::test]
async fn a_key_is_handed_over_once_and_what_it_may_do_never_changes() {
    let world = World::start().await;
    let store = &world.store;
    let now = Utc::now();
    let new = NewKey {
        prefix: "cam_old".to_owned(),
        hash: Sha256::of("old"),
        tenant: Some(crm()),
        name: "dashboard".to_owned(),
        scopes: Scopes::from_words(&["read", "run"]).expect("scopes"),
        services: Services::Only(vec!["clv".parse().expect("a name")]),
        created_by: "ann".to_owned(),
        expires_at: Some(now + chrono::Duration::days(7)),
    };
    keys::insert(store, &new).await.expect("kept");
    let rotation = Rotation {
        prefix: "cam_old".to_owned(),
        successor: "cam_new".to_owned(),
        hash: Sha256::of("new"),
        overlap: chrono::Duration::hours(1),
        by: "bob".to_owned(),
        now: now + chrono::Duration::days(1),
    };
    assert!(keys::rotate(store, Some(&tenant("other")), &rotation).await.is_err());
    let rotated = keys::rotate(store, Some(&crm()), &rotation).await.expect("rotated");
    let (old, made) = (rotated.old, rotated.new);
    assert_eq!((made.scopes, &made.services, made.tenant), (new.scopes, &new.services, new.tenant));
    assert_eq!((made.created_by.as_str(), made.successor), ("bob", None));
    assert_eq!(old.successor.as_deref(), Some("cam_new"));
    // To the minute: a lifetime begins when the row is made, and the database keeps microseconds.
    let half_a_minute = chrono::Duration::seconds(30);
    let left = |end: chrono::DateTime<Utc>| (end - rotation.now + half_a_minute).num_minutes();
    assert_eq!(old.expires_at.map(left), Some(60));
    assert_eq!(made.expires_at.map(left), Some(7 * 24 * 60), "as long");
    let again = Rotation { successor: "cam_3rd".to_owned(), ..rotation.clone() };
    let again = keys::rotate(store, None, &again).await.expect_err("handed over already");
    assert!(again.to_string().contains("cam_new takes over"), "{again}");
    for refused in [
        "update cameo.api_keys set scopes = '{all}' where prefix = 'cam_new'",
        "update cameo.api_keys set services = null where prefix = 'cam_new'",
        "update cameo.api_keys set tenant = null, services = null where prefix = 'cam_new'",
        "update cameo.api_keys set successor = null where prefix = 'cam_old'",
        "update cameo.api_keys set successor = prefix where prefix = 'cam_new'",
    ] {
        assert!(world.any_sql(refused).await.is_err(), "accepted: {refused}");
    }
    world.assert_sound().await;
}
