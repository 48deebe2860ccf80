//! How large an ensemble is.

use super::Model;
use super::structure::{Child, Tree};
use crate::anatomy::EnsembleShape;

impl Model {
    /// Most comparisons that one row can meet in all trees together.
    pub(crate) fn comparisons_max(&self) -> usize {
        self.ensemble.trees.iter().map(depth).sum()
    }

    /// Its size, under the name of its node.
    pub(crate) fn shape(&self, node: String) -> EnsembleShape {
        let trees = &self.ensemble.trees;
        EnsembleShape {
            node,
            trees: trees.len(),
            leaves: trees.iter().map(|tree| tree.leaves.len()).sum(),
            leaves_max: trees.iter().map(|tree| tree.leaves.len()).max().unwrap_or(0),
            depth_max: trees.iter().map(depth).max().unwrap_or(0),
            features: self.feature_count(),
            targets: self.width(),
            kernel: self.kernel(),
        }
    }
}

/// Most comparisons between the root and a leaf. Each node is computed once, also in shared subtrees.
fn depth(tree: &Tree) -> usize {
    let mut heights: Vec<Option<usize>> = vec![None; tree.nodes.len()];
    let height = |heights: &[Option<usize>], child: Child| match child {
        Child::Leaf(_) => Some(0),
        Child::Node(index) => heights[index as usize],
    };
    let mut open = vec![tree.root];
    while let Some(child) = open.last().copied() {
        let Child::Node(index) = child else {
            open.pop();
            continue;
        };
        let node = &tree.nodes[index as usize];
        match (height(&heights, node.on_true), height(&heights, node.on_false)) {
            (Some(on_true), Some(on_false)) => {
                heights[index as usize] = Some(1 + on_true.max(on_false));
                open.pop();
            }
            (on_true, on_false) => {
                open.extend(on_true.is_none().then_some(node.on_true));
                open.extend(on_false.is_none().then_some(node.on_false));
            }
        }
    }
    height(&heights, tree.root).unwrap_or(0)
}
