//! From a checked ensemble to the program that a block runs.

use std::collections::HashMap;

use super::super::real::Real;
use super::super::structure::{Child, Ensemble, Mode, Node, Precision};
use super::{ByteCoded, LEAVES_MAX};
use crate::level::Level;

/// Thresholds that one byte column can tell apart: ranks 0 to 255 need 255 of them.
const COLUMN_THRESHOLDS: usize = 255;
/// Most thresholds of one feature, so that a rank fits 16 bits.
const FEATURE_THRESHOLDS_MAX: usize = u16::MAX as usize;
/// Entries that a weight table has at least, so that a path may load whole registers.
const TABLE_ENTRIES_MIN: usize = 16;

/// A feature, its thresholds in ascending order, and its code columns.
pub(super) struct Column {
    pub(super) feature: usize,
    pub(super) thresholds: Vec<f32>,
    pub(super) codes: Vec<CodeColumn>,
}

/// Ranks from `segment * 255` on, clamped to a byte.
pub(super) struct CodeColumn {
    /// Where the codes are in the scratch.
    pub(super) at: usize,
    pub(super) segment: usize,
    /// Code of NaN: 0 stays at or below every threshold, 255 is above every one.
    pub(super) missing: u8,
}

/// A node's comparison: codes of `column` greater than `code`.
#[derive(Clone, Copy)]
pub(super) struct Comparison {
    pub(super) column: u32,
    pub(super) code: u8,
}

/// A node's select, children before parents.
#[derive(Clone, Copy)]
pub(super) struct Select {
    pub(super) node: u8,
    /// Side of the rows whose comparison is false.
    pub(super) below: Side,
    /// Side of the rows whose comparison is true.
    pub(super) above: Side,
}

#[derive(Clone, Copy)]
pub(super) enum Side {
    Node(u8),
    Leaf(u8),
}

/// Weights of a tree's leaves for one target.
pub(super) struct Table {
    pub(super) target: usize,
    pub(super) weights: Vec<f32>,
}

pub(super) struct Tree {
    /// By node.
    pub(super) comparisons: Vec<Comparison>,
    pub(super) selects: Vec<Select>,
    /// Bits of its leaf numbers.
    pub(super) leaf_bits: usize,
    /// Its tables, one per target that it has weights for.
    pub(super) tables: std::ops::Range<usize>,
}

/// A node as `feature > threshold`, with the sides of both outcomes.
struct Above {
    feature: usize,
    threshold: f32,
    missing_passes: bool,
    otherwise: Child,
    then: Child,
}

pub(super) fn compile(ensemble: &Ensemble, level: Level) -> Option<ByteCoded> {
    if ensemble.precision == Precision::Double {
        return None;
    }
    let mut trees = Vec::with_capacity(ensemble.trees.len());
    for tree in &ensemble.trees {
        if tree.shares_subtrees || tree.leaves.len() > LEAVES_MAX {
            return None;
        }
        trees.push(tree.nodes.iter().map(above).collect::<Option<Vec<_>>>()?);
    }
    let mut columns = columns(ensemble.features, &trees)?;
    let mut places: HashMap<(usize, usize, bool), u32> = HashMap::new();
    let mut program = ByteCoded {
        columns: vec![],
        trees: vec![],
        tables: vec![],
        targets: ensemble.targets,
        level,
    };
    for (nodes, tree) in trees.iter().zip(&ensemble.trees) {
        let mut comparisons = Vec::with_capacity(nodes.len());
        for node in nodes {
            let column = &mut columns[node.feature];
            let rank = column.thresholds.partition_point(|threshold| *threshold < node.threshold);
            let (segment, code) = (rank / COLUMN_THRESHOLDS, rank % COLUMN_THRESHOLDS);
            let next = u32::try_from(places.len()).ok()?;
            let place =
                *places.entry((node.feature, segment, node.missing_passes)).or_insert_with(|| {
                    let missing = if node.missing_passes { u8::MAX } else { 0 };
                    column.codes.push(CodeColumn { at: next as usize, segment, missing });
                    next
                });
            comparisons.push(Comparison { column: place, code: u8::try_from(code).ok()? });
        }
        // Children have larger indices than their parents, so backwards is leaves to root.
        let selects = nodes
            .iter()
            .enumerate()
            .rev()
            .map(|(node, at)| {
                Some(Select {
                    node: u8::try_from(node).ok()?,
                    below: side(at.otherwise)?,
                    above: side(at.then)?,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        let first = program.tables.len();
        let leaf_bits = tree.leaves.len().next_power_of_two().trailing_zeros() as usize;
        for target in 0..ensemble.targets {
            let mut weights = vec![0f32; (1 << leaf_bits).max(TABLE_ENTRIES_MIN)];
            let mut used = false;
            for (weight, leaf) in weights.iter_mut().zip(&tree.leaves) {
                let mut for_target = leaf.iter().filter(|weight| weight.target as usize == target);
                if let Some(first) = for_target.next() {
                    *weight = f32::of(first.value);
                    used = true;
                }
                // Two weights of a leaf for one target would have to be added one after the other.
                if for_target.next().is_some() {
                    return None;
                }
            }
            if used {
                program.tables.push(Table { target, weights });
            }
        }
        program.trees.push(Tree {
            comparisons,
            selects,
            leaf_bits,
            tables: first..program.tables.len(),
        });
    }
    program.columns = columns.into_iter().filter(|column| !column.codes.is_empty()).collect();
    Some(program)
}

/// Every comparison of order as `feature > threshold`; `None` for what cannot be one.
fn above(node: &Node) -> Option<Above> {
    let at = f32::of(node.threshold);
    let (threshold, swapped) = match node.mode {
        Mode::LessOrEqual => (at, false),
        Mode::Greater => (at, true),
        // `x < t` is `x <= t'` with t' the float below t.
        Mode::Less => (below(at)?, false),
        Mode::GreaterOrEqual => (below(at)?, true),
        Mode::Equal | Mode::NotEqual | Mode::Member(_) => return None,
    };
    if threshold.is_nan() {
        return None;
    }
    let (otherwise, then) =
        if swapped { (node.on_false, node.on_true) } else { (node.on_true, node.on_false) };
    Some(Above {
        feature: node.feature as usize,
        // -0 and 0 are one threshold.
        threshold: threshold + 0.0,
        missing_passes: node.missing_true == swapped,
        otherwise,
        then,
    })
}

/// The next float below a threshold; `None` where there is none.
fn below(threshold: f32) -> Option<f32> {
    (threshold != f32::NEG_INFINITY && !threshold.is_nan()).then(|| threshold.next_down())
}

fn columns(features: usize, trees: &[Vec<Above>]) -> Option<Vec<Column>> {
    let mut columns: Vec<Column> = (0..features)
        .map(|feature| Column { feature, thresholds: vec![], codes: vec![] })
        .collect();
    for node in trees.iter().flatten() {
        columns[node.feature].thresholds.push(node.threshold);
    }
    for column in &mut columns {
        column.thresholds.sort_by(f32::total_cmp);
        column.thresholds.dedup();
        if column.thresholds.len() > FEATURE_THRESHOLDS_MAX {
            return None;
        }
    }
    Some(columns)
}

fn side(child: Child) -> Option<Side> {
    Some(match child {
        Child::Node(node) => Side::Node(u8::try_from(node).ok()?),
        Child::Leaf(leaf) => Side::Leaf(u8::try_from(leaf).ok()?),
    })
}
