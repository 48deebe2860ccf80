//! Look-ups, and streams of whole generations.

use arrow::array::RecordBatch;
use cameo_domain::Key;
use cameo_store::{
    Store, StoreError,
    lookup::{self, Reader},
};
use futures_util::{Stream, TryStreamExt};

use super::super::sweep::Sweep;
use crate::ground::Ground;

const ROWS: i64 = 2_000;

/// Reads a stream to its end.
pub(crate) async fn count(
    stream: impl Stream<Item = Result<RecordBatch, StoreError>>,
) -> Result<u64, StoreError> {
    stream.try_fold(0, async |rows, batch| Ok(rows + batch.num_rows() as u64)).await
}

pub(crate) async fn play(sweep: &mut Sweep, ground: &Ground) {
    let path = ground.service("crm/served").await;
    let generation = ground.published(&path, ROWS).await.id;
    let current = async |store: &Store| lookup::current(store, Some(&path.tenant)).await;
    sweep.call("lookup::current", current).await.expect("pointers");
    let kept = async |store: &Store| lookup::kept(store, &path, generation).await;
    let served = sweep.call("lookup::kept", kept).await.expect("an answer").expect("it is kept");
    let (key, keys): (_, Vec<_>) = (Key::Int(ROWS - 1), (0..2 * ROWS).map(Key::Int).collect());
    let one = async |store: &Store| lookup::one(store, &served, &key).await;
    sweep.call("lookup::one", one).await.expect("an answer").expect("a prediction");
    let many = async |store: &Store| lookup::many(store, &served, &keys).await;
    let found = sweep.call("lookup::many", many).await.expect("an answer");
    assert_eq!(i64::try_from(found.iter().flatten().count()), Ok(ROWS));
    let first = async |store: &Store| lookup::first(store, &served, 100).await;
    sweep.call("lookup::first", first).await.expect("predictions");
    // It has a connection of its own, and gives up the one on which a call was dropped.
    let mut reader = Reader::new(sweep.store.clone());
    let one = async |_: &Store| reader.one(&served, &key).await;
    sweep.call("lookup::reader::Reader::one", one).await.expect("an answer").expect("it is there");
    let many = async |_: &Store| reader.many(&served, &keys).await;
    sweep.call("lookup::reader::Reader::many", many).await.expect("an answer");
}
