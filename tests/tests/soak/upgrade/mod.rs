//! Backup, restore and upgrade (W12): what every earlier schema held comes back, up to date and at work; what is
//! damaged is refused; and old and new processes work side by side.

mod beside;
mod damaged;
mod earlier;
mod taken_at_work;

use std::path::Path;

use cameo_backup::{BackupError, Checked, Restored, Taken};
use cameo_tests::{Cluster, World};

/// Takes a backup of a world into the folder `to` of another place.
pub(crate) async fn take(world: &World, to: &Path) -> Result<Taken, BackupError> {
    cameo_backup::take(&world.store, &world.place.artifacts(), to).await
}

/// A world on a database of its own, with nothing in it.
pub(crate) async fn empty_world() -> World {
    let cluster = Cluster::shared().await;
    let database_url = cluster.create_database().await;
    World::over(cluster, database_url).await
}

/// Restores a backup into a new world.
pub(crate) async fn restored(from: &Path) -> (World, Restored) {
    let checked = cameo_backup::check(from).await.expect("a sound backup");
    let world = empty_world().await;
    let restored = restore_into(&world, &checked).await.expect("it comes back");
    (world, restored)
}

/// Restores a backup into a world.
pub(crate) async fn restore_into(
    world: &World,
    checked: &Checked,
) -> Result<Restored, BackupError> {
    cameo_backup::restore(&world.store, &world.place.artifacts(), checked).await
}
