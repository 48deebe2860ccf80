//! Exact Shapley values of tree ensembles.
//!
//! A tree is explained for a block of rows at a time: first which rows satisfy which condition, a byte
//! each, then one of three ways to the contributions, whichever fits and costs least:
//!
//! - `table` looks them up by which features of a leaf's path a row satisfies. It knows both games,
//!   path-dependent and interventional, and is the fastest for paths of up to six features.
//! - `quadrature` computes them, for paths of any width, in the path-dependent game.
//! - `pairwise` walks the explained row against each background row, in the interventional game.
//!
//! Players of the game are the feature columns of the SQL: tree features that preprocessing makes of
//! one column, as by one-hot encoding, are known or unknown together.

mod compile;
mod conditions;
mod game;
mod grow;
mod pairwise;
mod portable;
mod quadrature;
mod table;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::{Deref, DerefMut};

use conditions::Compared;

use crate::columns::FloatColumn;
use crate::level::Level;
use crate::trees::Precision;
use crate::trees::structure::{Ensemble, Tree};

pub use compile::Covers;
pub(super) use compile::{Game, Question};

/// Rows that are explained together.
const BLOCK_ROWS: usize = 512;

/// Contributions of a block to one feature column.
type Sums = Aligned<[f32; BLOCK_ROWS]>;

/// What starts at a cache line, so that no load of a register crosses into the next.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Aligned<T>(T);

impl<T> Deref for Aligned<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Aligned<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A tree ensemble ready to be explained.
#[derive(Debug)]
pub(super) struct TreeShap {
    ensemble: Ensemble,
    ways: Vec<Way>,
    /// Feature columns that contributions are for.
    players: usize,
    /// Tree features that some tree reads.
    features: Vec<usize>,
    level: Level,
}

/// How one tree is explained.
#[derive(Debug)]
enum Way {
    Table(table::Tables),
    Quadrature(quadrature::Program),
    Pairwise(pairwise::Pairwise),
}

/// Memory of one evaluation.
struct Scratch {
    holds: Vec<conditions::Holds>,
    index: table::Index,
    quadrature: Vec<Option<quadrature::Scratch>>,
    sums: Vec<Sums>,
    exact: Vec<f64>,
}

impl TreeShap {
    /// How many trees are explained in which way, in words.
    pub(super) fn describe(&self, table_bytes: usize) -> String {
        let count = |is: fn(&Way) -> bool| self.ways.iter().filter(|way| is(way)).count();
        let ways = [
            (count(|way| matches!(way, Way::Table(_))), "by table"),
            (count(|way| matches!(way, Way::Quadrature(_))), "by quadrature"),
            (count(|way| matches!(way, Way::Pairwise(_))), "row by row"),
        ];
        let ways: Vec<String> = ways
            .iter()
            .filter(|(trees, _)| *trees > 0)
            .map(|(trees, how)| format!("{trees} {how}"))
            .collect();
        format!("trees: {}; {} KiB of tables; {}", ways.join(", "), table_bytes / 1024, self.level)
    }

    /// Contributions by feature column, then by row. `features` are the columns that the trees read.
    pub(super) fn explain(&self, features: &[FloatColumn], rows: usize) -> Vec<Vec<f32>> {
        match self.ensemble.precision {
            Precision::Single => self.blocks::<f32>(features, rows),
            Precision::Double => self.blocks::<f64>(features, rows),
        }
    }

    fn blocks<T: Compared>(&self, features: &[FloatColumn], rows: usize) -> Vec<Vec<f32>> {
        let mut contributions = vec![Vec::with_capacity(rows); self.players];
        let mut values = vec![[T::default(); BLOCK_ROWS]; self.ensemble.features];
        let mut scratch = self.scratch();
        for start in (0..rows).step_by(BLOCK_ROWS) {
            let count = BLOCK_ROWS.min(rows - start);
            for feature in &self.features {
                features[*feature].fill(start, &mut values[*feature][..count]);
            }
            scratch.sums.fill(Aligned([0.0; BLOCK_ROWS]));
            for (at, (tree, way)) in self.ensemble.trees.iter().zip(&self.ways).enumerate() {
                self.tree(tree, way, at, &values, count, &mut scratch);
            }
            for (to, sums) in contributions.iter_mut().zip(&scratch.sums) {
                to.extend_from_slice(&sums[..count]);
            }
        }
        contributions
    }

    fn tree<T: Compared>(
        &self,
        tree: &Tree,
        way: &Way,
        at: usize,
        values: &[[T; BLOCK_ROWS]],
        rows: usize,
        scratch: &mut Scratch,
    ) {
        match self.level {
            Level::Portable => portable::tree(self, tree, way, at, values, rows, scratch),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => x86::avx2(self, tree, way, at, values, rows, scratch),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => x86::avx512(self, tree, way, at, values, rows, scratch),
        }
    }

    fn scratch(&self) -> Scratch {
        let nodes = self.ensemble.trees.iter().map(|tree| tree.nodes.len()).max().unwrap_or(0);
        let quadrature = |way: &Way| match way {
            Way::Quadrature(program) => Some(program.scratch()),
            _ => None,
        };
        Scratch {
            holds: vec![Aligned([0; BLOCK_ROWS]); nodes],
            index: table::Index::new(),
            quadrature: self.ways.iter().map(quadrature).collect(),
            sums: vec![Aligned([0.0; BLOCK_ROWS]); self.players],
            exact: vec![0.0; self.players],
        }
    }
}
