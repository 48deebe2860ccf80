//! Workers that are killed while they tell a webhook.

use cameo_crashpoint::WEBHOOK;
use cameo_tests::{Process, Receiver, Role, World, eventually};

use crate::published;

/// How often a receiver hears what was being told when the worker died.
fn heard_after(point: &str) -> usize {
    if point == "webhook_sent" { 2 } else { 1 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_be_killed_while_it_tells_a_webhook_and_another_one_tells_the_same() {
    let world = World::start().await;
    let gender = published(&world).await;
    let tenant = &gender.path.tenant;
    let receiver = Receiver::start().await;
    world.tell(tenant, "campaigns", &receiver).await;
    world.make_snapshots().await;
    for (nth, point) in WEBHOOK.iter().chain(&WEBHOOK).enumerate() {
        let before = receiver.heard().len();
        // Each time others are members, so that there is something to tell.
        gender.define_segment("loyal", &format!("gender.score > {}", nth + 1), &[]).await;
        world.make_members().await;
        let mut worker = Process::dying_at(&world, Role::Worker, point);
        worker.killed().await;
        world.assert_sound().await;

        // Before another worker has a lease of its own.
        world.hurry_deliveries().await;
        let other = world.worker(world.worker_config()).await;
        eventually(&format!("{point}: another worker tells it"), async || {
            let told = world.deliveries(tenant, "campaigns").await;
            (told.len() == nth + 1 && told.iter().all(|one| one.state == "delivered")).then_some(())
        })
        .await;
        other.stop().await;
        let heard = receiver.heard().split_off(before);
        assert_eq!(heard.len(), heard_after(point), "{point}: {heard:#?}");
        for again in &heard {
            assert!(again.is_signed, "{point}");
            assert_eq!((&again.id, &again.body), (&heard[0].id, &heard[0].body), "{point}");
            assert_eq!(again.materialisation(), nth as u64 + 1, "{point}");
        }
        world.assert_sound().await;
    }
}
