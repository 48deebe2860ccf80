//! Chance that repeats itself.

use std::time::Duration;

/// What is added at each step, and what mixes the sum (SplitMix64 by Steele, Lea and Flood).
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
const MIX: [u64; 2] = [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB];

/// A source of numbers that are the same for the same seed.
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// From a seed (see [`crate::seed`]).
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another source, for a lane of its own.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.number())
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(MIX[0]);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(MIX[1]);
        mixed ^ (mixed >> 31)
    }

    /// One of 0 to `end` - 1.
    ///
    /// # Panics
    /// When `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// One of several.
    ///
    /// # Panics
    /// When there is none.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let which = self.below(all.len() as u64);
        all[usize::try_from(which).expect("an index")]
    }

    /// A while that is shorter than `end`, in whole milliseconds.
    pub fn shorter_than(&mut self, end: Duration) -> Duration {
        let end = u64::try_from(end.as_millis()).expect("a short while");
        Duration::from_millis(self.below(end))
    }
}
