//! Contributions by computing: exact for paths of any width, without tables.
//!
//! The Shapley value of a game is the integral over `t` from 0 to 1 of what a feature adds when every
//! other feature is known with probability `t` (Owen 1972). On a path whose features are independent
//! when unknown, a leaf's probability is a product with one factor per feature,
//! `t + (1 - t) share` for a satisfied one and `(1 - t) share` for another, a polynomial in `t`. The
//! Gauss-Legendre rule with half as many nodes as the widest path has features integrates it exactly.
//!
//! At each node the products go down the tree, and the sums over leaves come up; a feature adds at its
//! branch, and again where the path asks more of it. This is Linear TreeSHAP (Yu, Bifet et al. 2022)
//! with Legendre instead of Chebyshev nodes, whose weights are positive, so that nothing cancels.
//! Steps per row: nodes of the tree times half the features of its widest path.

#![allow(clippy::inline_always, reason = "compiled again for the instructions of each caller")]

use super::conditions::Holds;
use super::grow::{Grown, Kind};
use super::{BLOCK_ROWS, Sums};

/// Rows that go through a tree together: their products along one path stay in the nearest cache.
const GROUP_ROWS: usize = 64;
/// Rows of one vector register at most.
const LANES: usize = 16;
const CHUNKS: usize = GROUP_ROWS / LANES;

type Lanes = [f32; LANES];
type Group = [Lanes; CHUNKS];

/// One branch of a tree, in preorder.
#[derive(Debug, Clone)]
struct Edge {
    /// Branches above it.
    depth: usize,
    condition: usize,
    outcome: bool,
    player: usize,
    /// Depth of the branch above that asks something of the same feature.
    before: Option<usize>,
    /// Value of the leaf that it leads to.
    leaf: Option<f32>,
}

/// Factors of an edge at one node of the rule.
#[derive(Debug, Clone, Copy, Default)]
struct Factors {
    /// What the product is multiplied with: `none + known * before + satisfied * now`.
    none: f32,
    before: f32,
    now: f32,
    /// What the feature adds of the sum below: `known * unsatisfied + satisfied * gain`.
    unsatisfied: f32,
    gain: f32,
}

/// A tree as a program.
#[derive(Debug, Clone)]
pub(super) struct Program {
    edges: Vec<Edge>,
    /// By edge, then by node of the rule.
    factors: Vec<Factors>,
    nodes: usize,
    depth: usize,
}

/// Memory of one evaluation.
pub(super) struct Scratch {
    /// By depth, then by node of the rule.
    products: Vec<Group>,
    sums: Vec<Group>,
    /// By depth: 1 where the row satisfies all that the path asks of the branch's feature.
    satisfied: Vec<Group>,
    /// By depth: the branch that is open.
    open: Vec<usize>,
}

impl Program {
    pub(super) fn of(grown: &Grown) -> Self {
        let rule = rule(grown.widest_path().div_ceil(2).max(1));
        let mut program =
            Self { edges: Vec::new(), factors: Vec::new(), nodes: rule.len(), depth: 0 };
        // The open path: player and its share so far, by depth.
        let mut path: Vec<(usize, f64)> = Vec::new();
        let mut depths = vec![0usize; grown.nodes.len()];
        for (at, node) in grown.nodes.iter().enumerate() {
            let Some((parent, outcome)) = node.parent else { continue };
            let Kind::Inner { condition, player, .. } = grown.nodes[parent].kind else { continue };
            let depth = depths[parent];
            depths[at] = depth + 1;
            path.truncate(depth);
            let before = path.iter().rposition(|(known, _)| *known == player);
            let known = before.map(|before| path[before].1);
            path.push((player, known.unwrap_or(1.0) * node.share));
            program.depth = program.depth.max(depth + 1);
            program.factors.extend(
                rule.iter().map(|node_of_rule| Factors::of(*node_of_rule, known, node.share)),
            );
            #[allow(clippy::cast_possible_truncation, reason = "contributions are 32-bit floats")]
            let leaf = match node.kind {
                Kind::Leaf(value) => Some(value as f32),
                Kind::Inner { .. } => None,
            };
            program.edges.push(Edge { depth, condition, outcome, player, before, leaf });
        }
        program
    }

    /// Multiplications of a row, to compare with look-ups.
    pub(super) fn steps(&self) -> usize {
        self.edges.len() * self.nodes
    }

    pub(super) fn scratch(&self) -> Scratch {
        let zero = [[0f32; LANES]; CHUNKS];
        let levels = self.depth + 1;
        Scratch {
            products: vec![zero; levels * self.nodes],
            sums: vec![zero; levels * self.nodes],
            satisfied: vec![zero; levels],
            open: vec![0; levels],
        }
    }

    /// Adds the contributions of the tree.
    #[inline(always)]
    pub(super) fn add(
        &self,
        holds: &[Holds],
        scratch: &mut Scratch,
        rows: usize,
        sums: &mut [Sums],
    ) {
        for start in (0..rows.min(BLOCK_ROWS)).step_by(GROUP_ROWS) {
            self.group(holds, scratch, start, sums);
        }
    }

    #[inline(always)]
    fn group(&self, holds: &[Holds], scratch: &mut Scratch, start: usize, sums: &mut [Sums]) {
        scratch.products[..self.nodes].fill([[1.0; LANES]; CHUNKS]);
        let mut open = 0;
        for (at, edge) in self.edges.iter().enumerate() {
            // Branches that are not above this one are done.
            while open > edge.depth {
                open -= 1;
                self.ascend(scratch.open[open], scratch, start, sums);
            }
            self.descend(at, &holds[edge.condition], scratch, start);
            if edge.leaf.is_some() {
                self.ascend(at, scratch, start, sums);
            } else {
                scratch.open[open] = at;
                open += 1;
            }
        }
        while open > 0 {
            open -= 1;
            self.ascend(scratch.open[open], scratch, start, sums);
        }
    }

    /// From the products above a branch to those below, and the sums of a leaf.
    #[inline(always)]
    fn descend(&self, at: usize, holds: &Holds, scratch: &mut Scratch, start: usize) {
        let edge = &self.edges[at];
        let factors = &self.factors[at * self.nodes..(at + 1) * self.nodes];
        let (above, below) = scratch.products[edge.depth * self.nodes..].split_at_mut(self.nodes);
        let sums = &mut scratch.sums[(edge.depth + 1) * self.nodes..];
        let flip = if edge.outcome { 0 } else { u8::MAX };
        let (holds, _) = holds[start..start + GROUP_ROWS].as_chunks::<LANES>();
        for (chunk, holds) in holds.iter().enumerate() {
            let mut satisfied: Lanes =
                std::array::from_fn(|lane| f32::from((holds[lane] ^ flip) & 1));
            let before = edge.before.map(|before| scratch.satisfied[before][chunk]);
            if let Some(before) = before {
                satisfied = std::array::from_fn(|lane| satisfied[lane] * before[lane]);
            }
            scratch.satisfied[edge.depth][chunk] = satisfied;
            for (node, factors) in factors.iter().enumerate() {
                let product = match before {
                    None => std::array::from_fn(|lane| {
                        above[node][chunk][lane] * (factors.none + satisfied[lane] * factors.now)
                    }),
                    Some(before) => std::array::from_fn(|lane| {
                        above[node][chunk][lane]
                            * (factors.none
                                + before[lane] * factors.before
                                + satisfied[lane] * factors.now)
                    }),
                };
                below[node][chunk] = product;
                sums[node][chunk] = match edge.leaf {
                    Some(value) => product.map(|product| product * value),
                    None => [0.0; LANES],
                };
            }
        }
    }

    /// What a branch adds, and its sums to those above.
    #[inline(always)]
    fn ascend(&self, at: usize, scratch: &mut Scratch, start: usize, sums: &mut [Sums]) {
        let edge = &self.edges[at];
        let factors = &self.factors[at * self.nodes..(at + 1) * self.nodes];
        let (above, below) = scratch.sums[edge.depth * self.nodes..].split_at_mut(self.nodes);
        let (totals, _) = sums[edge.player][start..start + GROUP_ROWS].as_chunks_mut::<LANES>();
        for (chunk, totals) in totals.iter_mut().enumerate() {
            let (mut unsatisfied, mut gain) = ([0f32; LANES], [0f32; LANES]);
            for (node, factors) in factors.iter().enumerate() {
                let sum = below[node][chunk];
                for lane in 0..LANES {
                    unsatisfied[lane] += sum[lane] * factors.unsatisfied;
                    gain[lane] += sum[lane] * factors.gain;
                    above[node][chunk][lane] += sum[lane];
                }
            }
            let satisfied = scratch.satisfied[edge.depth][chunk];
            if let Some(before) = edge.before {
                let known = scratch.satisfied[before][chunk];
                for lane in 0..LANES {
                    unsatisfied[lane] *= known[lane];
                }
            }
            for lane in 0..LANES {
                totals[lane] += unsatisfied[lane] + satisfied[lane] * gain[lane];
            }
        }
    }
}

impl Factors {
    /// Factors at a node of the rule; `known` is the share of the feature above, where the path has it.
    #[allow(clippy::cast_possible_truncation, reason = "contributions are 32-bit floats")]
    fn of((t, weight): (f64, f64), known: Option<f64>, share: f64) -> Self {
        let satisfied = |share: f64| t + (1.0 - t) * share;
        let unsatisfied = |share: f64| (1.0 - t) * share;
        // What the feature adds per unit of the product that has its factor.
        let gain = |share: f64| weight * (1.0 - share) / satisfied(share);
        let loss = -weight / (1.0 - t);
        let Some(known) = known else {
            return Self {
                none: unsatisfied(share) as f32,
                before: 0.0,
                now: t as f32,
                unsatisfied: loss as f32,
                gain: (gain(share) - loss) as f32,
            };
        };
        let both = known * share;
        let fallen = unsatisfied(both) / satisfied(known);
        let kept = satisfied(both) / satisfied(known);
        Self {
            none: share as f32,
            before: (fallen - share) as f32,
            now: (kept - fallen) as f32,
            unsatisfied: (loss - gain(known)) as f32,
            gain: (gain(both) - loss) as f32,
        }
    }
}

/// Nodes and weights of the Gauss-Legendre rule on 0 to 1.
fn rule(count: usize) -> Vec<(f64, f64)> {
    /// Newton's method doubles the right digits each time.
    const NEWTON_STEPS: usize = 8;
    (0..count)
        .map(|index| {
            let mut x = (std::f64::consts::PI * (index as f64 + 0.75) / (count as f64 + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..NEWTON_STEPS {
                let (mut before, mut value) = (1.0, x);
                for degree in 2..=count {
                    let degree = degree as f64;
                    let next =
                        ((2.0 * degree - 1.0) * x * value - (degree - 1.0) * before) / degree;
                    before = std::mem::replace(&mut value, next);
                }
                slope = count as f64 * (x * value - before) / (x * x - 1.0);
                x -= value / slope;
            }
            (f64::midpoint(x, 1.0), 1.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_integrates_powers_exactly() {
        for count in 1..=40 {
            let rule = rule(count);
            for power in 0..2 * count {
                let power = i32::try_from(power).expect("small");
                let integral: f64 = rule.iter().map(|(t, weight)| weight * t.powi(power)).sum();
                let expected = 1.0 / f64::from(power + 1);
                assert!((integral - expected).abs() < 1e-13, "{count} nodes, power {power}");
            }
        }
    }
}
