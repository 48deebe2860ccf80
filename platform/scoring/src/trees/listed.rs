//! The attributes of `TreeEnsembleClassifier` and `TreeEnsembleRegressor`: inner nodes and leaves in
//! one list, found by tree id and node id.

use std::collections::{HashMap, HashSet};

use super::build::{Branch, Entry, Flat, TARGETS_MAX};
use super::structure::{Ensemble, Mode, Precision, Weight};

/// The attributes of a node as lists, before they are checked.
///
/// Kept apart from the protobuf so that a test can build an ensemble without one.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes {
    pub(super) tree_ids: Vec<i64>,
    pub(super) node_ids: Vec<i64>,
    pub(super) feature_ids: Vec<i64>,
    pub(super) modes: Vec<String>,
    pub(super) values: Vec<f64>,
    pub(super) true_ids: Vec<i64>,
    pub(super) false_ids: Vec<i64>,
    pub(super) missing_true: Vec<i64>,
    pub(super) weight_tree_ids: Vec<i64>,
    pub(super) weight_node_ids: Vec<i64>,
    pub(super) weight_targets: Vec<i64>,
    pub(super) weights: Vec<f64>,
    pub(super) targets: usize,
}

impl Attributes {
    /// Checks everything that a hostile or damaged file could get wrong.
    pub(super) fn check(&self, precision: Precision) -> Result<Ensemble, String> {
        self.check_lengths()?;
        let index = NodeIndex::of(self)?;
        let mut weights = self.leaf_weights(&index)?;
        let entries = (0..self.node_ids.len())
            .map(|position| self.entry(position, &index, &mut weights))
            .collect::<Result<Vec<_>, String>>()?;
        let flat = Flat { entries, roots: index.roots, ids: index.ids, sets: vec![] };
        flat.build(self.targets, precision)
    }

    fn check_lengths(&self) -> Result<(), String> {
        let count = self.node_ids.len();
        if count == 0 {
            return Err("it has no tree nodes".to_owned());
        }
        for (name, length) in [
            ("nodes_treeids", self.tree_ids.len()),
            ("nodes_featureids", self.feature_ids.len()),
            ("nodes_modes", self.modes.len()),
            ("nodes_values", self.values.len()),
            ("nodes_truenodeids", self.true_ids.len()),
            ("nodes_falsenodeids", self.false_ids.len()),
        ] {
            if length != count {
                return Err(format!(
                    "{name} has {length} entries; expected {count}, as many as nodes_nodeids"
                ));
            }
        }
        if !self.missing_true.is_empty() && self.missing_true.len() != count {
            return Err(format!(
                "nodes_missing_value_tracks_true has {} entries; expected none or {count}",
                self.missing_true.len()
            ));
        }
        if self.targets == 0 || self.targets > TARGETS_MAX {
            return Err(format!(
                "it has {} targets or classes; expected 1 to {TARGETS_MAX}",
                self.targets
            ));
        }
        Ok(())
    }

    fn entry(
        &self,
        position: usize,
        index: &NodeIndex,
        weights: &mut HashMap<usize, Vec<Weight>>,
    ) -> Result<Entry, String> {
        let Some(mode) = mode(&self.modes[position])? else {
            return Ok(Entry::Leaf(weights.remove(&position).unwrap_or_default()));
        };
        let (tree, node) = index.ids[position];
        let child = |id: i64| {
            index.positions.get(&(tree, id)).copied().ok_or_else(|| {
                format!("node {node} of tree {tree} leads to node {id}, which does not exist")
            })
        };
        Ok(Entry::Branch(Branch {
            feature: self.feature_ids[position],
            threshold: self.values[position],
            mode,
            missing_true: self.missing_true.get(position).is_some_and(|flag| *flag != 0),
            on_true: child(self.true_ids[position])?,
            on_false: child(self.false_ids[position])?,
        }))
    }

    fn leaf_weights(&self, index: &NodeIndex) -> Result<HashMap<usize, Vec<Weight>>, String> {
        let count = self.weight_targets.len();
        for (name, length) in [
            ("treeids", self.weight_tree_ids.len()),
            ("nodeids", self.weight_node_ids.len()),
            ("weights", self.weights.len()),
        ] {
            if length != count {
                return Err(format!(
                    "the leaf {name} have {length} entries; expected {count}, as many as the leaf target or class ids"
                ));
            }
        }
        let mut weights: HashMap<usize, Vec<Weight>> = HashMap::new();
        for entry in 0..count {
            let (tree, node) = (self.weight_tree_ids[entry], self.weight_node_ids[entry]);
            let position = *index.positions.get(&(tree, node)).ok_or_else(|| {
                format!("a leaf weight is for node {node} of tree {tree}, which does not exist")
            })?;
            let target = u32::try_from(self.weight_targets[entry])
                .ok()
                .filter(|target| (*target as usize) < self.targets)
                .ok_or_else(|| {
                    format!(
                        "node {node} of tree {tree} has target or class id {}; expected 0 to {}",
                        self.weight_targets[entry],
                        self.targets - 1
                    )
                })?;
            let leaf = weights.entry(position).or_default();
            // skl2onnx writes the number of a leaf once per class, all for one target; ONNX Runtime
            // takes the first.
            if self.targets > 1 || leaf.is_empty() {
                leaf.push(Weight { target, value: self.weights[entry] });
            }
        }
        Ok(weights)
    }
}

/// Reads a branch mode; `None` for a leaf, an error for anything else.
fn mode(name: &str) -> Result<Option<Mode>, String> {
    Ok(Some(match name {
        "BRANCH_LEQ" => Mode::LessOrEqual,
        "BRANCH_LT" => Mode::Less,
        "BRANCH_GTE" => Mode::GreaterOrEqual,
        "BRANCH_GT" => Mode::Greater,
        "BRANCH_EQ" => Mode::Equal,
        "BRANCH_NEQ" => Mode::NotEqual,
        "LEAF" => return Ok(None),
        other => {
            return Err(format!(
                "nodes_modes has `{other}`; expected LEAF or BRANCH_LEQ, _LT, _GTE, _GT, _EQ, _NEQ"
            ));
        }
    }))
}

/// Positions in the attribute lists by tree and node id.
struct NodeIndex {
    positions: HashMap<(i64, i64), usize>,
    /// Tree id and node id by position.
    ids: Vec<(i64, i64)>,
    /// Positions of the roots: each tree's first node, trees in order of appearance.
    roots: Vec<usize>,
}

impl NodeIndex {
    fn of(given: &Attributes) -> Result<Self, String> {
        let ids: Vec<(i64, i64)> =
            given.tree_ids.iter().copied().zip(given.node_ids.iter().copied()).collect();
        let mut positions = HashMap::with_capacity(ids.len());
        let mut roots = Vec::new();
        let mut seen = HashSet::new();
        for (position, id) in ids.iter().enumerate() {
            if positions.insert(*id, position).is_some() {
                return Err(format!(
                    "node {} of tree {} is there twice; ids must be unique",
                    id.1, id.0
                ));
            }
            if seen.insert(id.0) {
                roots.push(position);
            }
        }
        Ok(Self { positions, ids, roots })
    }
}
