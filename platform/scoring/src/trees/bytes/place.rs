//! Steps in the order in which they run, and where each finds and leaves leaf numbers.

use super::super::structure::Child;
use super::program::Comparison;
use super::{BYTE_LEAVES, LANE_ROWS, LANES, Lane, ZERO};

/// Where the slots begin: after one lane for each constant leaf number.
const SLOTS_AT: usize = BYTE_LEAVES;
/// Most lanes that an operand can point to.
const LANES_MAX: usize = 1 << 30;

/// Where leaf numbers are: the lane of the first rows, times two, plus one when the next rows are in
/// the next lane. A constant number has one lane, which serves all rows.
///
/// One form for constants and slots keeps branches out of the steps: which of a node's children are
/// leaves is as good as random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operand(u32);

impl Operand {
    fn number(number: u8) -> Self {
        Self(u32::from(number) << 1)
    }

    fn slot(slot: usize) -> Option<Self> {
        let lane = u32::try_from(SLOTS_AT + slot * LANES).ok()?;
        ((lane as usize) < LANES_MAX).then_some(Self(lane << 1 | 1))
    }

    /// Lane of the first 64 rows.
    pub(super) fn at(self) -> usize {
        self.0 as usize >> 1
    }

    /// Lanes from one 64 rows to the next.
    pub(super) fn stride(self) -> usize {
        self.0 as usize & 1
    }
}

/// Leaf numbers of `above` where the codes of a column are greater than a code, else of `below`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// First lane of the code column.
    pub(super) codes: u32,
    pub(super) below: Operand,
    pub(super) above: Operand,
    pub(super) into: Operand,
    pub(super) code: u8,
}

/// Memory for the operands of a program.
pub(super) fn lanes(slots: usize) -> Vec<Lane> {
    let mut lanes = vec![ZERO; SLOTS_AT + slots * LANES];
    for (number, lane) in (0..=u8::MAX).zip(&mut lanes) {
        *lane = Lane([number; LANE_ROWS]);
    }
    lanes
}

/// A node's comparison and children; a child that is a leaf has its number here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) comparison: Comparison,
    pub(super) otherwise: Place,
    pub(super) then: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Node(u32),
    Number(u8),
}

impl Place {
    /// A child of a tree whose leaves are numbered by index.
    pub(super) fn of(child: Child) -> Option<Self> {
        Some(match child {
            Child::Node(node) => Self::Node(node),
            Child::Leaf(leaf) => Self::Number(u8::try_from(leaf).ok()?),
        })
    }
}

/// Slots in use, for one tree after the other.
#[derive(Debug, Default)]
pub(super) struct Slots {
    free: Vec<usize>,
    pub(super) count: usize,
}

impl Slots {
    fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        })
    }

    /// All slots are free again.
    pub(super) fn reset(&mut self) {
        self.free = (0..self.count).rev().collect();
    }

    /// Appends the steps of the nodes that `root` needs and gives where its numbers end up. That slot
    /// stays taken.
    ///
    /// `nodes` lists children before parents. The side that needs more slots comes first, so that
    /// few are needed at a time.
    pub(super) fn place(
        &mut self,
        nodes: &[Placed],
        root: Place,
        steps: &mut Vec<Step>,
    ) -> Option<Operand> {
        let root = match root {
            Place::Number(number) => return Some(Operand::number(number)),
            Place::Node(root) => root as usize,
        };
        let needs = slots_needed(nodes);
        let mut uses = parents(nodes, root);
        let mut results: Vec<Option<usize>> = vec![None; nodes.len()];
        let mut open = vec![root];
        while let Some(at) = open.last().copied() {
            let node = &nodes[at];
            let waits = |place| match place {
                Place::Node(below) if results[below as usize].is_none() => Some(below as usize),
                _ => None,
            };
            match (results[at], waits(node.otherwise), waits(node.then)) {
                (Some(_), _, _) => {
                    open.pop();
                }
                (None, None, None) => {
                    open.pop();
                    let operand = |place| match place {
                        Place::Number(number) => Some(Operand::number(number)),
                        Place::Node(below) => Operand::slot(results[below as usize]?),
                    };
                    let (below, above) = (operand(node.otherwise)?, operand(node.then)?);
                    for place in [node.otherwise, node.then] {
                        if let Place::Node(below) = place {
                            uses[below as usize] -= 1;
                            if uses[below as usize] == 0 {
                                self.free.extend(results[below as usize]);
                            }
                        }
                    }
                    // A step may write where it reads: it does so row by row.
                    let slot = self.take();
                    results[at] = Some(slot);
                    let Comparison { column, code } = node.comparison;
                    let codes = u32::try_from(column as usize * LANES).ok()?;
                    steps.push(Step { codes, below, above, into: Operand::slot(slot)?, code });
                }
                (None, Some(one), Some(other)) => {
                    let (first, second) =
                        if needs[one] >= needs[other] { (one, other) } else { (other, one) };
                    open.extend([second, first]);
                }
                (None, Some(one), None) | (None, None, Some(one)) => open.push(one),
            }
        }
        Operand::slot(results[root]?)
    }
}

/// Slots that each node's subtree needs at a time.
fn slots_needed(nodes: &[Placed]) -> Vec<u32> {
    let mut needs: Vec<u32> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let of = |place| match place {
            Place::Node(below) => needs[below as usize],
            Place::Number(_) => 0,
        };
        let (one, other) = (of(node.otherwise), of(node.then));
        needs.push(if one == other { one + 1 } else { one.max(other) });
    }
    needs
}

/// How many children's places each node below `root` fills.
fn parents(nodes: &[Placed], root: usize) -> Vec<u32> {
    let mut reached = vec![false; nodes.len()];
    reached[root] = true;
    let mut parents = vec![0; nodes.len()];
    for (at, node) in nodes.iter().enumerate().rev() {
        if reached[at] {
            for place in [node.otherwise, node.then] {
                if let Place::Node(below) = place {
                    parents[below as usize] += 1;
                    reached[below as usize] = true;
                }
            }
        }
    }
    parents
}
