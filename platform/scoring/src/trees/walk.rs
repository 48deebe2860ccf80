//! Root to leaf, row by row: the kernel that runs every ensemble.

use super::Features;
use super::finish::{Aggregate, Finish};
use super::structure::{Child, Ensemble, Tree, Weight};

/// Rows whose features are gathered at a time; a tree then serves all of them while it is cached.
const GATHER_ROWS: usize = 64;

/// Scores `rows` rows; see [`super::Model::score`].
pub(super) fn score(
    ensemble: &Ensemble,
    finish: &Finish,
    features: &impl Features,
    rows: usize,
    scores: &mut [f32],
    chosen: &mut [u32],
) {
    let targets = ensemble.targets;
    let mut gathered = vec![0f32; ensemble.features * GATHER_ROWS.min(rows)];
    let mut present = vec![false; targets * GATHER_ROWS.min(rows)];
    for start in (0..rows).step_by(GATHER_ROWS) {
        let count = GATHER_ROWS.min(rows - start);
        for feature in 0..ensemble.features {
            features.fill(feature, start, &mut gathered[feature * count..(feature + 1) * count]);
        }
        let sums = &mut scores[start * targets..(start + count) * targets];
        sums.fill(0.0);
        present.fill(false);
        for tree in &ensemble.trees {
            for row in 0..count {
                let weights = leaf(tree, |feature| gathered[feature as usize * count + row]);
                let at = row * targets..(row + 1) * targets;
                add(finish.aggregate, weights, &mut sums[at.clone()], &mut present[at]);
            }
        }
        for row in 0..count {
            let at = row * targets..(row + 1) * targets;
            let class = finish.row(&mut sums[at.clone()], &present[at]);
            if let Some(chosen) = chosen.get_mut(start + row) {
                *chosen = class;
            }
        }
    }
}

/// Weights of the leaf that a row reaches.
fn leaf(tree: &Tree, feature: impl Fn(u32) -> f32) -> &[Weight] {
    let mut at = tree.root;
    loop {
        match at {
            Child::Leaf(leaf) => return &tree.leaves[leaf as usize],
            Child::Node(node) => {
                let node = &tree.nodes[node as usize];
                let value = feature(node.feature);
                let holds =
                    node.mode.holds(value, node.threshold) || (node.missing_true && value.is_nan());
                at = if holds { node.on_true } else { node.on_false };
            }
        }
    }
}

fn add(aggregate: Aggregate, weights: &[Weight], sums: &mut [f32], present: &mut [bool]) {
    for weight in weights {
        let target = weight.target as usize;
        let sum = &mut sums[target];
        let first = !std::mem::replace(&mut present[target], true);
        *sum = match aggregate {
            Aggregate::Sum | Aggregate::Average => *sum + weight.value,
            Aggregate::Min if first || weight.value < *sum => weight.value,
            Aggregate::Max if first || weight.value > *sum => weight.value,
            Aggregate::Min | Aggregate::Max => *sum,
        };
    }
}
