//! Connections to Postgres that are late, cut, half closed, or lose their answers.
//!
//! The Lake, to which the mirror copies here, is a folder: no network leads to it. What a warehouse does that is
//! reached by one is shown where the mirror has one that loses, repeats and delays.

use std::time::Duration;

use cameo_tests::{Fault, Proxy, Weather, World, rounds};

use super::{crew::Crew, lanes};

/// Of a thousand pieces: about every second run meets a fault that ends a connection.
const STORM: Weather = Weather { delay: 30, cut: 2, answers_lost: 2, half_closed: 2 };
const ROUND: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_network_does_each_instant_is_published_once() {
    let rounds = rounds(10);
    let world = World::start().await;
    let mut draw = lanes(1).remove(0);
    let proxy = Proxy::start(&world, draw.fork()).await;
    let mut crew = Crew::start(&world, proxy.place(&world)).await;
    // They have to come in before the weather turns.
    crew.hour_passes().await;
    crew.all_are_in().await;
    proxy.set(STORM);
    for _ in 0..rounds {
        crew.hour_passes().await;
        tokio::time::sleep(draw.shorter_than(ROUND)).await;
        crew.look(&mut draw, "a storm").await;
    }
    proxy.set(Weather::default());
    let tally = crew.settle().await;
    tally.finish(
        "A network that delays, cuts, half closes and loses answers",
        &[
            ("rounds", u64::from(rounds)),
            ("pieces delayed", proxy.happened(Fault::Delay)),
            ("connections cut", proxy.happened(Fault::Cut)),
            ("connections that lost answers", proxy.happened(Fault::AnswersLost)),
            ("connections half closed", proxy.happened(Fault::HalfClosed)),
        ],
    );
}
