//! Byte-coded evaluation of whole trees.
//!
//! For a block of [`BLOCK_ROWS`] rows, each feature is coded once to its rank among the thresholds
//! that the ensemble compares it with: then `feature > threshold` is a comparison of two bytes, and a
//! vector register holds the codes of 16 to 64 rows. A tree is evaluated from its leaves to its root:
//! each node selects, row by row, between the leaf numbers that arrive from its two sides, which are
//! bytes as well. What arrives at the root is the leaf number of every row, which looks up the leaf's
//! weight.
//!
//! The work per tree is the same for every row, has no branches and touches memory in order. Ranks
//! are exact, so the leaf is the one that the walk finds; sums are in the order of the trees.
//!
//! A tree with more than [`BYTE_LEAVES`] leaves is cut into groups of fewer; then a second pass over
//! the nodes above the groups finds the number of the group. [`program`] says what cannot be compiled.

mod code;
mod leaves;
mod place;
mod portable;
mod program;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::Features;
use super::ordered::OrderedTree;
use super::structure::Ensemble;
use crate::level::Level;
use leaves::{Layout, Sums};

pub(super) use leaves::Weighted;
use program::{Column, Tree};

/// Rows that are evaluated together.
const BLOCK_ROWS: usize = 512;
/// Leaves that one byte can number.
const BYTE_LEAVES: usize = 256;
/// Rows of a [`Lane`].
const LANE_ROWS: usize = 64;
/// Lanes of a block of rows.
const LANES: usize = BLOCK_ROWS / LANE_ROWS;

/// One byte for each of 64 rows: a code or a leaf number.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Lane([u8; LANE_ROWS]);

const ZERO: Lane = Lane([0; LANE_ROWS]);

/// An ensemble compiled for blocks.
pub(super) struct ByteCoded<S> {
    columns: Vec<Column<S>>,
    /// Number of code columns of all features.
    code_columns: usize,
    /// Number of slots for leaf numbers that no later step still needs at the same time.
    slots: usize,
    trees: Vec<Tree<S>>,
    targets: usize,
    layout: Layout,
    level: Level,
}

/// Memory of one evaluation, allocated once per batch.
struct Scratch<S> {
    /// [`LANES`] lanes for each code column.
    codes: Vec<Lane>,
    /// See [`place::Operand`].
    numbers: Vec<Lane>,
    sums: Sums<S>,
}

impl<S: Weighted> ByteCoded<S> {
    /// Compiles an ensemble, or `None` when only a walk can run it.
    pub(super) fn compile(
        ensemble: &Ensemble,
        trees: &[OrderedTree],
        level: Level,
    ) -> Option<Self> {
        program::compile(ensemble, trees, level)
    }

    /// The instructions that it runs on.
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// Sums of leaf weights of `rows` rows, row by row.
    pub(super) fn sums(&self, features: &impl Features, rows: usize, sums: &mut [S]) {
        let mut scratch = Scratch {
            codes: vec![ZERO; self.code_columns * LANES],
            numbers: place::lanes(self.slots),
            sums: Sums::new(self.layout, self.targets),
        };
        let mut values = [S::default(); BLOCK_ROWS];
        for start in (0..rows).step_by(BLOCK_ROWS) {
            let count = BLOCK_ROWS.min(rows - start);
            for column in &self.columns {
                S::fill(features, column.feature, start, &mut values[..count]);
                code::column(column, &values, &mut scratch.codes, self.level);
            }
            scratch.sums.clear();
            self.block(&mut scratch);
            scratch.sums.write(&mut sums[start * self.targets..(start + count) * self.targets]);
        }
    }

    fn block(&self, scratch: &mut Scratch<S>) {
        match self.level {
            Level::Portable => portable::block(self, scratch),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => x86::avx2(self, scratch),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => x86::avx512(self, scratch),
        }
    }
}

impl<S> std::fmt::Debug for ByteCoded<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByteCoded")
            .field("level", &self.level)
            .field("columns", &self.columns.len())
            .field("trees", &self.trees.len())
            .finish_non_exhaustive()
    }
}
