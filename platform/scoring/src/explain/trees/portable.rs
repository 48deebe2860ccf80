//! The evaluation of a tree that every machine can run.

#![allow(clippy::inline_always, reason = "compiled again for the instructions of each caller")]

use super::conditions::Compared;
use super::{BLOCK_ROWS, Scratch, TreeShap, Way, conditions, table};
use crate::trees::structure::Tree;

#[inline(always)]
pub(super) fn tree<T: Compared>(
    shap: &TreeShap,
    tree: &Tree,
    way: &Way,
    at: usize,
    values: &[[T; BLOCK_ROWS]],
    rows: usize,
    scratch: &mut Scratch,
) {
    hold(shap, tree, values, scratch);
    match way {
        Way::Table(tables) => {
            table::add(tables, &scratch.holds, &mut scratch.index, rows, &mut scratch.sums);
        }
        _ => compute(way, at, rows, scratch),
    }
}

/// Which rows satisfy which condition.
#[inline(always)]
pub(super) fn hold<T: Compared>(
    shap: &TreeShap,
    tree: &Tree,
    values: &[[T; BLOCK_ROWS]],
    scratch: &mut Scratch,
) {
    for (node, holds) in tree.nodes.iter().zip(&mut scratch.holds) {
        conditions::fill(&shap.ensemble, node, &values[node.feature as usize], holds);
    }
}

/// The ways that look nothing up.
#[inline(always)]
pub(super) fn compute(way: &Way, at: usize, rows: usize, scratch: &mut Scratch) {
    match way {
        Way::Table(_) => {}
        Way::Quadrature(program) => {
            if let Some(memory) = &mut scratch.quadrature[at] {
                program.add(&scratch.holds, memory, rows, &mut scratch.sums);
            }
        }
        Way::Pairwise(pairwise) => {
            for row in 0..rows {
                scratch.exact.fill(0.0);
                pairwise.add(&scratch.holds, row, &mut scratch.exact);
                for (sums, exact) in scratch.sums.iter_mut().zip(&scratch.exact) {
                    #[allow(clippy::cast_possible_truncation, reason = "sums are 32-bit floats")]
                    let exact = *exact as f32;
                    sums[row] += exact;
                }
            }
        }
    }
}
