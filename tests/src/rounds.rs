//! How long a promise is put to the test, and what came of it.

use std::{
    env,
    fmt::Display,
    io::{self, Write},
    str::FromStr,
};

/// How many rounds `tests/soak` wants.
const ROUNDS: &str = "CAMEO_SOAK_ROUNDS";
/// The seed of whatever is drawn.
const SEED: &str = "CAMEO_SOAK_SEED";
/// The seed that CI has.
const USUAL_SEED: u64 = 20_240_301;

/// The rounds to take: `short` of them in CI, as many as `tests/soak` says elsewhere.
#[must_use]
pub fn rounds(short: u32) -> u32 {
    number(ROUNDS).unwrap_or(short)
}

/// The seed of a scenario: the same one in CI each time, so that a failure repeats.
#[must_use]
pub fn seed() -> u64 {
    number(SEED).unwrap_or(USUAL_SEED)
}

fn number<T: FromStr>(variable: &str) -> Option<T>
where
    T::Err: Display,
{
    let text = env::var(variable).ok()?;
    let number = text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}"));
    Some(number)
}

/// Prints the figures of a promise, one to a line, as docs/reliability.md has them.
pub fn report(promise: &str, figures: &[(&str, &dyn Display)]) {
    let lines = figures.iter().map(|(name, figure)| format!("  {name:<44} {figure:>12}\n"));
    let text = format!("{promise}\n{}", lines.collect::<String>());
    // Where nobody listens, the test still counts.
    let _ = io::stdout().write_all(text.as_bytes());
}
