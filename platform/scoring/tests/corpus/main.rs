//! Every export of the corpus gives what ONNX Runtime gives, and `docs/models.md` says so.
//!
//! `generate` makes the corpus from the scripts in this folder; `tests/run` calls it. Without a
//! corpus the test fails.

mod compare;
mod manifest;
mod page;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use compare::{Outcome, outcome};
use manifest::{Case, Corpus};

/// A corpus with fewer matching exports is not the corpus that this test is about.
const MATCHING_MIN: usize = 400;

/// Outcomes of all cases, in order.
fn outcomes(corpus: &Corpus) -> Vec<Outcome> {
    let cases = &corpus.manifest.cases;
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut found: Vec<(usize, Outcome)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut found = Vec::new();
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(case) = cases.get(index) else { return found };
                        // A panic of one model is that model's result.
                        let outcome = catch_unwind(AssertUnwindSafe(|| outcome(corpus, case)))
                            .unwrap_or_else(|_| Outcome::Differs("it panicked".to_owned()));
                        found.push((index, outcome));
                    }
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("panics are caught")).collect()
    });
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, outcome)| outcome).collect()
}

/// What is wrong with an outcome, given what the table of cases says.
fn complaint(case: &Case, outcome: &Outcome) -> Option<String> {
    let problem = match (outcome, &case.refused, &case.expected_failure) {
        (Outcome::Matches, None, None) => return None,
        (Outcome::Refused(said), Some(part), None) if said.contains(part) => return None,
        (Outcome::NotExported(said), None, Some(part)) if said.contains(part) => return None,
        (Outcome::Matches, Some(_), _) => {
            "it matches, but the table of cases says that it is refused".to_owned()
        }
        (Outcome::Matches, _, Some(_)) => {
            "it was exported, but the table of cases says that this fails".to_owned()
        }
        (Outcome::Refused(said), ..) => format!("refused: {said}"),
        (Outcome::NotExported(said), ..) => format!("not exported: {said}"),
        (Outcome::Differs(said), ..) => format!("differs: {said}"),
    };
    Some(format!("{} ({}): {problem}", case.name, case.operators.join(" ")))
}

#[test]
fn every_exported_model_gives_what_onnx_runtime_gives() {
    let corpus = Corpus::read();
    let outcomes = outcomes(&corpus);
    let cases = &corpus.manifest.cases;
    let complaints: Vec<String> = cases
        .iter()
        .zip(&outcomes)
        .filter_map(|(case, outcome)| complaint(case, outcome))
        .collect();
    let matching = outcomes.iter().filter(|outcome| **outcome == Outcome::Matches).count();
    assert!(
        corpus.manifest.uncovered.is_empty(),
        "skl2onnx converts {:?}, of which the corpus has neither a case nor a reason in converters.py",
        corpus.manifest.uncovered
    );
    assert!(
        complaints.is_empty(),
        "{} of {} exports are not as expected, {matching} match:\n{}",
        complaints.len(),
        cases.len(),
        complaints.join("\n")
    );
    assert!(matching >= MATCHING_MIN, "only {matching} exports match, expected {MATCHING_MIN}");
    if corpus.manifest.seed == 0 {
        page::check(&corpus.manifest, &outcomes);
    }
}
