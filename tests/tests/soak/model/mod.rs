//! Whatever happens in whatever order, some of it at once: the store answers and shows what a model of a few
//! hundred lines says.

mod real;
mod reference;
mod step;
mod view;

use std::{cell::RefCell, time::Instant};

use cameo_tests::{at, report, rounds, seed};
use proptest::{
    collection::vec,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use sqlx::PgConnection;

use crate::ground::Ground;
use real::Case;
use reference::Model;
use step::{Move, Step, moves};
use view::{Names, View, look};

/// Cases in CI.
const CASES_SHORT: u32 = 40;
/// What is left of cases slows those down that follow.
const CASES_PER_WORLD: u32 = 100;
const MOVES_MIN: usize = 20;
const MOVES_MAX: usize = 70;
const SHRINKS_MAX: u32 = 300;
/// When the clocks of a case begin, and when its services are due first.
const BEGINNING: &str = "2026-03-01T00:00:00Z";
const FIRST_DUE: &str = "2026-03-01T18:00:00Z";

#[derive(Debug, Default)]
struct Figures {
    cases: u32,
    steps: u64,
    at_once: u64,
    published: usize,
    rolled_back: usize,
    refused: u64,
}

#[test]
fn random_interleavings_show_and_answer_what_the_model_says() {
    let begun = Instant::now();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let figures = RefCell::new(Figures::default());
    let cases = rounds(CASES_SHORT);
    for world in 0..cases.div_ceil(CASES_PER_WORLD) {
        let ground = runtime.block_on(Ground::start());
        let connection = RefCell::new(runtime.block_on(ground.world.connection()));
        let here = CASES_PER_WORLD.min(cases - world * CASES_PER_WORLD);
        let config = Config {
            cases: here,
            failure_persistence: None,
            max_shrink_iters: SHRINKS_MAX,
            ..Config::default()
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed().to_le_bytes());
        bytes[8..12].copy_from_slice(&world.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        TestRunner::new_with_rng(config, random)
            .run(&vec(moves(), MOVES_MIN..=MOVES_MAX), |moves| {
                let (mut connection, mut figures) = (connection.borrow_mut(), figures.borrow_mut());
                runtime
                    .block_on(follow(&ground, &mut connection, &moves, &mut figures))
                    .map_err(TestCaseError::fail)
            })
            .unwrap_or_else(|failure| panic!("{failure}"));
        runtime.block_on(async move { drop(ground) });
    }
    let figures = figures.into_inner();
    assert!(figures.published > 0 && figures.rolled_back > 0 && figures.refused > 0, "{figures:?}");
    report(
        "The store against a model",
        &[
            ("cases", &figures.cases),
            ("steps", &figures.steps),
            ("of which two at once", &figures.at_once),
            ("publications", &figures.published),
            ("rollbacks", &figures.rolled_back),
            ("refusals, of stale claims above all", &figures.refused),
            ("differences from the model", &0),
            ("seconds", &begun.elapsed().as_secs()),
        ],
    );
}

/// Goes through a case; says where store and model part.
async fn follow(
    ground: &Ground,
    connection: &mut PgConnection,
    moves: &[Move],
    figures: &mut Figures,
) -> Result<(), String> {
    figures.cases += 1;
    let first = at(FIRST_DUE);
    let case = Case::start(ground, figures.cases, first).await;
    let mut trial = Trial {
        model: Model::new(at(BEGINNING), first, case.orders()),
        names: Names::default(),
        told: Vec::new(),
    };
    let mut outcome = Ok(());
    for (number, next) in moves.iter().enumerate() {
        outcome = Box::pin(trial.take(&case, connection, *next, number, figures)).await;
        if outcome.is_err() {
            break;
        }
    }
    figures.published += trial.model.copies.len();
    figures.rolled_back += trial.model.ledger.iter().filter(|entry| entry.is_rollback).count();
    let breaches = cameo_store::invariants::check(ground.store()).await.expect("the check");
    case.end().await;
    outcome?;
    if breaches.is_empty() {
        return Ok(());
    }
    Err(format!("{breaches:#?}\nafter {:#?}", trial.told))
}

struct Trial {
    model: Model,
    names: Names,
    /// What happened so far.
    told: Vec<String>,
}

impl Trial {
    async fn take(
        &mut self,
        case: &Case<'_>,
        connection: &mut PgConnection,
        next: Move,
        number: usize,
        figures: &mut Figures,
    ) -> Result<(), String> {
        let serial = i64::try_from(number).expect("few moves") * 2;
        let steps: Vec<Step> = match next {
            Move::Alone(step) => vec![self.model.resolve(step, serial)],
            Move::Together(one, other) => {
                let (one, other) =
                    (self.model.resolve(one, serial), self.model.resolve(other, serial + 1));
                if may_be_together(one, other) { vec![one, other] } else { vec![one] }
            }
        };
        figures.steps += steps.len() as u64;
        let now = self.model.now;
        let answers = match steps[..] {
            [one, other] => {
                figures.at_once += 2;
                let both = (case.take(one, now, &self.names), case.take(other, now, &self.names));
                let (one, other) = tokio::join!(both.0, both.1);
                vec![one, other]
            }
            _ => vec![case.take(steps[0], now, &self.names).await],
        };
        let (names, seen) = look(case, connection).await;
        let answers: Vec<_> = answers.iter().map(|answer| names.places(answer)).collect();
        self.names = names;
        self.told.push(format!("{steps:?}: {answers:?}"));
        figures.refused +=
            answers.iter().filter(|one| **one == reference::Answer::Refused).count() as u64;
        // What happens at once happens in one order or the other.
        let mut orders = vec![(0..steps.len()).collect::<Vec<_>>()];
        if steps.len() == 2 {
            orders.push(vec![1, 0]);
        }
        let mut expected = Vec::new();
        for order in orders {
            let mut model = self.model.clone();
            let mut foreseen = vec![reference::Answer::Nothing; steps.len()];
            for place in order {
                foreseen[place] = model.take(steps[place]);
            }
            let view = View::of(&model);
            if foreseen == answers && view == seen {
                self.model = model;
                return Ok(());
            }
            expected.push((foreseen, view));
        }
        let told = &self.told;
        Err(format!("{told:#?}\nexpected one of {expected:#?}\nfound {answers:#?} {seen:#?}"))
    }
}

/// Whether two steps can happen at once, and the order of their effects can be told afterwards.
fn may_be_together(one: Step, other: Step) -> bool {
    let same = one.actor().is_some() && one.actor() == other.actor();
    // Copies stand in the order in which publications began, and runs in that of their numbers, which those
    // of two requests share out among them as they come. Whoever claims a run at the moment at which it is
    // withdrawn goes without another. Of two leases that end, either looker may find both.
    let unordered = |one, other| {
        matches!(
            (one, other),
            (Step::Publish { .. }, Step::Publish { .. })
                | (Step::Request { .. }, Step::Request { .. })
                | (Step::Expire { .. }, Step::Expire { .. })
                | (
                    Step::Claim { .. },
                    Step::Cancel { .. } | Step::Promote { .. } | Step::RollBack { .. },
                )
        )
    };
    let ordered = !unordered(one, other) && !unordered(other, one);
    one.is_atomic() && other.is_atomic() && !same && ordered
}
