//! Byte-coded, bit-sliced evaluation of whole trees.
//!
//! For a block of [`BLOCK_ROWS`] rows, each feature is coded once to its rank among the thresholds
//! that the ensemble compares it with: then `feature > threshold` is a comparison of two bytes, 64
//! of which fit a vector register, and one bit per row says where each row goes. A tree is evaluated
//! from its leaves to its root: each node selects, with the bits of its comparison, between the leaf
//! numbers of its two sides, one bit of the number at a time. What arrives at the root is the leaf
//! number of every row, which looks up the leaf's weight.
//!
//! The work per tree is the same for every row, has no branches and touches memory in order. Ranks
//! are exact, so the leaf is the one that the walk finds; sums are in the order of the trees.
//!
//! Trees with more than [`LEAVES_MAX`] leaves, equality comparisons or shared subtrees are walked.

mod code;

mod portable;
mod program;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::Features;
use super::structure::Ensemble;
use crate::level::Level;
use program::{Column, Table, Tree};

/// Rows that are evaluated together: eight 64-bit words of comparison bits.
const BLOCK_ROWS: usize = 512;
/// Leaves of a tree that one byte can number.
const LEAVES_MAX: usize = 256;
/// 64-bit words per block of comparison bits.
const WORDS: usize = BLOCK_ROWS / 64;
/// Bits of a leaf number.
const LEAF_BITS: usize = 8;

/// Codes of one column for a block of rows.
type Codes = [u8; BLOCK_ROWS];

/// One bit per row of a block.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Bits([u64; WORDS]);

/// An ensemble compiled for blocks.
pub(super) struct ByteCoded {
    columns: Vec<Column>,
    trees: Vec<Tree>,
    tables: Vec<Table>,
    targets: usize,
    level: Level,
}

/// Memory of one evaluation, allocated once per batch.
struct Scratch {
    codes: Vec<Codes>,
    comparisons: Box<[Bits; LEAVES_MAX]>,
    leaf_numbers: Vec<[Bits; LEAF_BITS]>,
    sums: Vec<[f32; BLOCK_ROWS]>,
}

impl ByteCoded {
    /// Compiles an ensemble, or `None` when only the walk can run it.
    pub(super) fn compile(ensemble: &Ensemble) -> Option<Self> {
        program::compile(ensemble, Level::detect())
    }

    /// The same program on every level that the machine has.
    pub(super) fn levels(ensemble: &Ensemble) -> Vec<Self> {
        Level::available()
            .into_iter()
            .filter_map(|level| program::compile(ensemble, level))
            .collect()
    }

    /// Instructions that it runs on.
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// Sums of leaf weights of `rows` rows, row by row.
    pub(super) fn sums(&self, features: &impl Features, rows: usize, sums: &mut [f32]) {
        let zero = Bits([0; WORDS]);
        let mut scratch = Scratch {
            codes: vec![
                [0; BLOCK_ROWS];
                self.columns.iter().map(|column| column.codes.len()).sum()
            ],
            comparisons: Box::new([zero; LEAVES_MAX]),
            leaf_numbers: vec![[zero; LEAF_BITS]; LEAVES_MAX],
            sums: vec![[0.0; BLOCK_ROWS]; self.targets],
        };
        let mut values = [0f32; BLOCK_ROWS];
        for start in (0..rows).step_by(BLOCK_ROWS) {
            let count = BLOCK_ROWS.min(rows - start);
            for column in &self.columns {
                features.fill(column.feature, start, &mut values[..count]);
                code::column(column, &values, &mut scratch.codes, self.level);
            }
            scratch.sums.fill([0.0; BLOCK_ROWS]);
            self.block(&mut scratch);
            let rows = &mut sums[start * self.targets..(start + count) * self.targets];
            for (target, block) in scratch.sums.iter().enumerate() {
                for (row, sum) in rows.chunks_exact_mut(self.targets).zip(block) {
                    row[target] = *sum;
                }
            }
        }
    }

    fn block(&self, scratch: &mut Scratch) {
        match self.level {
            Level::Portable => portable::block(self, scratch),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => x86::avx2(self, scratch),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => x86::avx512(self, scratch),
        }
    }
}

impl std::fmt::Debug for ByteCoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByteCoded")
            .field("level", &self.level)
            .field("columns", &self.columns.len())
            .field("trees", &self.trees.len())
            .finish_non_exhaustive()
    }
}

/// How many levels this machine has.
#[cfg(test)]
pub(super) fn level_count() -> usize {
    Level::available().len()
}
