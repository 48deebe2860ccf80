//! What Cameo promises of its runs, shown by force and in figures: nothing lost, nothing doubled.
//!
//! Each module is one promise of docs/reliability.md. CI runs a short, seeded set of each; `tests/soak NAME ROUNDS`
//! runs as many rounds of one as are wanted and prints its figures.

mod hostile;
