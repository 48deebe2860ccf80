//! From ordered trees to the program that a block runs.
//!
//! Not compiled are ensembles of which one feature has more than 65,535 thresholds, a leaf has two
//! weights for one target, or a tree has more leaves than two bytes number or more nodes than are
//! worth evaluating all of them; and trees that share subtrees and have more than [`BYTE_LEAVES`]
//! leaves.

use std::collections::HashMap;

use super::super::ordered::{OrderedTree, Split};
use super::super::structure::{self, Child, Ensemble};
use super::leaves::{Layout, Table, Weighted};
use super::place::{Operand, Place, Placed, Slots, Step};
use super::{BYTE_LEAVES, ByteCoded};
use crate::level::Level;

/// Thresholds that one byte column can tell apart: ranks 0 to 255 need 255 of them.
pub(super) const COLUMN_THRESHOLDS: usize = 255;
/// Most thresholds of one feature, so that a rank fits 16 bits.
const FEATURE_THRESHOLDS_MAX: usize = u16::MAX as usize;

/// A feature, its thresholds in ascending order, and its code columns.
pub(super) struct Column<S> {
    pub(super) feature: usize,
    pub(super) thresholds: super::code::Thresholds<S>,
    pub(super) codes: Vec<CodeColumn>,
}

/// Ranks from `segment * 255` on, clamped to a byte.
pub(super) struct CodeColumn {
    /// Its number among all code columns.
    pub(super) at: usize,
    pub(super) segment: usize,
    /// Code of NaN: 0 stays at or below every threshold, 255 is above every one.
    pub(super) missing: u8,
}

/// A node's comparison: codes of `column` greater than `code`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Comparison {
    pub(super) column: u32,
    pub(super) code: u8,
}

pub(super) struct Tree<S> {
    pub(super) steps: Vec<Step>,
    /// Where its leaf numbers are after the steps.
    pub(super) low: Operand,
    /// Where the numbers of the leaves' groups are; `None` when all leaves are of one group.
    pub(super) high: Option<Operand>,
    pub(super) table: Table<S>,
}

pub(super) fn compile<S: Weighted>(
    ensemble: &Ensemble,
    trees: &[OrderedTree],
    level: Level,
) -> Option<ByteCoded<S>> {
    let mut coder = Coder::of(ensemble.features, trees)?;
    let mut slots = Slots::default();
    let mut program = ByteCoded {
        columns: vec![],
        code_columns: 0,
        slots: 0,
        trees: Vec::with_capacity(trees.len()),
        targets: ensemble.targets,
        layout: Layout::of(ensemble),
        level,
    };
    let layout = program.layout;
    let table = |tree: &structure::Tree, numbers: &[usize]| {
        Table::of(tree, numbers, ensemble.targets, layout)
    };
    for (ordered, tree) in trees.iter().zip(&ensemble.trees) {
        slots.reset();
        program.trees.push(compile_tree(ordered, tree, &mut coder, &mut slots, table)?);
    }
    program.slots = slots.count;
    program.code_columns = coder.places.len();
    program.columns = coder.columns();
    Some(program)
}

fn compile_tree<S: Weighted>(
    ordered: &OrderedTree,
    tree: &structure::Tree,
    coder: &mut Coder,
    slots: &mut Slots,
    table: impl Fn(&structure::Tree, &[usize]) -> Option<Table<S>>,
) -> Option<Tree<S>> {
    let mut steps = Vec::with_capacity(ordered.splits.len());
    if tree.leaves.len() <= BYTE_LEAVES {
        let nodes = ordered
            .splits
            .iter()
            .map(|split| {
                Some(Placed {
                    comparison: coder.comparison(split)?,
                    otherwise: Place::of(split.otherwise)?,
                    then: Place::of(split.then)?,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        let low = slots.place(&nodes, Place::of(ordered.root)?, &mut steps)?;
        let numbers: Vec<usize> = (0..tree.leaves.len()).collect();
        let table = table(tree, &numbers)?;
        return Some(Tree { steps, low, high: None, table });
    }
    let groups = Groups::of(ordered, tree)?;
    let mut low = Vec::with_capacity(ordered.splits.len());
    let mut high = Vec::with_capacity(ordered.splits.len());
    for split in &ordered.splits {
        let comparison = coder.comparison(split)?;
        let (otherwise, then) = (groups.index(split.otherwise), groups.index(split.then));
        low.push(Placed { comparison, otherwise, then });
        let (otherwise, then) = (groups.group(split.otherwise), groups.group(split.then));
        high.push(Placed { comparison, otherwise, then });
    }
    let root = Place::of(ordered.root)?;
    let low = slots.place(&low, root, &mut steps)?;
    let high = slots.place(&high, root, &mut steps)?;
    let table = table(tree, &groups.numbers)?;
    Some(Tree { steps, low, high: Some(high), table })
}

/// The leaves of a large tree in groups that one byte numbers: each is the largest subtree that fits.
struct Groups {
    /// Group of the node when its whole subtree is in one.
    of_node: Vec<Option<u8>>,
    /// Group times 256 plus the index in the group, by leaf.
    numbers: Vec<usize>,
}

impl Groups {
    fn of(ordered: &OrderedTree, tree: &structure::Tree) -> Option<Self> {
        let mut leaves: Vec<usize> = Vec::with_capacity(ordered.splits.len());
        let mut parents = vec![0u32; ordered.splits.len()];
        let mut leaf_parents = vec![0u32; tree.leaves.len()];
        for split in &ordered.splits {
            let mut below = 0;
            for child in [split.otherwise, split.then] {
                let parents = match child {
                    Child::Node(node) => {
                        below += leaves[node as usize];
                        &mut parents[node as usize]
                    }
                    Child::Leaf(leaf) => {
                        below += 1;
                        &mut leaf_parents[leaf as usize]
                    }
                };
                *parents += 1;
                // Shared: its leaves would be in two groups.
                if *parents > 1 {
                    return None;
                }
            }
            leaves.push(below);
        }
        let mut groups =
            Self { of_node: vec![None; ordered.splits.len()], numbers: vec![0; tree.leaves.len()] };
        let mut count = 0;
        let mut members = 0;
        // Depth first from the root, with the group that a subtree belongs to.
        let mut open = vec![(ordered.root, None)];
        while let Some((child, inherited)) = open.pop() {
            let fits = match child {
                Child::Leaf(_) => true,
                Child::Node(node) => leaves[node as usize] <= BYTE_LEAVES,
            };
            let group = inherited.or_else(|| {
                fits.then(|| {
                    members = 0;
                    count += 1;
                    count - 1
                })
            });
            match (child, group) {
                (Child::Leaf(leaf), Some(group)) => {
                    groups.numbers[leaf as usize] = group * BYTE_LEAVES + members;
                    members += 1;
                }
                (Child::Node(node), group) => {
                    groups.of_node[node as usize] = match group {
                        Some(group) => Some(u8::try_from(group).ok()?),
                        None => None,
                    };
                    let split = &ordered.splits[node as usize];
                    open.extend([(split.then, group), (split.otherwise, group)]);
                }
                (Child::Leaf(_), None) => return None,
            }
        }
        (count <= BYTE_LEAVES).then_some(groups)
    }

    /// A child by the index of leaves in their groups.
    fn index(&self, child: Child) -> Place {
        match child {
            Child::Node(node) => Place::Node(node),
            Child::Leaf(leaf) => Place::Number(low_byte(self.numbers[leaf as usize])),
        }
    }

    /// A child by the number of groups.
    fn group(&self, child: Child) -> Place {
        match child {
            Child::Node(node) => {
                self.of_node[node as usize].map_or(Place::Node(node), Place::Number)
            }
            Child::Leaf(leaf) => Place::Number(low_byte(self.numbers[leaf as usize] / BYTE_LEAVES)),
        }
    }
}

fn low_byte(number: usize) -> u8 {
    u8::try_from(number % BYTE_LEAVES).unwrap_or(u8::MAX)
}

/// Gives each comparison its code column and code.
struct Coder {
    /// Thresholds of each feature, ascending.
    thresholds: Vec<Vec<f64>>,
    codes: Vec<Vec<CodeColumn>>,
    /// Code columns by feature, segment and the side of NaN.
    places: HashMap<(u32, usize, bool), u32>,
}

impl Coder {
    fn of(features: usize, trees: &[OrderedTree]) -> Option<Self> {
        let mut thresholds: Vec<Vec<f64>> = vec![vec![]; features];
        for split in trees.iter().flat_map(|tree| &tree.splits) {
            thresholds[split.feature as usize].push(split.threshold);
        }
        for thresholds in &mut thresholds {
            thresholds.sort_by(f64::total_cmp);
            thresholds.dedup();
            if thresholds.len() > FEATURE_THRESHOLDS_MAX {
                return None;
            }
        }
        let codes = std::iter::repeat_with(Vec::new).take(features).collect();
        Some(Self { thresholds, codes, places: HashMap::new() })
    }

    fn comparison(&mut self, split: &Split) -> Option<Comparison> {
        let thresholds = &self.thresholds[split.feature as usize];
        let rank = thresholds.partition_point(|threshold| *threshold < split.threshold);
        let (segment, code) = (rank / COLUMN_THRESHOLDS, rank % COLUMN_THRESHOLDS);
        let next = u32::try_from(self.places.len()).ok()?;
        let codes = &mut self.codes[split.feature as usize];
        let column = *self
            .places
            .entry((split.feature, segment, split.missing_passes))
            .or_insert_with(|| {
                let missing = if split.missing_passes { u8::MAX } else { 0 };
                codes.push(CodeColumn { at: next as usize, segment, missing });
                next
            });
        Some(Comparison { column, code: u8::try_from(code).ok()? })
    }

    /// The features that have a code column.
    fn columns<S: Weighted>(self) -> Vec<Column<S>> {
        self.thresholds
            .into_iter()
            .zip(self.codes)
            .enumerate()
            .filter(|(_, (_, codes))| !codes.is_empty())
            .map(|(feature, (thresholds, codes))| Column {
                feature,
                thresholds: super::code::Thresholds::of(
                    thresholds.into_iter().map(S::of).collect(),
                ),
                codes,
            })
            .collect()
    }
}
