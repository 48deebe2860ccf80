//! Mirrors that are killed.

use cameo_crashpoint::MIRROR;
use cameo_store::outbox;
use cameo_tests::{Process, Role, World, eventually};

use crate::published;

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_may_be_killed_at_any_point_of_a_load() {
    let world = World::start().await;
    let gender = published(&world).await;
    let (tenant, service) = (&gender.path.tenant, &gender.path.service);
    for (day, point) in MIRROR.iter().enumerate() {
        if day > 0 {
            gender.publish(&format!("2024-03-1{day}T18:00:00Z")).await;
        }
        let mut mirror = Process::dying_at(&world, Role::Mirror, point);
        mirror.killed().await;
        world.assert_sound().await;
        eventually(&format!("{point}: another mirror takes over"), async || {
            world.mirror().await;
            (outbox::lag(&world.store).await.expect("the lag").pending == 0).then_some(())
        })
        .await;
        let newest = &gender.generations().await[0];
        let found = world.warehouse.digest(tenant, service, newest.generation).await;
        assert_eq!(found.ok(), newest.digest, "{point}");
        world.assert_sound().await;
    }
}
