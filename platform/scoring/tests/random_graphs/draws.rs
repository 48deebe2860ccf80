//! Random choices from a seed, on a grid on which 32-bit sums are exact.

use crate::support::Rows;

pub(crate) struct Draws(Rows);

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rows::new(seed))
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.draw()).expect("31 bits") % end
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// A multiple of 1/2 from -2 to 2.
    pub(crate) fn weight(&mut self) -> f32 {
        self.below(9) as f32 / 2.0 - 2.0
    }

    pub(crate) fn weights(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.weight()).collect()
    }

    /// A multiple of 1/4 from -4 to 4.
    pub(crate) fn value(&mut self) -> f32 {
        self.below(33) as f32 / 4.0 - 4.0
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
