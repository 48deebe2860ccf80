//! Erasing customers.

use std::cell::Cell;

use cameo_domain::{DataType, Reason};
use cameo_store::{
    By, Store,
    erasures::{self, ErasureState, KeyType, Look, NewErasure, Turn},
    generations,
    quarantine::{self, QuarantinedRow},
};
use chrono::Utc;

use super::super::sweep::Sweep;
use crate::ground::Ground;

const ROWS: i64 = 200;

pub(crate) async fn play(sweep: &mut Sweep, ground: &Ground) {
    // A tenant of its own: an erasure goes through all that a tenant has.
    let erased = ground.tenant("erased", 1).await;
    let path = ground.service("erased/clv").await;
    ground.published(&path, ROWS).await;
    ground.published(&path, ROWS).await;
    let run = ground.claimed(&path).await;
    let row = QuarantinedRow { key: Some("7".into()), column: None, reason: "odd".into() };
    quarantine::insert(ground.store(), run.run, run.epoch, &[row]).await.expect("set aside");
    let reason = Reason::new("soak", "it was dropped somewhere");
    cameo_store::runs::halt(ground.store(), run.run, run.epoch, reason).await.expect("halted");

    let by = By::new("ann", "soak");
    let key = Cell::new(0);
    let whom = async || {
        key.set(key.get() + 1);
        let key = key.get().to_string();
        NewErasure { key, key_type: KeyType::Any, services: None, reason: None }
    };
    let request = async |store: &Store, new| erasures::request(store, &erased, &new, &by).await;
    let asked = sweep.prepared("erasures::request::request", whom, request).await;
    let erasure = asked.expect("asked").into_erasure().erasure;
    let list = async |store: &Store| erasures::list(store, &erased).await;
    sweep.call("erasures::list", list).await.expect("erasures");
    let find = async |store: &Store| erasures::find(store, &erased, erasure).await;
    sweep.call("erasures::find", find).await.expect("an answer").expect("the erasure");
    let claim = async |store: &Store| erasures::claim(store, 0).await;
    let turn = sweep.call("erasures::turns::claim", claim).await.expect("a claim");
    work(sweep, &turn.expect("a turn")).await;
    let found = erasures::find(ground.store(), &erased, erasure).await.expect("an answer");
    let (record, steps) = found.expect("the erasure");
    assert_eq!(record.state, ErasureState::Done, "{steps:#?}");

    let suppressed = async |store: &Store| erasures::suppressed(store, &path, DataType::Int).await;
    let suppressed = sweep.call("erasures::suppressed::suppressed", suppressed).await;
    assert!(suppressed.expect("an answer").has_int(1));
    let list = async |store: &Store| erasures::suppressions(store, &erased).await;
    sweep.call("erasures::suppressed::suppressions", list).await.expect("suppressions");
    let key = Cell::new(0);
    let next = async || {
        key.set(key.get() + 1);
        key.get().to_string()
    };
    let lift = async |store: &Store, key: String| {
        erasures::lift(store, &erased, &key, KeyType::Any, "back again", &by).await
    };
    let lifted = sweep.prepared("erasures::suppressed::lift", next, lift).await;
    assert!(!lifted.expect("lifted").is_empty());
}

/// Goes through every place. What a dropped call has done already is done again.
async fn work(sweep: &mut Sweep, turn: &Turn) {
    let beat = async |store: &Store| erasures::heartbeat(store, turn, 3_600).await;
    sweep.call("erasures::turns::heartbeat", beat).await.expect("held");
    let discover = async |store: &Store| erasures::discover(store, turn).await;
    sweep.call("erasures::turns::discover", discover).await.expect("the places");
    let tables = async |store: &Store| erasures::tables(store, turn).await;
    let tables = sweep.call("erasures::tables::tables", tables).await.expect("tables");
    for generation in tables {
        let erase = async |store: &Store| erasures::erase_table(store, turn, generation).await;
        sweep.call("erasures::tables::erase_table", erase).await.expect("erased");
    }
    let erase = async |store: &Store| erasures::erase_quarantine(store, turn).await;
    sweep.call("erasures::quarantined::erase_quarantine", erase).await.expect("erased");
    let tables = async |store: &Store| erasures::to_rewrite(store, turn).await;
    let tables = sweep.call("erasures::tables::to_rewrite", tables).await.expect("tables");
    for generation in tables {
        let rewrite = async |store: &Store| generations::rewrite(store, turn, generation).await;
        sweep.call("generations::rewrite::rewrite", rewrite).await.expect("written anew");
    }
    let renewed = async |store: &Store| erasures::snapshots_renewed(store, turn).await;
    sweep.call("erasures::snapshotted::snapshots_renewed", renewed).await.expect("noted");
    for look in [Look::First, Look::Again] {
        let places = async |store: &Store| erasures::mirror_places(store, turn, look).await;
        let places = sweep.call("erasures::mirrored::mirror_places", places).await;
        for place in places.expect("copies") {
            let none = vec![0; place.keys.len()];
            let note = async |store: &Store| {
                erasures::mirrored(store, turn, &place, &none, None, look).await
            };
            sweep.call("erasures::mirrored::mirrored", note).await.expect("noted");
        }
        let search = async |store: &Store| erasures::search_again(store, turn).await;
        sweep.call("erasures::search::search_again", search).await.expect("searched");
        let places = async |store: &Store| erasures::snapshots_to_search(store, turn).await;
        let places = sweep.call("erasures::snapshotted::snapshots_to_search", places).await;
        for place in places.expect("snapshots") {
            let none = vec![0; place.keys.len()];
            let note =
                async |store: &Store| erasures::snapshot_searched(store, turn, &place, &none).await;
            sweep.call("erasures::snapshotted::snapshot_searched", note).await.expect("noted");
        }
    }
    let close = async |store: &Store| erasures::close(store, turn).await;
    sweep.call("erasures::turns::close", close).await.expect("closed");
    let forget = async |store: &Store| erasures::forget_keys(store, turn).await;
    sweep.call("erasures::turns::forget_keys", forget).await.expect("forgotten");
    let end = async |store: &Store| erasures::end(store, turn).await;
    sweep.call("erasures::turns::end", end).await.expect("ended");
    let later = Utc::now();
    let reason = Reason::new("soak", "it was dropped somewhere");
    let put_off = async |store: &Store| erasures::put_off(store, turn, reason.clone(), later).await;
    sweep.call("erasures::turns::put_off", put_off).await.expect("put off");
}
