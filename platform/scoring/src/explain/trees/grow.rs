//! Trees laid out for explanations: shared subtrees repeated, constant features resolved, each branch
//! with the share of rows that takes it.

use crate::trees::structure::{Child, Ensemble, Tree};

/// Most nodes of all trees after shared subtrees are repeated.
const NODES_MAX: usize = 1 << 22;

/// Nodes in preorder, the true branch first: parents come before their children.
#[derive(Debug, Clone)]
pub(super) struct Grown {
    pub(super) nodes: Vec<GrownNode>,
}

#[derive(Debug, Clone)]
pub(super) struct GrownNode {
    /// The node above and whether this is its true branch; `None` for the root.
    pub(super) parent: Option<(usize, bool)>,
    /// Of the rows that reach the parent, the share that comes here.
    pub(super) share: f64,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// The value that is explained.
    Leaf(f64),
    Inner {
        /// Index of the condition among the nodes of the ensemble's tree.
        condition: usize,
        /// The feature column that it depends on.
        player: usize,
        children: [usize; 2],
    },
}

/// What a path asks of one feature column.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) player: usize,
    /// Conditions and the outcome that each must have.
    pub(super) conditions: Vec<(usize, bool)>,
    /// Probability that an unknown value satisfies all of them.
    pub(super) share: f64,
}

/// Background rows in the columns that the trees read, by column.
pub(super) type Background = Vec<Vec<f64>>;

impl Grown {
    /// Lays out a tree. `players` gives the feature column behind each tree feature, `None` where it
    /// is constant; `weights` makes one value of a leaf's targets.
    pub(super) fn of(
        ensemble: &Ensemble,
        tree: &Tree,
        players: &[Option<usize>],
        weights: &[f64],
        background: &Background,
        budget: &mut usize,
    ) -> Option<Self> {
        let mut grown = Self { nodes: Vec::new() };
        let mut open = vec![(tree.root, None::<(usize, bool)>)];
        while let Some((mut child, parent)) = open.pop() {
            // A constant feature sends every row the same way.
            while let Child::Node(node) = child {
                let node = &tree.nodes[node as usize];
                if players[node.feature as usize].is_some() {
                    break;
                }
                let value = background[node.feature as usize].first().copied().unwrap_or(f64::NAN);
                child = if ensemble.takes_true(node, value) { node.on_true } else { node.on_false };
            }
            let at = grown.nodes.len();
            if at >= *budget {
                return None;
            }
            if let Some((above, side)) = parent
                && let Kind::Inner { children, .. } = &mut grown.nodes[above].kind
            {
                children[usize::from(!side)] = at;
            }
            let kind = match child {
                Child::Leaf(leaf) => {
                    let values = tree.leaves[leaf as usize].iter();
                    let value = |weight: &crate::trees::structure::Weight| {
                        weights[weight.target as usize] * weight.value
                    };
                    Kind::Leaf(values.map(value).sum())
                }
                Child::Node(index) => {
                    let node = &tree.nodes[index as usize];
                    open.push((node.on_false, Some((at, false))));
                    open.push((node.on_true, Some((at, true))));
                    let player = players[node.feature as usize]?;
                    Kind::Inner { condition: index as usize, player, children: [0, 0] }
                }
            };
            grown.nodes.push(GrownNode { parent, share: 1.0, kind });
        }
        *budget -= grown.nodes.len();
        Some(grown)
    }

    /// Nodes that all trees together may have.
    pub(super) fn budget() -> usize {
        NODES_MAX
    }

    /// Rows that reach each node, counted by sending the background rows down.
    pub(super) fn count(
        &self,
        ensemble: &Ensemble,
        tree: &Tree,
        background: &Background,
        rows: usize,
    ) -> Vec<f64> {
        let mut covers = vec![0f64; self.nodes.len()];
        let mut send = |row: usize| {
            let mut at = 0;
            loop {
                covers[at] += 1.0;
                let Kind::Inner { condition, children, .. } = &self.nodes[at].kind else { break };
                let node = &tree.nodes[*condition];
                let value = background[node.feature as usize][row];
                at = children[usize::from(!ensemble.takes_true(node, value))];
            }
        };
        (0..rows).for_each(&mut send);
        covers
    }

    /// Turns rows per node into shares. Below a node that no row reached nothing is known: half each.
    pub(super) fn weigh(&mut self, covers: &[f64]) {
        for at in 0..self.nodes.len() {
            let Kind::Inner { children, .. } = self.nodes[at].kind else { continue };
            let total: f64 = children.iter().map(|child| covers[*child]).sum();
            for child in children {
                self.nodes[child].share = if total > 0.0 { covers[child] / total } else { 0.5 };
            }
        }
    }

    /// The value that is expected of a row of which nothing is known.
    pub(super) fn expected(&self) -> f64 {
        let mut shares = vec![1f64; self.nodes.len()];
        let mut expected = 0.0;
        for (at, node) in self.nodes.iter().enumerate() {
            if let Some((parent, _)) = node.parent {
                shares[at] = shares[parent] * node.share;
            }
            if let Kind::Leaf(value) = node.kind {
                expected += shares[at] * value;
            }
        }
        expected
    }

    /// What the path from the root to a node asks, one step per feature column.
    pub(super) fn path(&self, node: usize) -> Vec<Step> {
        let mut edges = Vec::new();
        let mut at = node;
        while let Some((parent, side)) = self.nodes[at].parent {
            if let Kind::Inner { condition, player, .. } = self.nodes[parent].kind {
                edges.push((player, condition, side, self.nodes[at].share));
            }
            at = parent;
        }
        let mut steps: Vec<Step> = Vec::new();
        for (player, condition, side, share) in edges.into_iter().rev() {
            if let Some(step) = steps.iter_mut().find(|step| step.player == player) {
                step.conditions.push((condition, side));
                step.share *= share;
            } else {
                steps.push(Step { player, conditions: vec![(condition, side)], share });
            }
        }
        steps
    }

    /// Whether a node is one of two leaves below the same condition.
    pub(super) fn sibling_is_leaf(&self, node: usize) -> bool {
        let Some((parent, _)) = self.nodes[node].parent else { return false };
        let Kind::Inner { children, .. } = &self.nodes[parent].kind else { return false };
        children.iter().all(|child| matches!(self.nodes[*child].kind, Kind::Leaf(_)))
    }

    /// Most feature columns on one path.
    pub(super) fn widest_path(&self) -> usize {
        let leaf = |at: &usize| matches!(self.nodes[*at].kind, Kind::Leaf(_));
        (0..self.nodes.len()).filter(leaf).map(|at| self.path(at).len()).max().unwrap_or(0)
    }
}
