//! Root to leaf, row by row, as the operator's specification reads: the kernel that runs every
//! ensemble and that the others are held to.

use super::Features;
use super::finish::{Aggregate, Finish};
use super::real::Real;
use super::structure::{Child, Ensemble, Tree, Weight};

/// Rows whose features are gathered at a time; a tree then serves all of them while it is cached.
const GATHER_ROWS: usize = 64;

/// Scores `rows` rows; see [`super::Model::score`].
pub(super) fn score<S: Real>(
    ensemble: &Ensemble,
    finish: &Finish,
    features: &impl Features,
    rows: usize,
    scores: &mut [S],
    chosen: &mut [u32],
) {
    let targets = ensemble.targets;
    let mut gathered = vec![S::default(); ensemble.features * GATHER_ROWS.min(rows)];
    let mut present = vec![false; targets * GATHER_ROWS.min(rows)];
    let mut narrowed = Vec::new();
    for start in (0..rows).step_by(GATHER_ROWS) {
        let count = GATHER_ROWS.min(rows - start);
        for feature in 0..ensemble.features {
            let into = &mut gathered[feature * count..(feature + 1) * count];
            S::fill(features, feature, start, into);
        }
        let sums = &mut scores[start * targets..(start + count) * targets];
        sums.fill(S::default());
        present.fill(false);
        for tree in &ensemble.trees {
            for row in 0..count {
                let weights = leaf(ensemble, tree, |feature| {
                    gathered[feature as usize * count + row].double()
                });
                let at = row * targets..(row + 1) * targets;
                add(finish.aggregate, weights, &mut sums[at.clone()], &mut present[at]);
            }
        }
        for row in 0..count {
            let at = row * targets..(row + 1) * targets;
            let class = finish.row(&mut sums[at.clone()], &present[at], &mut narrowed);
            if let Some(chosen) = chosen.get_mut(start + row) {
                *chosen = class;
            }
        }
    }
}

/// Weights of the leaf that a row reaches.
fn leaf<'a>(ensemble: &Ensemble, tree: &'a Tree, feature: impl Fn(u32) -> f64) -> &'a [Weight] {
    let mut at = tree.root;
    loop {
        match at {
            Child::Leaf(leaf) => return &tree.leaves[leaf as usize],
            Child::Node(node) => {
                let node = &tree.nodes[node as usize];
                let holds = ensemble.takes_true(node, feature(node.feature));
                at = if holds { node.on_true } else { node.on_false };
            }
        }
    }
}

fn add<S: Real>(aggregate: Aggregate, weights: &[Weight], sums: &mut [S], present: &mut [bool]) {
    for weight in weights {
        let target = weight.target as usize;
        let sum = &mut sums[target];
        let value = S::of(weight.value);
        let first = !std::mem::replace(&mut present[target], true);
        *sum = match aggregate {
            Aggregate::Sum | Aggregate::Average => *sum + value,
            Aggregate::Min if first || value < *sum => value,
            Aggregate::Max if first || value > *sum => value,
            Aggregate::Min | Aggregate::Max => *sum,
        };
    }
}
