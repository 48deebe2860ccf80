//! Who changed what, kept where nobody can rewrite it.

use cameo_store::audit::{self, AuditFilter, Break, Verified};
use cameo_tests::{Bundle, World, eventually};

async fn verified(world: &World) -> Verified {
    let anchors = world.place.artifacts().anchors().await.expect("the anchors are read");
    audit::verify(&world.store, anchors).await.expect("the chain is read")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_the_schedule_leaves_a_trail_that_the_worker_anchors_outside_the_database() {
    let world = World::start().await;
    world.customers("marketing", 50, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    world.advance_to("2024-03-01T18:00:30Z").await;
    let worker = world.worker(world.worker_config()).await;
    world.idle().await;
    let filter =
        AuditFilter { service: Some(gender.path.service.clone()), ..AuditFilter::default() };
    let mut entries = audit::list(&world.store, &filter).await.expect("the trail");
    entries.reverse();
    let told: Vec<_> = entries
        .iter()
        .skip_while(|entry| !entry.action.starts_with("run."))
        .map(|entry| (entry.action.as_str(), entry.actor.as_str(), entry.origin.as_str()))
        .collect();
    let expected = [
        ("run.requested", "scheduler", "scheduler"),
        ("run.claimed", "scenario", "worker"),
        ("run.published", "scenario", "worker"),
        ("generation.published", "scenario", "worker"),
    ];
    assert_eq!(told, expected);

    let anchors = eventually("the trail is anchored", async || {
        world.place.artifacts().anchors().await.ok().filter(|anchors| !anchors.is_empty())
    })
    .await;
    worker.stop().await;
    let sound = verified(&world).await;
    assert_eq!((sound.broken, sound.anchors), (None, anchors.len()));

    // Whoever owns the database cuts the trail off, and its head with it.
    let last = anchors.iter().map(|anchor| anchor.entry).max().expect("an anchor");
    world
        .sql(&format!(
            "set session_replication_role = replica;
             delete from cameo.audit where entry >= {last};
             update cameo.audit_head set entries = {last} - 1,
                 hash = (select hash from cameo.audit where entry = {last} - 1)"
        ))
        .await;
    let broken = verified(&world).await.broken.expect("it was cut off");
    assert_eq!((broken.entry, broken.how), (last, Break::Truncated));
}
