//! Erasing: what the database holds to, whoever asks.

use cameo_domain::{DataType, Epoch, ErasureId, GenerationId, Key, Sha256};
use cameo_store::{
    By, StoreError,
    erasures::{self, ErasureState, KeyType, Look, NewErasure, Turn, suppressed},
    generations::{self, Releases, Rewritten},
    lookup, outbox,
    quarantine::{self, QuarantinedRow},
    snapshots::{self, SnapshotFile},
};

use crate::support::{World, crm};

fn by() -> By {
    By::new("ada", "test")
}

fn whom(key: &str) -> NewErasure {
    NewErasure { key: key.to_owned(), key_type: KeyType::Any, services: None, reason: None }
}

async fn turn(world: &World) -> Turn {
    let turn = erasures::claim(&world.store, 60).await.expect("a claim").expect("a turn");
    erasures::discover(&world.store, &turn).await.expect("the places");
    turn
}

/// Goes through every place but the copies, which this world has none of.
async fn work(world: &World, turn: &Turn) {
    let store = &world.store;
    for generation in erasures::tables(store, turn).await.expect("tables") {
        erasures::erase_table(store, turn, generation).await.expect("erased");
    }
    erasures::erase_quarantine(store, turn).await.expect("erased");
    for generation in erasures::to_rewrite(store, turn).await.expect("tables") {
        let rewritten = generations::rewrite(store, turn, generation).await.expect("an answer");
        assert_eq!(rewritten, Rewritten::Done);
    }
    // Nobody makes snapshots here, so there is none to delete.
    erasures::snapshots_renewed(store, turn).await.expect("renewed");
    for look in [Look::First, Look::Again] {
        for place in erasures::mirror_places(store, turn, look).await.expect("copies") {
            let none = vec![0; place.keys.len()];
            erasures::mirrored(store, turn, &place, &none, None, look).await.expect("recorded");
        }
        erasures::search_again(store, turn).await.expect("searched");
        for place in erasures::snapshots_to_search(store, turn).await.expect("snapshots") {
            assert_eq!(place.file, None);
            let none = vec![0; place.keys.len()];
            erasures::snapshot_searched(store, turn, &place, &none).await.expect("recorded");
        }
    }
}

async fn has(world: &World, generation: GenerationId, key: i64) -> bool {
    let path = "crm/gender".parse().expect("a path");
    let served = lookup::kept(&world.store, &path, generation).await.expect("an answer");
    let served = served.expect("the generation is kept");
    lookup::one(&world.store, &served, &Key::Int(key)).await.expect("an answer").is_some()
}

#[tokio::test]
async fn the_current_generation_is_clean_with_the_request_and_the_others_with_the_turn() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    let first = world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    let second = world.published("gender", "2026-03-02T00:00:00Z", 10).await;
    let asked = erasures::request(&world.store, &crm(), &whom("7"), &by()).await.expect("asked");
    let erasure = asked.into_erasure().erasure;
    assert_eq!((has(&world, first.id, 7).await, has(&world, second.id, 7).await), (true, false));
    world.assert_sound().await;

    let turn = turn(&world).await;
    assert!(erasures::close(&world.store, &turn).await.expect("an answer").is_empty());
    work(&world, &turn).await;
    assert_eq!(erasures::close(&world.store, &turn).await.expect("closed"), [erasure]);
    erasures::forget_keys(&world.store, &turn).await.expect("forgotten");
    assert!(!has(&world, first.id, 7).await && has(&world, first.id, 8).await);
    let found = erasures::find(&world.store, &crm(), erasure).await.expect("an answer");
    let (record, steps) = found.expect("the erasure");
    assert_eq!((record.state, record.rows_removed), (ErasureState::Done, 2));
    let tables = steps.iter().filter(|step| step.place == "table");
    for step in tables {
        let (before, after) = (step.before.expect("a digest"), step.after.expect("a digest"));
        assert_eq!((before.rows, after.rows), (10, 9));
    }
    world.assert_sound().await;
    let changed = world.sql("update cameo.erasures set passes = 9").await;
    assert!(changed.is_err(), "a record stays as it is");
}

#[tokio::test]
async fn a_rollback_leads_to_no_table_with_who_is_being_erased() {
    let world = World::start().await;
    let service = world.service("crm", "gender").await;
    let first = world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    world.published("gender", "2026-03-02T00:00:00Z", 10).await;
    erasures::request(&world.store, &crm(), &whom("7"), &by()).await.expect("asked");
    generations::rollback(&world.store, &crm(), &service, None, Releases::Keep, &by())
        .await
        .expect("rolled back");
    assert!(!has(&world, first.id, 7).await);
    world.assert_sound().await;
}

#[tokio::test]
async fn an_erasure_stays_open_until_every_run_has_ended_that_may_not_know_of_it() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.request("crm", "gender", "2026-03-01T00:00:00Z").await;
    let run = world.claim().await.expect("the run");
    erasures::request(&world.store, &crm(), &whom("7"), &by()).await.expect("asked");
    let waiting = turn(&world).await;
    work(&world, &waiting).await;
    assert!(erasures::close(&world.store, &waiting).await.expect("an answer").is_empty());
    erasures::end(&world.store, &waiting).await.expect("ended");

    // The run has read its suppressions before, and wrote the customer.
    let row = QuarantinedRow { key: Some("7".into()), column: None, reason: "late".into() };
    quarantine::insert(&world.store, run.run, run.epoch, &[row]).await.expect("set aside");
    let (generation, digest) =
        world.sealed(&run, &crate::support::scores(), &[crate::support::batch(0..10)]).await;
    world.publish(&run, &generation, digest).await.expect("published");
    assert!(!has(&world, generation.id, 7).await, "the publication took the customer out");
    world.sql("update cameo.erasure_turns set not_before = now()").await.expect("at once");
    let going_on = turn(&world).await;
    work(&world, &going_on).await;
    assert_eq!(erasures::close(&world.store, &going_on).await.expect("closed").len(), 1);
    let left = quarantine::list(&world.store, &crm(), run.run).await.expect("rows");
    assert!(left.is_empty(), "{left:?}");
    // A claim that was taken over changes nothing.
    let stale = Turn { epoch: waiting.epoch, ..going_on };
    let refused = erasures::close(&world.store, &stale).await;
    assert!(matches!(refused, Err(StoreError::StaleTurn(_))), "{refused:?}");
    assert_ne!(run.epoch, Epoch(0));
    world.assert_sound().await;
}

#[tokio::test]
async fn a_snapshot_that_was_made_before_the_publication_is_made_anew_for_who_was_erased_meanwhile()
{
    let world = World::start().await;
    let store = &world.store;
    let (run, generation, digest) = world.about_to_be_published().await;
    let begun = snapshots::begin(store, &generation, 60).await.expect("an answer");
    let task = begun.expect("a task");
    let file = SnapshotFile { sha256: Sha256::of("with customer 7"), bytes: 1_000 };
    snapshots::announce(store, &task, &file.sha256).await.expect("announced");
    snapshots::complete(store, &task, &file).await.expect("recorded");
    erasures::request(store, &crm(), &whom("7"), &by()).await.expect("asked");
    world.publish(&run, &generation, digest).await.expect("published");
    assert!(!has(&world, generation.id, 7).await, "the publication took the customer out");
    let found = snapshots::find(store, &crm(), generation.id).await.expect("an answer");
    assert_eq!(found, None, "readers go to the table");
    let again = snapshots::claim(store, 60, None).await.expect("a claim").expect("a task");
    assert_eq!((again.generation, again.wanted), (generation.id, true));
    assert_eq!(again.unwanted, [file.sha256], "the old file is deleted");
    world.assert_sound().await;
}

#[tokio::test]
async fn a_mirror_that_copied_before_an_erasure_is_told_to_copy_again() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    let task = outbox::claim(&world.store, 60, None).await.expect("a claim").expect("a task");
    erasures::request(&world.store, &crm(), &whom("7"), &by()).await.expect("asked");
    let late = outbox::complete(&world.store, &task, task.digest, task.digest).await;
    assert!(matches!(late, Err(StoreError::DigestMismatch { .. })), "{late:?}");
    let turn = turn(&world).await;
    let busy = erasures::mirror_places(&world.store, &turn, Look::First).await.expect("copies");
    assert!(busy.is_empty(), "a mirror is working on it");
    world.assert_sound().await;
}

/// As after a restore: the warehouse is another one, or has gone on since the backup.
#[tokio::test]
async fn a_copy_that_is_not_what_was_written_down_of_it_is_made_again() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    let task = outbox::claim(&world.store, 60, None).await.expect("a claim").expect("a task");
    outbox::complete(&world.store, &task, task.digest, task.digest).await.expect("mirrored");
    erasures::request(&world.store, &crm(), &whom("7"), &by()).await.expect("asked");
    let turn = turn(&world).await;
    // Nothing is found in the copy.
    work(&world, &turn).await;
    assert_eq!(erasures::close(&world.store, &turn).await.expect("closed").len(), 1);
    world.assert_sound().await;

    let again = outbox::claim(&world.store, 60, None).await.expect("a claim").expect("a task");
    assert_eq!((again.load_id, again.digest.rows), (task.load_id, 9));
    outbox::complete(&world.store, &again, again.digest, again.digest).await.expect("mirrored");
    world.assert_sound().await;
}

/// A turn that died when it had gone through the copy, or a restore beside another warehouse.
#[tokio::test]
async fn a_copy_without_a_table_in_which_nobody_is_found_is_what_is_left_of_the_table() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    for day in 1..=9 {
        world.published("gender", &format!("2026-03-0{day}T00:00:00Z"), 10).await;
        let task = outbox::claim(&world.store, 60, None).await.expect("a claim").expect("a task");
        outbox::complete(&world.store, &task, task.digest, task.digest).await.expect("mirrored");
        if day == 1 {
            // The one that is shown loses them at once, and its copy with the turn.
            erasures::request(&world.store, &crm(), &whom("7"), &by()).await.expect("asked");
        }
    }
    generations::retain_after(&world.store, 0).await.expect("old tables go");
    let dropped = "select count(*) from cameo.generations where dropped_at is not null";
    assert_ne!(world.number(dropped).await, 0);
    let turn = turn(&world).await;
    work(&world, &turn).await;
    assert_eq!(erasures::close(&world.store, &turn).await.expect("closed").len(), 1);
    world.assert_sound().await;
}

#[tokio::test]
async fn the_suppressions_of_a_tenant_are_its_own_and_keep_no_key() {
    let world = World::start().await;
    world.tenant("sales", 1).await;
    erasures::request(&world.store, &crm(), &whom("7"), &by()).await.expect("asked");
    let of = async |tenant: &str, key_type| {
        let path = format!("{tenant}/gender").parse().expect("a path");
        suppressed(&world.store, &path, key_type).await.expect("suppressions")
    };
    let ours = of("crm", DataType::Int).await;
    assert!(ours.has_int(7) && !ours.has_int(8) && !ours.has_text("7"));
    assert!(of("crm", DataType::String).await.has_text("7"));
    assert!(of("sales", DataType::Int).await.is_empty());
    let sales = "sales".parse().expect("a name");
    let theirs = erasures::find(&world.store, &sales, ErasureId(1)).await.expect("an answer");
    assert!(theirs.is_none(), "another tenant's erasure is not found");
    let changed =
        world.sql("update cameo.suppressions set fingerprint = fingerprint, service = 'x'").await;
    assert!(changed.is_err(), "a suppression is lifted and nothing else");
}
