//! The schema, and the database as a whole.

use std::time::Duration;

use cameo_store::{
    Store, StoreError,
    backup::{self, Contents, Dump, Load},
    runs, schema,
};
use chrono::Utc;
use futures_util::TryStreamExt;

use super::super::sweep::Sweep;

pub(crate) async fn play(sweep: &mut Sweep) {
    sweep.call("schema::read", schema::read).await.expect("the schema");
    sweep.call("schema::check", schema::check).await.expect("it is ours");
    sweep.call("schema::preflight::preflight", schema::preflight).await.expect("an answer");
    sweep.call("schema::migrate::migrate", schema::migrate).await.expect("up to date");
    let patience = Duration::from_secs(1);
    let migrate = async |store: &Store| schema::migrate_within(store, patience).await;
    sweep.call("schema::migrate::migrate_within", migrate).await.expect("up to date");
    let apart = sweep.call("connect::Store::apart", Store::apart).await.expect("connections");
    apart.close().await;
    sweep.call("runs::waiting::waiting", runs::waiting).await.expect("numbers");

    // A dump holds its view for as long as it lives.
    let begin = async |store: &Store| Dump::begin(store).await.map(drop);
    sweep.call("backup::dump::Dump::begin", begin).await.expect("a view");
    let swept = sweep.store.clone();
    let begun = async || Dump::begin(&swept).await.expect("a view");
    let read = async |_: &Store, mut dump: Dump| {
        let table = dump.contents().tables.first().expect("a table").clone();
        let rows = dump.rows(&table).await?;
        rows.try_fold(0, async |bytes, lines| Ok::<_, StoreError>(bytes + lines.len())).await
    };
    sweep.prepared("backup::dump::Dump::rows", begun, read).await.expect("all rows");
    let end = async |_: &Store, dump: Dump| dump.end().await;
    sweep.prepared("backup::dump::Dump::end", begun, end).await.expect("ended");
    let contents = Dump::begin(&swept).await.expect("a view").contents().clone();
    loaded(sweep, contents).await;
    let note = async |store: &Store| {
        let detail = serde_json::json!({ "at": Utc::now() });
        backup::note(store, "backup.taken", "soak", detail).await
    };
    sweep.call("backup::note", note).await.expect("noted");
    let breaches = sweep.call("backup::prove::prove", backup::prove).await.expect("an answer");
    assert!(breaches.is_empty(), "{breaches:#?}");
}

/// A load begins its transaction on a connection of the pool, and refuses a database that is not empty.
async fn loaded(sweep: &mut Sweep, contents: Contents) {
    let begin = async |store: &Store| Load::begin(store, contents.clone()).await.map(drop);
    let refused = sweep.call("backup::load::Load::begin", begin).await;
    assert!(matches!(refused, Err(StoreError::NotEmpty { .. })), "{refused:?}");
}
