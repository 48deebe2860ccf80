//! The attributes of `TreeEnsemble` (operator set 5): inner nodes and leaves in two lists, found by position.

use super::build::{Branch, Entry, Flat, TARGETS_MAX};
use super::structure::{Ensemble, Mode, Precision, Weight};

/// The attributes of a node as lists, before they are checked.
///
/// Kept apart from the protobuf so that a test can build an ensemble without one.
#[derive(Debug, Clone, Default)]
pub(super) struct SplitAttributes {
    pub(super) roots: Vec<i64>,
    pub(super) feature_ids: Vec<i64>,
    pub(super) modes: Vec<i64>,
    pub(super) splits: Vec<f64>,
    pub(super) true_ids: Vec<i64>,
    pub(super) true_leaves: Vec<i64>,
    pub(super) false_ids: Vec<i64>,
    pub(super) false_leaves: Vec<i64>,
    pub(super) missing_true: Vec<i64>,
    /// The sets of the member nodes in their order, each ended by NaN.
    pub(super) members: Vec<f64>,
    pub(super) leaf_targets: Vec<i64>,
    pub(super) leaf_weights: Vec<f64>,
    pub(super) targets: usize,
}

impl SplitAttributes {
    /// Checks everything that a hostile or damaged file could get wrong.
    pub(super) fn check(&self, precision: Precision) -> Result<Ensemble, String> {
        self.check_lengths()?;
        let mut sets = self.sets();
        let mut members = 0u32;
        let mut entries = Vec::with_capacity(self.modes.len() + self.leaf_targets.len());
        for position in 0..self.modes.len() {
            let mode = mode(self.modes[position], &mut members)?;
            entries.push(self.branch(position, mode)?);
        }
        if members as usize > sets.len() {
            return Err(format!(
                "membership_values has {} sets, separated by NaN; expected {members}, one for each BRANCH_MEMBER node",
                sets.len()
            ));
        }
        sets.truncate(members as usize);
        for leaf in 0..self.leaf_targets.len() {
            entries.push(self.leaf(leaf)?);
        }
        let roots = self
            .roots
            .iter()
            .map(|root| index(*root, self.modes.len(), "tree_roots", "node"))
            .collect::<Result<Vec<_>, String>>()?;
        Flat { entries, roots, ids: vec![], sets }.build(self.targets, precision)
    }

    fn check_lengths(&self) -> Result<(), String> {
        let nodes = self.modes.len();
        if nodes == 0 || self.roots.is_empty() {
            return Err("it has no tree nodes".to_owned());
        }
        for (name, length) in [
            ("nodes_featureids", self.feature_ids.len()),
            ("nodes_splits", self.splits.len()),
            ("nodes_truenodeids", self.true_ids.len()),
            ("nodes_trueleafs", self.true_leaves.len()),
            ("nodes_falsenodeids", self.false_ids.len()),
            ("nodes_falseleafs", self.false_leaves.len()),
        ] {
            if length != nodes {
                return Err(format!(
                    "{name} has {length} entries; expected {nodes}, as many as nodes_modes"
                ));
            }
        }
        if !self.missing_true.is_empty() && self.missing_true.len() != nodes {
            return Err(format!(
                "nodes_missing_value_tracks_true has {} entries; expected none or {nodes}",
                self.missing_true.len()
            ));
        }
        if self.leaf_targets.len() != self.leaf_weights.len() {
            return Err(format!(
                "leaf_targetids has {} entries; expected {}, as many as leaf_weights",
                self.leaf_targets.len(),
                self.leaf_weights.len()
            ));
        }
        if self.targets == 0 || self.targets > TARGETS_MAX {
            return Err(format!("it has {} targets; expected 1 to {TARGETS_MAX}", self.targets));
        }
        Ok(())
    }

    fn branch(&self, position: usize, mode: Mode) -> Result<Entry, String> {
        let child = |id: i64, is_leaf: i64| {
            let what = format!("node {position}");
            if is_leaf == 0 {
                index(id, self.modes.len(), &what, "node")
            } else {
                let leaf = index(id, self.leaf_targets.len(), &what, "leaf")?;
                Ok(self.modes.len() + leaf)
            }
        };
        Ok(Entry::Branch(Branch {
            feature: self.feature_ids[position],
            threshold: self.splits[position],
            mode,
            missing_true: self.missing_true.get(position).is_some_and(|flag| *flag != 0),
            on_true: child(self.true_ids[position], self.true_leaves[position])?,
            on_false: child(self.false_ids[position], self.false_leaves[position])?,
        }))
    }

    fn leaf(&self, leaf: usize) -> Result<Entry, String> {
        let target = u32::try_from(self.leaf_targets[leaf])
            .ok()
            .filter(|target| (*target as usize) < self.targets)
            .ok_or_else(|| {
                format!(
                    "leaf {leaf} has target {}; expected 0 to {}",
                    self.leaf_targets[leaf],
                    self.targets - 1
                )
            })?;
        Ok(Entry::Leaf(vec![Weight { target, value: self.leaf_weights[leaf] }]))
    }

    /// The sets of the member nodes, sorted and without duplicates.
    fn sets(&self) -> Vec<Vec<f64>> {
        if self.members.is_empty() {
            return vec![];
        }
        let ended = self.members.last().is_some_and(|last| last.is_nan());
        let members = &self.members[..self.members.len() - usize::from(ended)];
        members
            .split(|member| member.is_nan())
            .map(|set| {
                // -0 and 0 are one member.
                let mut set: Vec<f64> = set.iter().map(|member| member + 0.0).collect();
                set.sort_by(f64::total_cmp);
                set.dedup();
                set
            })
            .collect()
    }
}

/// Reads a branch mode; `members` counts the member nodes, whose sets are listed in their order.
fn mode(code: i64, members: &mut u32) -> Result<Mode, String> {
    Ok(match code {
        0 => Mode::LessOrEqual,
        1 => Mode::Less,
        2 => Mode::GreaterOrEqual,
        3 => Mode::Greater,
        4 => Mode::Equal,
        5 => Mode::NotEqual,
        6 => {
            *members += 1;
            Mode::Member(*members - 1)
        }
        other => return Err(format!("nodes_modes has {other}; expected 0 to 6")),
    })
}

fn index(id: i64, count: usize, from: &str, what: &str) -> Result<usize, String> {
    usize::try_from(id)
        .ok()
        .filter(|id| *id < count)
        .ok_or_else(|| format!("{from} leads to {what} {id}, which does not exist"))
}
