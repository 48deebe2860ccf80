//! A checked ensemble: every index below is in range and every tree is finite.

use std::collections::{HashMap, HashSet};

use super::Attributes;

/// Largest feature index that is believed.
const FEATURE_INDEX_MAX: i64 = 1 << 20;
/// Most targets or classes of one ensemble.
const TARGETS_MAX: usize = 1 << 16;

/// Comparison of an inner node: `feature OP threshold` leads to the true child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
}

impl Mode {
    /// Reads a branch mode; `None` for a leaf, an error for anything else.
    fn parse(name: &str) -> Result<Option<Self>, String> {
        Ok(Some(match name {
            "BRANCH_LEQ" => Self::LessOrEqual,
            "BRANCH_LT" => Self::Less,
            "BRANCH_GTE" => Self::GreaterOrEqual,
            "BRANCH_GT" => Self::Greater,
            "BRANCH_EQ" => Self::Equal,
            "BRANCH_NEQ" => Self::NotEqual,
            "LEAF" => return Ok(None),
            other => {
                return Err(format!(
                    "nodes_modes has `{other}`; expected LEAF or BRANCH_LEQ, _LT, _GTE, _GT, _EQ, _NEQ"
                ));
            }
        }))
    }

    pub(super) fn holds(self, value: f32, threshold: f32) -> bool {
        match self {
            Self::LessOrEqual => value <= threshold,
            Self::Less => value < threshold,
            Self::GreaterOrEqual => value >= threshold,
            Self::Greater => value > threshold,
            #[allow(clippy::float_cmp, reason = "the operator is defined as exact equality")]
            Self::Equal => value == threshold,
            #[allow(clippy::float_cmp, reason = "the operator is defined as exact inequality")]
            Self::NotEqual => value != threshold,
        }
    }
}

/// Where a branch leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Child {
    /// An inner node of the same tree, at a larger index than its parent unless the tree shares subtrees.
    Node(u32),
    /// A leaf of the same tree.
    Leaf(u32),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) feature: u32,
    pub(super) threshold: f32,
    pub(super) mode: Mode,
    /// Whether NaN takes the true branch although the comparison fails.
    pub(super) missing_true: bool,
    pub(super) on_true: Child,
    pub(super) on_false: Child,
}

/// Weight of a leaf for a target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weight {
    pub(super) target: u32,
    pub(super) value: f32,
}

#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) root: Child,
    pub(super) nodes: Vec<Node>,
    pub(super) leaves: Vec<Vec<Weight>>,
    /// Whether a node has two parents, as `LightGBM`'s categorical splits make.
    pub(super) shares_subtrees: bool,
}

/// Trees in the order of the file.
#[derive(Debug, Clone)]
pub(super) struct Ensemble {
    pub(super) trees: Vec<Tree>,
    pub(super) targets: usize,
    pub(super) features: usize,
}

impl Ensemble {
    /// Checks everything that a hostile or damaged file could get wrong.
    pub(super) fn check(given: &Attributes) -> Result<Self, String> {
        let count = given.node_ids.len();
        if count == 0 {
            return Err("it has no tree nodes".to_owned());
        }
        for (name, length) in [
            ("nodes_treeids", given.tree_ids.len()),
            ("nodes_featureids", given.feature_ids.len()),
            ("nodes_modes", given.modes.len()),
            ("nodes_values", given.values.len()),
            ("nodes_truenodeids", given.true_ids.len()),
            ("nodes_falsenodeids", given.false_ids.len()),
        ] {
            if length != count {
                return Err(format!(
                    "{name} has {length} entries; expected {count}, as many as nodes_nodeids"
                ));
            }
        }
        if !given.missing_true.is_empty() && given.missing_true.len() != count {
            return Err(format!(
                "nodes_missing_value_tracks_true has {} entries; expected none or {count}",
                given.missing_true.len()
            ));
        }
        if given.targets == 0 || given.targets > TARGETS_MAX {
            return Err(format!(
                "it has {} targets or classes; expected 1 to {TARGETS_MAX}",
                given.targets
            ));
        }
        let index = NodeIndex::of(given)?;
        let mut weights = leaf_weights(given, &index)?;
        let mut features = 0;
        let mut trees = Vec::with_capacity(index.roots.len());
        for &(tree_id, root) in &index.roots {
            trees.push(build_tree(given, &index, tree_id, root, &mut weights, &mut features)?);
        }
        Ok(Self { trees, targets: given.targets, features })
    }
}

/// Positions in the attribute lists by tree and node id.
struct NodeIndex {
    positions: HashMap<(i64, i64), usize>,
    /// Tree ids in order of appearance with the position of their first node, the root.
    roots: Vec<(i64, usize)>,
}

impl NodeIndex {
    fn of(given: &Attributes) -> Result<Self, String> {
        let mut positions = HashMap::with_capacity(given.node_ids.len());
        let mut roots = Vec::new();
        let mut seen = HashSet::new();
        for (position, id) in
            given.tree_ids.iter().copied().zip(given.node_ids.iter().copied()).enumerate()
        {
            if positions.insert(id, position).is_some() {
                return Err(format!(
                    "node {} of tree {} is there twice; ids must be unique",
                    id.1, id.0
                ));
            }
            if seen.insert(id.0) {
                roots.push((id.0, position));
            }
        }
        Ok(Self { positions, roots })
    }
}

fn leaf_weights(
    given: &Attributes,
    index: &NodeIndex,
) -> Result<HashMap<usize, Vec<Weight>>, String> {
    let count = given.weight_targets.len();
    for (name, length) in [
        ("treeids", given.weight_tree_ids.len()),
        ("nodeids", given.weight_node_ids.len()),
        ("weights", given.weights.len()),
    ] {
        if length != count {
            return Err(format!(
                "the leaf {name} have {length} entries; expected {count}, as many as the leaf target or class ids"
            ));
        }
    }
    let mut weights: HashMap<usize, Vec<Weight>> = HashMap::new();
    for entry in 0..count {
        let (tree, node) = (given.weight_tree_ids[entry], given.weight_node_ids[entry]);
        let position = *index.positions.get(&(tree, node)).ok_or_else(|| {
            format!("a leaf weight is for node {node} of tree {tree}, which does not exist")
        })?;
        let target = u32::try_from(given.weight_targets[entry])
            .ok()
            .filter(|target| (*target as usize) < given.targets)
            .ok_or_else(|| {
                format!(
                    "node {node} of tree {tree} has target or class id {}; expected 0 to {}",
                    given.weight_targets[entry],
                    given.targets - 1
                )
            })?;
        weights.entry(position).or_default().push(Weight { target, value: given.weights[entry] });
    }
    Ok(weights)
}

/// What the depth-first build does next.
enum Step {
    /// Visit the node at a position and tell its parent (index in the tree, true branch) where it is.
    Enter { position: usize, parent: Option<(usize, bool)> },
    /// Everything below the position is done.
    Leave { position: usize },
}

fn build_tree(
    given: &Attributes,
    index: &NodeIndex,
    tree_id: i64,
    root: usize,
    weights: &mut HashMap<usize, Vec<Weight>>,
    features: &mut usize,
) -> Result<Tree, String> {
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
        let node_id = given.node_ids[position];
        if open.contains(&position) {
            return Err(format!(
                "node {node_id} of tree {tree_id} is below itself; a tree must not have cycles"
            ));
        }
        let child = if let Some(child) = built.get(&position) {
            tree.shares_subtrees = true;
            *child
        } else if let Some(mode) = Mode::parse(&given.modes[position])? {
            let feature = given.feature_ids[position];
            if !(0..=FEATURE_INDEX_MAX).contains(&feature) {
                return Err(format!(
                    "node {node_id} of tree {tree_id} reads feature {feature}; expected 0 to {FEATURE_INDEX_MAX}"
                ));
            }
            let feature =
                u32::try_from(feature).map_err(|_| "feature id out of range".to_owned())?;
            *features = (*features).max(feature as usize + 1);
            let at = tree.nodes.len();
            tree.nodes.push(Node {
                feature,
                threshold: given.values[position],
                mode,
                missing_true: given.missing_true.get(position).is_some_and(|flag| *flag != 0),
                on_true: Child::Leaf(0),
                on_false: Child::Leaf(0),
            });
            open.insert(position);
            steps.push(Step::Leave { position });
            for (id, branch) in
                [(given.false_ids[position], false), (given.true_ids[position], true)]
            {
                let below = *index.positions.get(&(tree_id, id)).ok_or_else(|| {
                    format!(
                        "node {node_id} of tree {tree_id} leads to node {id}, which does not exist"
                    )
                })?;
                steps.push(Step::Enter { position: below, parent: Some((at, branch)) });
            }
            Child::Node(narrow(at)?)
        } else {
            tree.leaves.push(weights.remove(&position).unwrap_or_default());
            Child::Leaf(narrow(tree.leaves.len() - 1)?)
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

fn narrow(index: usize) -> Result<u32, String> {
    u32::try_from(index).map_err(|_| "a tree has more than 2^32 nodes".to_owned())
}
