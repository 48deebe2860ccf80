//! Webhooks are told of every change, signed and in order, by workers that come and go and whatever receivers do.

use std::time::Duration;

use cameo_tests::{Bundle, Draw, Manner, Receiver, World, eventually, report, rounds, seed};

/// Changes in CI.
const CHANGES: u32 = 8;
const ROWS: u64 = 70;
/// Customers have the scores 1 to 7.
const THRESHOLDS: u64 = 6;
/// So many messages may wait while the next change is made.
const WAITING_MAX: usize = 5;
/// Slower than this no answer is.
const SLOW: Duration = Duration::from_millis(400);
/// Pauses between attempts are cut short so often.
const HURRY: Duration = Duration::from_millis(200);

fn fault(draw: &mut Draw) -> Manner {
    match draw.below(5) {
        0 => Manner::Refuse(500),
        1 => Manner::Refuse(429),
        2 => Manner::Cut,
        3 => Manner::TakeAndCut,
        _ => Manner::TakeSlowly(draw.shorter_than(SLOW)),
    }
}

/// Waits until no more than so many messages wait.
async fn delivered(world: &World, waiting_max: usize) {
    eventually(&format!("no more than {waiting_max} messages wait"), async || {
        let waiting = "select delivery from cameo.webhook_deliveries where state = 'pending'";
        if world.texts(waiting).await.len() <= waiting_max {
            return Some(());
        }
        world
            .sql("update cameo.webhook_deliveries set not_before = now() where state = 'pending'")
            .await;
        tokio::time::sleep(HURRY).await;
        None
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_told_signed_and_in_order() {
    let (changes, seed) = (rounds(CHANGES), seed());
    let mut draw = Draw::new(seed);
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    gender.publish("2024-03-01T18:00:00Z").await;
    world.make_snapshots().await;
    let tenant = &gender.path.tenant;
    let mut receiver = Receiver::start().await;
    world.tell(tenant, "campaigns", &receiver).await;
    let mut worker = world.worker(world.worker_config()).await;
    let (mut faults, mut deaths, mut restarts) = (0_u64, 0_u64, 0_u64);
    for change in 1..=changes {
        let troubles = draw.below(3);
        receiver.will((0..troubles).map(|_| fault(&mut draw)));
        faults += troubles;
        // Others are members than before each time, so that there is something to tell.
        let threshold = u64::from(change) % THRESHOLDS;
        gender.define_segment("loyal", &format!("gender.score > {threshold}.5"), &[]).await;
        let is_dead = draw.below(4) == 0;
        let present = if is_dead { Err(receiver.die().await) } else { Ok(receiver) };
        eventually("the members are made", async || {
            world.make_members().await;
            let made = gender.materialisations("loyal").await;
            made.iter().any(|one| one.number >= change).then_some(())
        })
        .await;
        if draw.below(4) == 0 {
            worker.stop().await;
            worker = world.worker(world.worker_config()).await;
            restarts += 1;
        }
        receiver = match present {
            Ok(receiver) => receiver,
            Err(dead) => dead.revive().await,
        };
        deaths += u64::from(is_dead);
        delivered(&world, WAITING_MAX).await;
    }
    delivered(&world, 0).await;
    worker.stop().await;
    let expected: Vec<u64> = (1..=u64::from(changes)).collect();
    assert_eq!(receiver.taken(), expected, "with seed {seed}");
    let told = world.texts("select state from cameo.webhook_deliveries").await;
    assert!(told.iter().all(|state| state == "delivered"), "{told:?}");
    world.assert_sound().await;
    let sent = receiver.heard();
    let again = sent.iter().filter(|one| one.is_taken()).count() - expected.len();
    report(
        "Webhooks: every change is told, signed and in order",
        &[
            ("changes", &changes),
            ("faults of the receiver", &faults),
            ("deaths of the receiver", &deaths),
            ("workers replaced", &restarts),
            ("messages that arrived", &sent.len()),
            ("of them, repeated though taken before", &again),
            ("changes lost, or told out of order", &0),
        ],
    );
}
