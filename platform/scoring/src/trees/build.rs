//! From nodes by position to a checked ensemble: what a hostile or damaged file could get wrong ends here.

use std::collections::{HashMap, HashSet};

use super::structure::{Child, Ensemble, Mode, Node, Precision, Tree, Weight};

/// Largest feature index that is believed.
const FEATURE_INDEX_MAX: i64 = 1 << 20;
/// Most targets or classes of one ensemble.
pub(super) const TARGETS_MAX: usize = 1 << 16;
/// Most inner nodes and leaves of one ensemble; trees that share nodes count them once each.
const NODES_MAX: usize = 1 << 26;

/// Inner nodes and leaves of all trees, before anybody has followed a branch.
///
/// A position counts entries; the two forms of the operator list their nodes differently and both
/// become this.
#[derive(Debug, Default)]
pub(super) struct Flat {
    pub(super) entries: Vec<Entry>,
    /// Position of each tree's root, in the order in which trees are summed.
    pub(super) roots: Vec<usize>,
    /// Tree id and node id of each entry where the file names nodes so; else none.
    pub(super) ids: Vec<(i64, i64)>,
    pub(super) sets: Vec<Vec<f64>>,
}

#[derive(Debug)]
pub(super) enum Entry {
    Branch(Branch),
    Leaf(Vec<Weight>),
}

#[derive(Debug)]
pub(super) struct Branch {
    pub(super) feature: i64,
    pub(super) threshold: f64,
    pub(super) mode: Mode,
    pub(super) missing_true: bool,
    /// Positions of the children.
    pub(super) on_true: usize,
    pub(super) on_false: usize,
}

impl Flat {
    /// Builds every tree from its root.
    ///
    /// # Errors
    /// In words, when a tree has a cycle, a feature index is out of range or there is too much of it.
    pub(super) fn build(
        mut self,
        targets: usize,
        precision: Precision,
    ) -> Result<Ensemble, String> {
        let mut built = 0usize;
        let mut features = 0;
        let mut trees = Vec::with_capacity(self.roots.len());
        for root in std::mem::take(&mut self.roots) {
            let tree = self.tree(root)?;
            built += tree.nodes.len() + tree.leaves.len();
            if built > NODES_MAX {
                return Err(format!(
                    "its trees have more than {NODES_MAX} nodes; train fewer or smaller trees"
                ));
            }
            let last = tree.nodes.iter().map(|node| node.feature as usize + 1).max();
            features = features.max(last.unwrap_or(0));
            trees.push(tree);
        }
        Ok(Ensemble { trees, targets, features, precision, sets: self.sets })
    }

    fn tree(&self, root: usize) -> Result<Tree, String> {
        let mut tree =
            Tree { root: Child::Leaf(0), nodes: vec![], leaves: vec![], shares_subtrees: false };
        let mut built: HashMap<usize, Child> = HashMap::new();
        let mut open = HashSet::new();
        let mut steps = vec![Step::Enter { position: root, parent: None }];
        while let Some(step) = steps.pop() {
            let (position, parent) = match step {
                Step::Leave { position } => {
                    open.remove(&position);
                    continue;
                }
                Step::Enter { position, parent } => (position, parent),
            };
            if open.contains(&position) {
                return Err(format!(
                    "{} is below itself; a tree must not have cycles",
                    self.name(position)
                ));
            }
            let child = if let Some(child) = built.get(&position) {
                tree.shares_subtrees = true;
                *child
            } else {
                match &self.entries[position] {
                    Entry::Leaf(weights) => {
                        tree.leaves.push(weights.clone());
                        Child::Leaf(narrow(tree.leaves.len() - 1)?)
                    }
                    Entry::Branch(branch) => {
                        let at = tree.nodes.len();
                        tree.nodes.push(self.node(position, branch)?);
                        open.insert(position);
                        steps.push(Step::Leave { position });
                        for (below, side) in [(branch.on_false, false), (branch.on_true, true)] {
                            steps.push(Step::Enter { position: below, parent: Some((at, side)) });
                        }
                        Child::Node(narrow(at)?)
                    }
                }
            };
            built.insert(position, child);
            match parent {
                None => tree.root = child,
                Some((at, true)) => tree.nodes[at].on_true = child,
                Some((at, false)) => tree.nodes[at].on_false = child,
            }
        }
        Ok(tree)
    }

    /// What messages call an entry.
    fn name(&self, position: usize) -> String {
        match self.ids.get(position) {
            Some((tree, node)) => format!("node {node} of tree {tree}"),
            None => format!("node {position}"),
        }
    }

    /// A node whose children are not known yet.
    fn node(&self, position: usize, branch: &Branch) -> Result<Node, String> {
        let feature = u32::try_from(branch.feature)
            .ok()
            .filter(|feature| i64::from(*feature) <= FEATURE_INDEX_MAX)
            .ok_or_else(|| {
                format!(
                    "{} reads feature {}; expected 0 to {FEATURE_INDEX_MAX}",
                    self.name(position),
                    branch.feature
                )
            })?;
        Ok(Node {
            feature,
            threshold: branch.threshold,
            mode: branch.mode,
            missing_true: branch.missing_true,
            on_true: Child::Leaf(0),
            on_false: Child::Leaf(0),
        })
    }
}

/// What the depth-first build does next.
enum Step {
    /// Visit the node at a position and tell its parent (index in the tree, true branch) where it is.
    Enter { position: usize, parent: Option<(usize, bool)> },
    /// Everything below the position is done.
    Leave { position: usize },
}

fn narrow(index: usize) -> Result<u32, String> {
    u32::try_from(index).map_err(|_| "a tree has more than 2^32 nodes".to_owned())
}
