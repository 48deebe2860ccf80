//! Every call of the store, where it has something to do.

mod access;
mod backup;
mod erasures;
mod generations;
mod platform;
mod queues;
mod readers;
mod releases;
mod runs;
mod segments;

use super::sweep::Sweep;
use crate::ground::Ground;

pub(crate) async fn play(sweep: &mut Sweep, ground: &Ground) {
    ground.tenant("crm", 100).await;
    platform::play(sweep, ground).await;
    backup::play(sweep).await;
    releases::play(sweep, ground).await;
    runs::play(sweep, ground).await;
    Box::pin(generations::play(sweep, ground)).await;
    queues::play(sweep, ground).await;
    readers::play(sweep, ground).await;
    segments::play(sweep, ground).await;
    erasures::play(sweep, ground).await;
    access::play(sweep, ground).await;
}
