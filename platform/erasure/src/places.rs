//! One kind of place after the other.

use cameo_domain::Key;
use cameo_store::{
    Store,
    erasures::{self, Look, Turn},
    generations::{self, Rewritten},
};
use cameo_warehouse::Warehouse;

use crate::ErasureError;

/// Takes customers out of the tables of kept generations.
pub(crate) async fn tables(store: &Store, turn: &Turn) -> Result<(), ErasureError> {
    for generation in erasures::tables(store, turn).await? {
        erasures::erase_table(store, turn, generation).await?;
    }
    Ok(())
}

/// Writes the tables anew in whose pages removed rows still lie, each once for all erasures of the turn.
pub(crate) async fn rewrite_tables(store: &Store, turn: &Turn) -> Result<(), ErasureError> {
    for generation in erasures::to_rewrite(store, turn).await? {
        match generations::rewrite(store, turn, generation).await? {
            Rewritten::Done => {}
            Rewritten::Later => tracing::debug!(%generation, "is written anew by a later turn"),
        }
    }
    Ok(())
}

/// Takes customers out of the copies in the warehouse, or looks once more whether they are.
pub(crate) async fn copies(
    store: &Store,
    warehouse: &dyn Warehouse,
    turn: &Turn,
    look: Look,
) -> Result<(), ErasureError> {
    for place in erasures::mirror_places(store, turn, look).await? {
        let (tenant, service) = (&place.path.tenant, &place.path.service);
        let keys: Vec<Key> = place.keys.iter().map(|erased| erased.key.clone()).collect();
        let column = &place.schema.key().name;
        let erased = warehouse.erase(tenant, service, place.generation, column, &keys).await?;
        erasures::mirrored(store, turn, &place, &erased.rows, erased.copy, look).await?;
    }
    Ok(())
}
