//! Receivers that are slow, fail, break off or are dead, and are told all the same.

use std::time::Duration;

use cameo_tests::{Bundle, Manner, Receiver, Service, World, eventually};

const ROWS: u64 = 100;
/// A little less than a receiver may take.
const SLOW: Duration = Duration::from_millis(1_500);
/// Longer than it may take.
const TOO_SLOW: Duration = Duration::from_secs(16);

/// Has others be members than before, and makes them.
async fn change(world: &World, gender: &Service<'_>, nth: usize) {
    gender.define_segment("loyal", &format!("gender.score > {nth}.5"), &[]).await;
    eventually("the members are made", async || {
        world.make_members().await;
        (gender.materialisations("loyal").await.len() == nth).then_some(())
    })
    .await;
}

/// Waits until so many messages were delivered; what failed is tried again without a pause.
async fn delivered(world: &World, gender: &Service<'_>, count: usize) {
    let tenant = &gender.path.tenant;
    eventually(&format!("{count} messages are delivered"), async || {
        // What is being told goes on: only pauses are cut short.
        world
            .sql("update cameo.webhook_deliveries set not_before = now() where state = 'pending'")
            .await;
        let told = world.deliveries(tenant, "campaigns").await;
        let done = told.iter().filter(|one| one.state == "delivered").count();
        (done == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_in_any_mood_is_told_of_each_change_in_order_and_signed() {
    let world = World::start().await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    world.customers("marketing", ROWS, 1.0).await;
    gender.publish("2024-03-01T18:00:00Z").await;
    world.make_snapshots().await;
    let receiver = Receiver::start().await;
    world.tell(&gender.path.tenant, "campaigns", &receiver).await;
    receiver.will([
        // The first message.
        Manner::Refuse(500),
        Manner::Cut,
        Manner::TakeSlowly(TOO_SLOW),
        Manner::TakeSlowly(SLOW),
        // The second one, of which the sender does not learn at first that it was taken.
        Manner::TakeAndCut,
        Manner::Refuse(429),
    ]);
    change(&world, &gender, 1).await;
    let worker = world.worker(world.worker_config()).await;
    delivered(&world, &gender, 1).await;
    worker.stop().await;
    change(&world, &gender, 2).await;
    let worker = world.worker(world.worker_config()).await;
    delivered(&world, &gender, 2).await;

    // Killed, while two changes are to be told.
    let dead = receiver.die().await;
    change(&world, &gender, 3).await;
    change(&world, &gender, 4).await;
    let told = eventually("the dead receiver was tried", async || {
        let told = world.deliveries(&gender.path.tenant, "campaigns").await;
        (told.len() == 4 && told[2].reason.is_some()).then_some(told)
    })
    .await;
    assert_eq!(told[3].attempts, 0, "one after the other");
    let receiver = dead.revive().await;
    delivered(&world, &gender, 4).await;
    worker.stop().await;

    assert_eq!(receiver.taken(), [1, 2, 3, 4], "{:#?}", receiver.heard());
    let told = world.deliveries(&gender.path.tenant, "campaigns").await;
    let attempts: Vec<u32> = told.iter().map(|one| one.attempts).collect();
    assert_eq!(attempts[..2], [4, 3], "{told:#?}");
    assert!(attempts[2] > 1 && attempts[3] == 1, "{told:#?}");
    let failing = "select webhook from cameo.webhooks where failing_since is not null";
    assert!(world.texts(failing).await.is_empty(), "it takes messages again");
    world.assert_sound().await;
}
