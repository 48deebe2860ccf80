//! Root to leaf without branches, several walks at a time.
//!
//! A step reads a small node and one value and adds the outcome of their comparison to the index of
//! the node's children, which lie side by side; a leaf leads to itself, so every walk of a tree takes
//! as many steps as the tree is deep. One walk alone would wait for memory at each step, so eight go
//! in step: eight rows through one tree, or for a few rows one row through eight trees.
//!
//! Values are integers of the order of the floats, with NaN as the lowest or the highest; a feature
//! of which nodes want both has two columns.

#![allow(unsafe_code, reason = "measured: 1.4 to 1.8 times the speed of checked indices")]

use std::collections::HashMap;

use super::Features;
use super::key::Keyed;
use super::ordered::OrderedTree;
use super::structure::{Child, Ensemble, Tree, Weight};

/// Walks that go in step.
const WALKS: usize = 8;
/// Rows whose values are gathered at a time; a tree then serves all of them while it is cached.
const BLOCK_ROWS: usize = 256;
/// Values of a few rows that need no allocation.
const STACK_VALUES: usize = 1024;

/// A node, or a leaf that leads to itself.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Packed<K> {
    /// Values greater than this go to the second child.
    key: K,
    /// Index of the first child in the tree, shifted, and the column below it.
    link: u32,
}

#[derive(Debug, Clone, Copy)]
struct Root {
    /// Where the tree's nodes begin.
    start: usize,
    depth: u32,
}

/// A feature with NaN as the lowest or the highest value.
#[derive(Debug, Clone, Copy)]
struct Column {
    feature: usize,
    missing_highest: bool,
}

/// An ensemble laid out for walks.
#[derive(Debug)]
pub(super) struct Interleaved<S: Keyed> {
    nodes: Vec<Packed<S::Key>>,
    /// Number among all leaves, by node; meaningless for inner nodes.
    leaves: Vec<u32>,
    roots: Vec<Root>,
    columns: Vec<Column>,
    /// Bits of a link that hold the column.
    column_bits: u32,
    weights: Weights<S>,
    targets: usize,
}

/// Weights of all leaves, by the number of the leaf.
#[derive(Debug)]
enum Weights<S> {
    /// One for each leaf.
    One(Vec<(u32, S)>),
    /// One for each target of each leaf.
    All(Vec<S>),
    /// Any: where the weights of each leaf end, and the weights.
    Lists(Vec<u32>, Vec<(u32, S)>),
}

impl<S: Keyed> Interleaved<S> {
    /// Lays out an ensemble, or gives `None` when a tree and the columns together are too large for a
    /// link of 32 bits.
    pub(super) fn compile(ensemble: &Ensemble, trees: &[OrderedTree]) -> Option<Self> {
        let mut columns = Vec::new();
        let mut places = HashMap::new();
        for split in trees.iter().flat_map(|tree| &tree.splits) {
            places.entry((split.feature, split.missing_passes)).or_insert_with(|| {
                let feature = split.feature as usize;
                columns.push(Column { feature, missing_highest: split.missing_passes });
                columns.len() - 1
            });
        }
        let column_bits = columns.len().next_power_of_two().trailing_zeros();
        let mut laid = Self {
            nodes: vec![],
            leaves: vec![],
            roots: vec![],
            columns,
            column_bits,
            weights: Weights::of(ensemble)?,
            targets: ensemble.targets,
        };
        let mut first_leaf = 0;
        for (ordered, tree) in trees.iter().zip(&ensemble.trees) {
            laid.lay(ordered, u32::try_from(first_leaf).ok()?, |split| {
                places.get(&split).and_then(|place| u32::try_from(*place).ok())
            })?;
            first_leaf += tree.leaves.len();
        }
        Some(laid)
    }

    /// Steps of a row through all trees.
    pub(super) fn steps(&self) -> usize {
        self.roots.iter().map(|root| root.depth as usize).sum()
    }

    /// Appends a tree, level by level.
    fn lay(
        &mut self,
        tree: &OrderedTree,
        first_leaf: u32,
        column: impl Fn((u32, bool)) -> Option<u32>,
    ) -> Option<()> {
        let mut depths: Vec<u32> = Vec::with_capacity(tree.splits.len());
        let mut pairs: Vec<Option<u32>> = vec![None; tree.splits.len()];
        let mut order = Vec::with_capacity(tree.splits.len());
        for split in &tree.splits {
            let below = |child| match child {
                Child::Node(node) => depths[node as usize],
                Child::Leaf(_) => 0,
            };
            depths.push(1 + below(split.otherwise).max(below(split.then)));
        }
        let mut next = 1;
        let mut found = |child, order: &mut Vec<u32>, pairs: &mut Vec<Option<u32>>| {
            if let Child::Node(node) = child
                && pairs[node as usize].is_none()
            {
                pairs[node as usize] = Some(next);
                next += 2;
                order.push(node);
            }
        };
        found(tree.root, &mut order, &mut pairs);
        let mut at = 0;
        while let Some(node) = order.get(at).copied() {
            found(tree.splits[node as usize].otherwise, &mut order, &mut pairs);
            found(tree.splits[node as usize].then, &mut order, &mut pairs);
            at += 1;
        }
        if u64::from(next) << self.column_bits > u64::from(u32::MAX) {
            return None;
        }
        let start = self.nodes.len();
        let depth = match tree.root {
            Child::Node(root) => depths[root as usize],
            Child::Leaf(_) => 0,
        };
        self.roots.push(Root { start, depth });
        let children = order.iter().flat_map(|node| {
            let split = &tree.splits[*node as usize];
            [split.otherwise, split.then]
        });
        for (index, child) in (0u32..).zip(std::iter::once(tree.root).chain(children)) {
            let (key, to, column, leaf) = match child {
                Child::Leaf(leaf) => (S::HIGHEST, index, 0, first_leaf + leaf),
                Child::Node(node) => {
                    let split = &tree.splits[node as usize];
                    let column = column((split.feature, split.missing_passes))?;
                    (S::of(split.threshold).key(), pairs[node as usize]?, column, 0)
                }
            };
            self.nodes.push(Packed { key, link: to << self.column_bits | column });
            self.leaves.push(leaf);
        }
        Some(())
    }

    /// Sums of leaf weights of `rows` rows, row by row.
    pub(super) fn sums(&self, features: &impl Features, rows: usize, sums: &mut [S]) {
        sums.fill(S::default());
        let width = self.columns.len();
        let mut stack = [S::Key::default(); STACK_VALUES];
        let mut heap = Vec::new();
        let block_rows = BLOCK_ROWS.min(rows.next_multiple_of(WALKS));
        let few = rows < WALKS;
        let needed = width * if few { rows } else { block_rows };
        let values = if needed <= STACK_VALUES {
            &mut stack[..needed]
        } else {
            heap.resize(needed, S::Key::default());
            &mut heap[..]
        };
        for start in (0..rows).step_by(BLOCK_ROWS) {
            let count = BLOCK_ROWS.min(rows - start);
            self.gather(features, start, count, values);
            let sums = &mut sums[start * self.targets..(start + count) * self.targets];
            if few {
                for (row, sums) in sums.chunks_exact_mut(self.targets).enumerate() {
                    self.row(&values[row * width..(row + 1) * width], sums);
                }
            } else {
                self.block(values, count, sums);
            }
        }
    }

    /// Keys of the values of some rows, row by row.
    fn gather(&self, features: &impl Features, start: usize, count: usize, keys: &mut [S::Key]) {
        let width = self.columns.len();
        let mut buffer = [S::default(); BLOCK_ROWS];
        let values = &mut buffer[..count];
        for (at, column) in self.columns.iter().enumerate() {
            S::fill(features, column.feature, start, values);
            let missing = if column.missing_highest { S::HIGHEST } else { S::LOWEST };
            for (value, key) in values.iter().zip(keys[at..].iter_mut().step_by(width)) {
                *key = if value.is_nan() { missing } else { value.key() };
            }
        }
    }

    /// Rows through one tree after the other, [`WALKS`] rows in step.
    fn block(&self, values: &[S::Key], count: usize, sums: &mut [S]) {
        let width = self.columns.len();
        for root in &self.roots {
            let nodes = &self.nodes[root.start..];
            let leaves = &self.leaves[root.start..];
            for first in (0..count).step_by(WALKS) {
                let mut at = [0usize; WALKS];
                let base = first * width;
                for _ in 0..root.depth {
                    for (walk, at) in at.iter_mut().enumerate() {
                        *at = self.step(nodes, values, base + walk * width, *at);
                    }
                }
                let rows = sums[first * self.targets..].chunks_exact_mut(self.targets);
                for (at, sums) in at.iter().zip(rows) {
                    self.weights.add(leaves[*at], sums);
                }
            }
        }
    }

    /// One row through all trees, [`WALKS`] trees in step.
    fn row(&self, values: &[S::Key], sums: &mut [S]) {
        for roots in self.roots.chunks(WALKS) {
            let mut at = [0usize; WALKS];
            let start: [usize; WALKS] =
                std::array::from_fn(|walk| roots.get(walk).unwrap_or(&roots[0]).start);
            let depth = roots.iter().map(|root| root.depth).max().unwrap_or(0);
            for _ in 0..depth {
                for (at, start) in at.iter_mut().zip(start) {
                    *at = self.step(&self.nodes[start..], values, 0, *at);
                }
            }
            for (at, root) in at.iter().zip(roots) {
                self.weights.add(self.leaves[root.start + at], sums);
            }
        }
    }

    #[inline]
    fn step(&self, nodes: &[Packed<S::Key>], values: &[S::Key], base: usize, at: usize) -> usize {
        // SAFETY: `lay` gives every node of a tree children in the same tree and a column below the
        // width, and callers pass the values of whole rows.
        let node = unsafe { *nodes.get_unchecked(at) };
        let column = node.link & ((1 << self.column_bits) - 1);
        // SAFETY: as above.
        let value = unsafe { *values.get_unchecked(base + column as usize) };
        (node.link >> self.column_bits) as usize + usize::from(value > node.key)
    }
}

impl<S: Keyed> Weights<S> {
    fn of(ensemble: &Ensemble) -> Option<Self> {
        let leaves = || ensemble.trees.iter().flat_map(|tree: &Tree| &tree.leaves);
        let pair = |weight: &Weight| (weight.target, S::of(weight.value));
        if leaves().all(|leaf| leaf.len() == 1) {
            return Some(Self::One(leaves().map(|leaf| pair(&leaf[0])).collect()));
        }
        let all = |leaf: &Vec<Weight>| {
            leaf.len() == ensemble.targets
                && leaf.iter().zip(0u32..).all(|(weight, target)| weight.target == target)
        };
        if leaves().all(all) {
            return Some(Self::All(leaves().flatten().map(|weight| S::of(weight.value)).collect()));
        }
        let mut ends = Vec::new();
        let mut weights = Vec::new();
        for leaf in leaves() {
            weights.extend(leaf.iter().map(pair));
            ends.push(u32::try_from(weights.len()).ok()?);
        }
        Some(Self::Lists(ends, weights))
    }

    /// Adds the weights of a leaf to the sums of a row.
    #[inline]
    fn add(&self, leaf: u32, sums: &mut [S]) {
        let leaf = leaf as usize;
        match self {
            Self::One(weights) => {
                let (target, weight) = weights[leaf];
                sums[target as usize] += weight;
            }
            Self::All(weights) => {
                let weights = &weights[leaf * sums.len()..(leaf + 1) * sums.len()];
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += *weight;
                }
            }
            Self::Lists(ends, weights) => {
                let start = leaf.checked_sub(1).map_or(0, |before| ends[before] as usize);
                for (target, weight) in &weights[start..ends[leaf] as usize] {
                    sums[*target as usize] += *weight;
                }
            }
        }
    }
}
