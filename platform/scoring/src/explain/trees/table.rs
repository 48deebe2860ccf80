//! Contributions by look-up: for each leaf, or pair of sibling leaves, a table over which of its
//! path's features a row satisfies.

#![allow(clippy::inline_always, reason = "compiled again for the instructions of each caller")]

use super::conditions::Holds;
use super::game;
use super::grow::{Grown, Kind, Step};
use super::{Aligned, BLOCK_ROWS, Sums};

/// Most features and conditions that one table tells apart; the next bit doubles it.
pub(super) const BITS_MAX: usize = 12;
/// Entries of a feature's part of a table at least, so that a path may load a whole register.
const ENTRIES_MIN: usize = 16;

/// A leaf or a pair of sibling leaves.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// For each bit of the index, the conditions that must all have the stated outcome.
    pub(super) bits: Vec<Vec<(usize, bool)>>,
    pub(super) players: Vec<usize>,
    /// Where its tables start: one per player, each of `stride` entries.
    pub(super) start: usize,
    pub(super) stride: usize,
}

/// The units of a tree.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    pub(super) units: Vec<Unit>,
    pub(super) entries: Vec<f32>,
}

/// A unit before its table is filled.
struct Plan {
    /// The leaves with their paths.
    leaves: Vec<(f64, Vec<Step>)>,
    /// The path that the leaves share, and the condition between two.
    shared: Vec<Step>,
    own: Option<usize>,
}

/// The units of a tree, without tables.
pub(super) struct Plans(Vec<Plan>);

impl Plans {
    /// `None` when a path is too wide for a table.
    pub(super) fn of(grown: &Grown) -> Option<Self> {
        let mut plans = Vec::new();
        for (at, node) in grown.nodes.iter().enumerate() {
            let plan = match &node.kind {
                Kind::Leaf(value) => {
                    if grown.sibling_is_leaf(at) {
                        continue;
                    }
                    let path = grown.path(at);
                    Plan { leaves: vec![(*value, path.clone())], shared: path, own: None }
                }
                Kind::Inner { condition, children, .. } => {
                    let [on_true, on_false] = children.map(|child| &grown.nodes[child].kind);
                    let (Kind::Leaf(on_true), Kind::Leaf(on_false)) = (on_true, on_false) else {
                        continue;
                    };
                    let leaves = vec![
                        (*on_true, grown.path(children[0])),
                        (*on_false, grown.path(children[1])),
                    ];
                    Plan { leaves, shared: grown.path(at), own: Some(*condition) }
                }
            };
            if plan.bits() > BITS_MAX {
                return None;
            }
            plans.push(plan);
        }
        Some(Self(plans))
    }

    /// Bytes of all tables.
    pub(super) fn bytes(&self) -> usize {
        let entries = |plan: &Plan| plan.players() * stride(plan.bits());
        self.0.iter().map(entries).sum::<usize>() * size_of::<f32>()
    }

    /// Look-ups and their table sizes: features and bits of each unit.
    pub(super) fn sizes(&self) -> impl Iterator<Item = (usize, usize)> {
        self.0.iter().map(|plan| (plan.players(), plan.bits()))
    }

    /// Fills the tables; `reach` gives for a path what each coalition reaches.
    pub(super) fn fill(self, reach: &impl Fn(&[Step]) -> Vec<f64>) -> Tables {
        let mut tables = Tables { units: Vec::new(), entries: Vec::new() };
        for plan in self.0 {
            let (start, stride) = (tables.entries.len(), stride(plan.bits()));
            tables.entries.resize(start + plan.players() * stride, 0.0);
            plan.fill(reach, &mut tables.entries[start..], stride);
            let own = plan.own.map(|condition| vec![(condition, true)]);
            tables.units.push(Unit {
                bits: plan.shared.iter().map(|step| step.conditions.clone()).chain(own).collect(),
                players: plan.leaves[0].1.iter().map(|step| step.player).collect(),
                start,
                stride,
            });
        }
        tables
    }
}

impl Plan {
    fn players(&self) -> usize {
        self.leaves[0].1.len()
    }

    fn bits(&self) -> usize {
        self.shared.len() + usize::from(self.own.is_some())
    }

    #[allow(clippy::cast_possible_truncation, reason = "tables are of 32-bit floats")]
    fn fill(&self, reach: &impl Fn(&[Step]) -> Vec<f64>, entries: &mut [f32], stride: usize) {
        let shared = self.shared.len();
        let mut exact = vec![0f64; entries.len()];
        for (side, (value, path)) in self.leaves.iter().enumerate() {
            let contributions = game::contributions(&reach(path));
            for index in 0..1usize << self.bits() {
                let outcome = if self.own.is_some() {
                    // The first leaf is reached where the condition between them holds.
                    let taken = (index >> shared & 1 == 1) == (side == 0);
                    self.outcome(index & ((1 << shared) - 1), taken, path)
                } else {
                    index
                };
                for (player, contributions) in contributions.iter().enumerate() {
                    exact[player * stride + index] += value * contributions[outcome];
                }
            }
        }
        for (entry, exact) in entries.iter_mut().zip(exact) {
            *entry = exact as f32;
        }
    }

    /// Satisfied features of a leaf's path, given those of the shared path and whether the condition
    /// between the two leaves leads here.
    fn outcome(&self, shared: usize, taken: bool, path: &[Step]) -> usize {
        let own = path.len() - 1;
        if path.len() > self.shared.len() {
            return shared | usize::from(taken) << own;
        }
        // The condition is about a feature of the shared path, the one that has more conditions now.
        let extended = path
            .iter()
            .zip(&self.shared)
            .position(|(path, shared)| path.conditions.len() > shared.conditions.len());
        match extended {
            Some(feature) if !taken => shared & !(1 << feature),
            _ => shared,
        }
    }
}

fn stride(bits: usize) -> usize {
    (1usize << bits).max(ENTRIES_MIN)
}

/// Index of each row into a unit's tables: the low byte, and the high one where there are more bits.
pub(super) struct Index {
    pub(super) low: Holds,
    pub(super) high: Holds,
    /// The whole index, where the kernel wants it so.
    pub(super) both: Aligned<[i32; BLOCK_ROWS]>,
}

impl Index {
    pub(super) fn new() -> Self {
        let none = Aligned([0; BLOCK_ROWS]);
        Self { low: none, high: none, both: Aligned([0; BLOCK_ROWS]) }
    }

    #[inline(always)]
    pub(super) fn fill(&mut self, unit: &Unit, holds: &[Holds]) {
        self.low.fill(0);
        if unit.bits.len() > 8 {
            self.high.fill(0);
        }
        for (bit, conditions) in unit.bits.iter().enumerate() {
            let mut all = Aligned([u8::MAX; BLOCK_ROWS]);
            for (condition, outcome) in conditions {
                let flip = if *outcome { 0 } else { u8::MAX };
                for (all, holds) in all.iter_mut().zip(holds[*condition].iter()) {
                    *all &= holds ^ flip;
                }
            }
            let (byte, value) = if bit < 8 {
                (&mut self.low, 1u8 << bit)
            } else {
                (&mut self.high, 1u8 << (bit - 8))
            };
            for (byte, all) in byte.iter_mut().zip(all.iter()) {
                *byte |= all & value;
            }
        }
    }

    #[inline(always)]
    pub(super) fn of(&self, row: usize, wide: bool) -> usize {
        let high = if wide { usize::from(self.high[row]) << 8 } else { 0 };
        usize::from(self.low[row]) | high
    }
}

/// Adds the contributions of a tree's leaves, entry by entry.
#[inline(always)]
pub(super) fn add(
    tables: &Tables,
    holds: &[Holds],
    index: &mut Index,
    rows: usize,
    sums: &mut [Sums],
) {
    for unit in &tables.units {
        index.fill(unit, holds);
        let wide = unit.bits.len() > 8;
        let entries = tables.entries[unit.start..].chunks_exact(unit.stride);
        for (player, entries) in unit.players.iter().zip(entries) {
            for (row, sum) in sums[*player][..rows].iter_mut().enumerate() {
                *sum += entries[index.of(row, wide)];
            }
        }
    }
}
