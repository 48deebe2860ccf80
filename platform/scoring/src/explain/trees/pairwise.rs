//! Interventional contributions by walking each row against each background row: for trees whose
//! tables would be too large.
//!
//! Where the two rows take different branches, both are followed, and the feature counts as taken
//! from the one or the other. At a leaf with `x` features from the explained row and `b` from the
//! background row, the game is known, and its Shapley values are
//! `(x - 1)! b! / (x + b)!` and `-x! (b - 1)! / (x + b)!` (Lundberg et al. 2020, algorithm 3).

use super::conditions::Holds;
use super::grow::{Grown, Kind};

/// Which row a feature is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Explained,
    Background,
}

/// A branch that is still to be followed.
struct Visit {
    at: usize,
    /// Decided features on the path above it.
    above: usize,
    /// The feature that taking it decides.
    decides: Option<(usize, Side)>,
}

/// A tree with the outcomes of its conditions on the background rows.
#[derive(Debug, Clone)]
pub(super) struct Pairwise {
    pub(super) grown: Grown,
    /// By condition, then by background row.
    pub(super) outcomes: Vec<Vec<bool>>,
    pub(super) rows: usize,
}

impl Pairwise {
    /// Adds the contributions to one row, by feature.
    pub(super) fn add(&self, holds: &[Holds], row: usize, sums: &mut [f64]) {
        let mut decided: Vec<Option<Side>> = vec![None; sums.len()];
        for background in 0..self.rows {
            self.walk(holds, row, background, &mut decided, sums);
        }
    }

    /// One explained row against one background row. The open branches are a stack of their own,
    /// since a tree may be deeper than the machine's.
    fn walk(
        &self,
        holds: &[Holds],
        row: usize,
        background: usize,
        decided: &mut [Option<Side>],
        sums: &mut [f64],
    ) {
        let mut path: Vec<(usize, Side)> = Vec::new();
        let mut open = vec![Visit { at: 0, above: 0, decides: None }];
        while let Some(Visit { at, above, decides }) = open.pop() {
            while path.len() > above {
                if let Some((player, _)) = path.pop() {
                    decided[player] = None;
                }
            }
            if let Some((player, side)) = decides {
                path.push((player, side));
                decided[player] = Some(side);
            }
            match &self.grown.nodes[at].kind {
                Kind::Leaf(value) => share_out(*value / self.rows as f64, &path, sums),
                Kind::Inner { condition, player, children } => {
                    let explained = holds[*condition][row] != 0;
                    let other = self.outcomes[*condition][background];
                    let to = |outcome: bool| children[usize::from(!outcome)];
                    let above = path.len();
                    let visit = |at, decides| Visit { at, above, decides };
                    match decided[*player] {
                        Some(Side::Explained) => open.push(visit(to(explained), None)),
                        Some(Side::Background) => open.push(visit(to(other), None)),
                        None if explained == other => open.push(visit(to(other), None)),
                        None => {
                            let decide = |side| Some((*player, side));
                            open.push(visit(to(other), decide(Side::Background)));
                            open.push(visit(to(explained), decide(Side::Explained)));
                        }
                    }
                }
            }
        }
        for (player, _) in path {
            decided[player] = None;
        }
    }
}

/// Shares out a leaf's value among the features that led to it.
fn share_out(value: f64, path: &[(usize, Side)], sums: &mut [f64]) {
    let explained = path.iter().filter(|(_, side)| *side == Side::Explained).count();
    let background = path.len() - explained;
    // (x - 1)! b! / (x + b)! = 1 / (x * binomial(x + b, b)), and the same for the other side.
    let mut ways = 1.0;
    for taken in 1..=background {
        ways *= (explained + taken) as f64 / taken as f64;
    }
    for (player, side) in path {
        sums[*player] += match side {
            Side::Explained => value / (explained as f64 * ways),
            Side::Background => -value / (background as f64 * ways),
        };
    }
}
