//! Chance that repeats itself.

use std::time::Duration;

/// A generator of numbers that is the same for a seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Self(seed);
        // The first numbers of neighbouring seeds resemble each other.
        dice.below(1);
        dice.below(1);
        dice
    }

    /// A number under `sides`.
    pub(crate) fn below(&mut self, sides: i64) -> i64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    /// A number from `least` to `most`.
    pub(crate) fn between(&mut self, least: i64, most: i64) -> i64 {
        least + self.below(most - least + 1)
    }

    /// One of some.
    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let most = i64::try_from(choices.len()).expect("few choices");
        choices[usize::try_from(self.below(most)).expect("a place")]
    }

    /// A time up to `most`.
    pub(crate) fn pause(&mut self, most: Duration) -> Duration {
        let most = i64::try_from(most.as_micros()).expect("a short time");
        Duration::from_micros(self.below(most.max(1)).unsigned_abs())
    }
}
