//! A walk over the attribute lists that is too simple to be wrong.

use std::collections::HashMap;

use crate::trees::listed::Attributes;

/// Follows the attribute lists as the operator's specification reads.
pub(super) struct Reference<'a> {
    given: &'a Attributes,
    positions: HashMap<(i64, i64), usize>,
    weights: HashMap<(i64, i64), Vec<(usize, f64)>>,
    roots: Vec<usize>,
}

impl<'a> Reference<'a> {
    pub(super) fn new(given: &'a Attributes) -> Self {
        let keys = given.tree_ids.iter().copied().zip(given.node_ids.iter().copied());
        let mut weights: HashMap<_, Vec<_>> = HashMap::new();
        for (index, weight) in given.weights.iter().enumerate() {
            let target = usize::try_from(given.weight_targets[index]).expect("in range");
            weights
                .entry((given.weight_tree_ids[index], given.weight_node_ids[index]))
                .or_default()
                .push((target, *weight));
        }
        Self {
            given,
            positions: keys.enumerate().map(|(at, key)| (key, at)).collect(),
            weights,
            roots: (0..given.node_ids.len()).filter(|at| given.node_ids[*at] == 0).collect(),
        }
    }

    /// The weights that a row gets for each target, in the order of the trees.
    pub(super) fn weights(&self, row: &[f64]) -> Vec<Vec<f64>> {
        let given = self.given;
        let mut found = vec![vec![]; given.targets];
        for root in &self.roots {
            let mut at = *root;
            while given.modes[at] != "LEAF" {
                let value = row[usize::try_from(given.feature_ids[at]).expect("in range")];
                let threshold = given.values[at];
                #[allow(clippy::float_cmp, reason = "the operator compares exactly")]
                let holds = match given.modes[at].as_str() {
                    "BRANCH_LEQ" => value <= threshold,
                    "BRANCH_LT" => value < threshold,
                    "BRANCH_GTE" => value >= threshold,
                    "BRANCH_GT" => value > threshold,
                    "BRANCH_EQ" => value == threshold,
                    _ => value != threshold,
                };
                let holds = holds || (value.is_nan() && given.missing_true[at] == 1);
                let next = if holds { given.true_ids[at] } else { given.false_ids[at] };
                at = self.positions[&(given.tree_ids[at], next)];
            }
            for (target, weight) in &self.weights[&(given.tree_ids[at], given.node_ids[at])] {
                found[*target].push(*weight);
            }
        }
        found
    }
}
