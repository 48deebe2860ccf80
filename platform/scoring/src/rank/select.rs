//! The N best items of one customer, in memory that the number of items does not change.

/// A score that can be compared with a bound.
pub(super) trait Score: Copy + PartialOrd {
    /// Below every finite score.
    const LEAST: Self;
    /// Whether it may rank: NaN and the infinities say nothing about an item.
    fn ranks(self) -> bool;
}

impl Score for f32 {
    const LEAST: Self = Self::NEG_INFINITY;
    fn ranks(self) -> bool {
        self.is_finite()
    }
}

impl Score for f64 {
    const LEAST: Self = Self::NEG_INFINITY;
    fn ranks(self) -> bool {
        self.is_finite()
    }
}

/// Collects candidates and keeps the `top_n` best of them.
///
/// Items must be offered in ascending order of their index. Then an item that only equals the worst
/// of a full selection loses against it, so a single comparison with [`Best::threshold`] decides,
/// ties included.
#[derive(Debug)]
pub(super) struct Best<S> {
    top_n: usize,
    threshold: S,
    candidates: Vec<(S, u32)>,
}

impl<S: Score> Best<S> {
    pub(super) fn new(top_n: usize) -> Self {
        Self { top_n, threshold: S::LEAST, candidates: Vec::with_capacity(2 * top_n) }
    }

    /// What a score must exceed to matter.
    #[inline]
    pub(super) fn threshold(&self) -> S {
        self.threshold
    }

    /// Offers an item. A score that is not finite never ranks.
    #[inline]
    pub(super) fn offer(&mut self, score: S, item: u32) {
        if score > self.threshold && score.ranks() {
            self.candidates.push((score, item));
            if self.candidates.len() == 2 * self.top_n {
                self.prune();
            }
        }
    }

    /// The best items, best first, equal ones in ascending order; empties the selection.
    pub(super) fn take(&mut self) -> std::vec::Drain<'_, (S, u32)> {
        self.candidates.sort_unstable_by(better);
        self.candidates.truncate(self.top_n);
        self.threshold = S::LEAST;
        self.candidates.drain(..)
    }

    fn prune(&mut self) {
        let worst = self.top_n - 1;
        self.candidates.select_nth_unstable_by(worst, better);
        self.candidates.truncate(self.top_n);
        self.threshold = self.candidates[worst].0;
    }
}

fn better<S: Score>(a: &(S, u32), b: &(S, u32)) -> std::cmp::Ordering {
    b.0.partial_cmp(&a.0).unwrap_or(std::cmp::Ordering::Equal).then(a.1.cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_keeps_what_sorting_everything_would(
            scores in prop::collection::vec(
                prop_oneof![
                    8 => (-4i8..4).prop_map(f32::from),
                    1 => Just(f32::NAN),
                    1 => Just(f32::INFINITY),
                    1 => Just(f32::NEG_INFINITY),
                ],
                0..200,
            ),
            top_n in 1usize..20,
        ) {
            let mut expected: Vec<(f32, u32)> =
                scores.iter().copied().zip(0..).filter(|(score, _)| score.is_finite()).collect();
            // A stable sort leaves equal scores in ascending order of their items.
            expected.sort_by(|a, b| b.0.total_cmp(&a.0));
            expected.truncate(top_n);
            let mut best = Best::new(top_n);
            for (score, item) in scores.into_iter().zip(0..) {
                best.offer(score, item);
            }
            prop_assert_eq!(best.take().collect::<Vec<_>>(), expected);
        }
    }
}
