//! Shapley values of one leaf, for every outcome of its path at once.
//!
//! The features on the path to a leaf play a game: a coalition `S` earns the leaf's value when the
//! explained row satisfies the conditions of all features in `S`, times `reach(S)`, the probability
//! that the others are satisfied without being known. So the contributions depend only on *which* of
//! the path's features the row satisfies, one bit each, and fit a table.
//!
//! With `w(s) = s! (d - 1 - s)! / d!` (Shapley 1953) and `o` the set of satisfied features,
//!
//! ```text
//! A(o) = sum of w(|S|) reach(S) over S within o        unsatisfied feature: -A(o)
//! B(o) = sum of w(|S| - 1) reach(S) over S within o    satisfied feature u:  B(o) - B(o - u) - A(o - u)
//! ```
//!
//! and both sums over subsets come from one pass per feature (the zeta transform), so a table of
//! `d 2^d` values costs as many steps.

/// `w(s)` for `s` from 0 to `features - 1`.
fn shapley_weights(features: usize) -> Vec<f64> {
    // s! (d - 1 - s)! / d! = 1 / (d * binomial(d - 1, s))
    let mut binomial = 1.0;
    (0..features)
        .map(|size| {
            let weight = 1.0 / (features as f64 * binomial);
            binomial *= (features - 1 - size) as f64 / (size + 1) as f64;
            weight
        })
        .collect()
}

/// Replaces each entry by the sum over the subsets of its index.
fn sum_over_subsets(values: &mut [f64]) {
    let mut bit = 1;
    while bit < values.len() {
        for set in 0..values.len() {
            if set & bit != 0 {
                values[set] += values[set ^ bit];
            }
        }
        bit <<= 1;
    }
}

/// Contributions for a leaf of value 1: `reach` by coalition; the result by feature, then by outcome.
pub(super) fn contributions(reach: &[f64]) -> Vec<Vec<f64>> {
    let features = reach.len().trailing_zeros() as usize;
    let weights = shapley_weights(features);
    let size = |set: usize| set.count_ones() as usize;
    let weighed = |weight: &dyn Fn(usize) -> f64| -> Vec<f64> {
        let mut sums: Vec<f64> =
            reach.iter().enumerate().map(|(set, reach)| weight(size(set)) * reach).collect();
        sum_over_subsets(&mut sums);
        sums
    };
    let without = weighed(&|size| weights.get(size).copied().unwrap_or(0.0));
    let with = weighed(&|size| if size == 0 { 0.0 } else { weights[size - 1] });
    (0..features)
        .map(|feature| {
            let bit = 1 << feature;
            (0..reach.len())
                .map(|outcome| {
                    if outcome & bit == 0 {
                        -without[outcome]
                    } else {
                        with[outcome] - with[outcome ^ bit] - without[outcome ^ bit]
                    }
                })
                .collect()
        })
        .collect()
}

/// `reach` when each unknown feature is satisfied with its own probability, by feature.
pub(super) fn independent(shares: &[f64]) -> Vec<f64> {
    let mut reach = vec![1.0; 1 << shares.len()];
    for (feature, share) in shares.iter().enumerate() {
        for (set, reach) in reach.iter_mut().enumerate() {
            if set >> feature & 1 == 0 {
                *reach *= share;
            }
        }
    }
    reach
}

/// `reach` when unknown features come from background rows: `outcomes` says for each outcome which
/// share of the rows has it.
pub(super) fn together(mut outcomes: Vec<f64>) -> Vec<f64> {
    // reach(S) = share of rows that satisfy at least everything outside S: sums over supersets.
    outcomes.reverse();
    sum_over_subsets(&mut outcomes);
    // Reversed, index i is the outcome !i: the entry at S holds the supersets of !S.
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shapley values by their definition.
    fn by_definition(reach: &[f64], outcome: usize) -> Vec<f64> {
        let features = reach.len().trailing_zeros() as usize;
        let earns = |set: usize| if set & outcome == set { reach[set] } else { 0.0 };
        let factorial = |n: usize| (1..=n).map(|factor| factor as f64).product::<f64>();
        (0..features)
            .map(|feature| {
                (0..reach.len())
                    .filter(|set| set >> feature & 1 == 0)
                    .map(|set| {
                        let size = set.count_ones() as usize;
                        let weight =
                            factorial(size) * factorial(features - 1 - size) / factorial(features);
                        weight * (earns(set | 1 << feature) - earns(set))
                    })
                    .sum()
            })
            .collect()
    }

    #[test]
    fn tables_hold_the_values_of_the_definition() {
        for features in 1..=5 {
            let shares: Vec<f64> = (0..features).map(|at| f64::from(at) / 5.0).collect();
            let mut rows: Vec<f64> = (0..1 << features).map(|at| f64::from(at * 7 % 5)).collect();
            let total: f64 = rows.iter().sum();
            for share in &mut rows {
                *share /= total.max(1.0);
            }
            for reach in [independent(&shares), together(rows)] {
                let found = contributions(&reach);
                for outcome in 0..reach.len() {
                    let expected = by_definition(&reach, outcome);
                    for (found, expected) in found.iter().zip(expected) {
                        assert!((found[outcome] - expected).abs() < 1e-12);
                    }
                }
            }
        }
    }

    #[test]
    fn reach_of_background_rows_counts_those_that_satisfy_the_rest() {
        // Half of the rows satisfy both features, a quarter the first, a quarter none.
        let reach = together(vec![0.25, 0.25, 0.0, 0.5]);
        assert_eq!(reach, [0.5, 0.5, 0.75, 1.0]);
    }
}
