//! From leaf numbers to sums of leaf weights.

use super::super::real::Real;
use super::super::structure;
use super::place::Operand;
use super::{BLOCK_ROWS, LANE_ROWS, Lane};
use crate::level::Level;

/// Entries that a table has at least, so that a path may load whole registers.
const TABLE_ENTRIES_MIN: usize = 16;
/// Targets of a leaf from which on its weights lie and are added side by side.
const ROW_TARGETS_MIN: usize = 4;

/// Sums of a block of rows.
pub(super) struct Sums<S> {
    pub(super) layout: Layout,
    targets: usize,
    values: Vec<S>,
}

/// How sums, and so the weights that are added to them, lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// All rows of a target, then the next target.
    ByTarget,
    /// All targets of a row, then the next row.
    ByRow,
}

impl Layout {
    /// The layout for leaves with weights for a number of targets on average.
    pub(super) fn of(ensemble: &structure::Ensemble) -> Self {
        let leaves: usize = ensemble.trees.iter().map(|tree| tree.leaves.len()).sum();
        let weights: usize =
            ensemble.trees.iter().flat_map(|tree| &tree.leaves).map(Vec::len).sum();
        if weights >= leaves * ROW_TARGETS_MIN { Self::ByRow } else { Self::ByTarget }
    }
}

impl<S: Weighted> Sums<S> {
    pub(super) fn new(layout: Layout, targets: usize) -> Self {
        Self { layout, targets, values: vec![S::default(); targets * BLOCK_ROWS] }
    }

    pub(super) fn clear(&mut self) {
        self.values.fill(S::default());
    }

    /// Copies the first rows out, row by row.
    pub(super) fn write(&self, rows: &mut [S]) {
        match self.layout {
            Layout::ByRow => rows.copy_from_slice(&self.values[..rows.len()]),
            Layout::ByTarget => {
                for (target, sums) in self.values.chunks_exact(BLOCK_ROWS).enumerate() {
                    for (row, sum) in rows.chunks_exact_mut(self.targets).zip(sums) {
                        row[target] = *sum;
                    }
                }
            }
        }
    }
}

/// Weights of a tree's leaves, found by leaf number.
pub(super) enum Table<S> {
    /// One list for each target that the tree has weights for.
    ByTarget(Vec<(usize, Vec<S>)>),
    /// The weights of a leaf for all targets side by side.
    ByRow(Vec<S>),
}

impl<S: Weighted> Table<S> {
    /// `numbers` are the numbers of the leaves. `None` when a leaf has two weights for one target,
    /// which would have to be added one after the other.
    pub(super) fn of(
        tree: &structure::Tree,
        numbers: &[usize],
        targets: usize,
        layout: Layout,
    ) -> Option<Self> {
        let entries = numbers.iter().max().map_or(1, |last| last + 1);
        let entries = entries.next_power_of_two().max(TABLE_ENTRIES_MIN);
        let mut by_target: Vec<(usize, Vec<S>)> = vec![];
        let mut by_row = match layout {
            Layout::ByRow => vec![S::default(); entries.checked_mul(targets)?],
            Layout::ByTarget => vec![],
        };
        for (leaf, number) in tree.leaves.iter().zip(numbers) {
            for (index, weight) in leaf.iter().enumerate() {
                if leaf[..index].iter().any(|earlier| earlier.target == weight.target) {
                    return None;
                }
                let target = weight.target as usize;
                if layout == Layout::ByRow {
                    by_row[number * targets + target] = S::of(weight.value);
                    continue;
                }
                let at = by_target.iter().position(|(found, _)| *found == target);
                let at = at.unwrap_or_else(|| {
                    by_target.push((target, vec![S::default(); entries]));
                    by_target.len() - 1
                });
                by_target[at].1[*number] = S::of(weight.value);
            }
        }
        Some(match layout {
            Layout::ByRow => Self::ByRow(by_row),
            Layout::ByTarget => Self::ByTarget(by_target),
        })
    }

    pub(super) fn add(&self, numbers: &Numbers, sums: &mut Sums<S>, level: Level) {
        match self {
            Self::ByTarget(tables) => {
                let (blocks, _) = sums.values.as_chunks_mut::<BLOCK_ROWS>();
                for (target, weights) in tables {
                    S::add_weights(weights, numbers, &mut blocks[*target], level);
                }
            }
            Self::ByRow(weights) => add_rows(weights, numbers, sums),
        }
    }
}

fn add_rows<S: Weighted>(weights: &[S], numbers: &Numbers, sums: &mut Sums<S>) {
    let targets = sums.targets;
    for (lane, sums) in sums.values.chunks_exact_mut(LANE_ROWS * targets).enumerate() {
        let low = numbers.low(lane);
        let high = numbers.high(lane);
        for (row, sums) in sums.chunks_exact_mut(targets).enumerate() {
            let group = high.map_or(0, |high| usize::from(high[row]) << 8);
            let at = (usize::from(low[row]) | group) * targets;
            for (sum, weight) in sums.iter_mut().zip(&weights[at..at + targets]) {
                *sum += *weight;
            }
        }
    }
}

/// Leaf numbers of a block of rows.
#[derive(Clone, Copy)]
pub(in super::super) struct Numbers<'a> {
    pub(super) lanes: &'a [Lane],
    pub(super) low: Operand,
    pub(super) high: Option<Operand>,
}

impl<'a> Numbers<'a> {
    pub(super) fn low(&self, lane: usize) -> &'a [u8; LANE_ROWS] {
        &self.lanes[self.low.at() + lane * self.low.stride()].0
    }

    pub(super) fn high(&self, lane: usize) -> Option<&'a [u8; LANE_ROWS]> {
        let high = self.high?;
        Some(&self.lanes[high.at() + lane * high.stride()].0)
    }
}

/// The float types whose weights can be looked up, with the fastest way for each level.
pub(in super::super) trait Weighted: Real {
    /// Adds each row's weight to its sum. Numbers are below the length of `weights`.
    fn add_weights(
        weights: &[Self],
        numbers: &Numbers,
        sums: &mut [Self; BLOCK_ROWS],
        level: Level,
    );

    /// Writes the number of `thresholds` below each value; see `code::Thresholds`.
    fn ranks(
        thresholds: &super::code::Thresholds<Self>,
        values: &[Self; BLOCK_ROWS],
        ranks: &mut [u16; BLOCK_ROWS],
        level: Level,
    );

    /// `(self - least) * scale` cut to an integer from 0 to `highest`; NaN gives 0.
    fn bucket(self, least: Self, scale: Self, highest: Self) -> u16;
}

impl Weighted for f32 {
    fn add_weights(
        weights: &[Self],
        numbers: &Numbers,
        sums: &mut [Self; BLOCK_ROWS],
        level: Level,
    ) {
        match level {
            Level::Portable => super::portable::add(weights, numbers, sums),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => super::x86::add_on_avx2(weights, numbers, sums),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => super::x86::add_on_avx512(weights, numbers, sums),
        }
    }

    fn ranks(
        thresholds: &super::code::Thresholds<Self>,
        values: &[Self; BLOCK_ROWS],
        ranks: &mut [u16; BLOCK_ROWS],
        level: Level,
    ) {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => super::x86::ranks(thresholds.ascending(), values, ranks),
            _ => thresholds.ranks(values, ranks),
        }
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range by the clamp; NaN becomes 0"
    )]
    fn bucket(self, least: Self, scale: Self, highest: Self) -> u16 {
        ((self - least) * scale).max(0.0).min(highest) as i32 as u16
    }
}

impl Weighted for f64 {
    fn add_weights(weights: &[Self], numbers: &Numbers, sums: &mut [Self; BLOCK_ROWS], _: Level) {
        super::portable::add(weights, numbers, sums);
    }

    fn ranks(
        thresholds: &super::code::Thresholds<Self>,
        values: &[Self; BLOCK_ROWS],
        ranks: &mut [u16; BLOCK_ROWS],
        _: Level,
    ) {
        thresholds.ranks(values, ranks);
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range by the clamp; NaN becomes 0"
    )]
    fn bucket(self, least: Self, scale: Self, highest: Self) -> u16 {
        ((self - least) * scale).max(0.0).min(highest) as i32 as u16
    }
}
