//! Schedulers of which each has a clock of its own, that are killed at any moment and were away for a month:
//! every due instant is decided once, and as the rules say.

mod oracle;
mod replica;
mod trial;

use std::time::Instant;

use cameo_tests::{report, rounds, seed};
use chrono::Duration;

use trial::{Strike, Trial};

/// Rounds in CI, in each of which all replicas look once: the outages are among them.
const ROUNDS_SHORT: u32 = 200;
/// Rounds between two comparisons with the oracle.
const COMPARED_EVERY: u32 = 50;
/// After so many rounds the outages come again.
const OUTAGES_EVERY: u32 = 2_500;

#[test]
fn schedulers_that_die_and_whose_clocks_jump_decide_every_due_instant_once() {
    let mut trial = Trial::start(seed());
    let begun = Instant::now();
    let rounds = rounds(ROUNDS_SHORT);
    for round in 0..rounds {
        match round % OUTAGES_EVERY {
            40 => trial.outage(Duration::minutes(1)),
            80 => trial.outage(Duration::days(1)),
            120 => trial.outage(Duration::days(30)),
            _ => trial.let_time_pass(),
        }
        trial.move_clocks();
        let strike = match trial.draw.below(100) {
            0..12 => Strike::Death,
            12..16 => Strike::LostConnections,
            _ => Strike::Nothing,
        };
        trial.round(strike);
        if round % COMPARED_EVERY == COMPARED_EVERY - 1 {
            trial.compare();
        }
    }
    trial.compare();
    let figures = trial.end();
    assert!(figures.runs > 0 && figures.coalesced > 0 && figures.missed > 0, "{figures:?}");
    assert!(figures.deaths > 0 && figures.lost_connections > 0, "{figures:?}");
    let per_second = |count: u64| format!("{:.0}", count as f64 / figures.seconds_looking);
    report(
        "Three schedulers, 100 schedules, a virtual clock",
        &[
            ("rounds of three looks", &rounds),
            ("killed in the middle of a look", &figures.deaths),
            ("connections cut in the middle of a look", &figures.lost_connections),
            ("outages of a minute, a day, 30 days", &figures.outages),
            ("jumps of a clock", &figures.jumps),
            ("days that passed", &figures.days),
            ("due instants by the oracle", &figures.instants),
            ("  run", &figures.runs),
            ("  coalesced", &figures.coalesced),
            ("  missed by window or policy", &figures.missed),
            ("lost, doubled or decided otherwise", &0),
            ("looks per second", &per_second(u64::from(rounds) * 3)),
            ("instants decided per second", &per_second(figures.instants)),
            ("seconds", &begun.elapsed().as_secs()),
        ],
    );
}
