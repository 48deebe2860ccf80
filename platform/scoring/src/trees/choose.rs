//! Which kernel runs an ensemble.

use super::bytes::ByteCoded;
use super::finish::Finish;
use super::interleaved::Interleaved;
use super::key::Keyed;
use super::ordered::OrderedTree;
use super::structure::{Ensemble, Precision};
use crate::level::Level;

/// Below this many rows a block would be mostly padding, and walking is faster.
const BYTES_ROWS_MIN: usize = 48;

/// How many steps over the bytes of a row cost as much as one step of a walk.
///
/// Measured on ensembles from 300 trees of 6 levels to 200 trees of 12 (`docs/decisions/0011-tree-kernels.md`),
/// in favour of the bytes: they read memory in order, and a walk loses up to two thirds of its speed where
/// neighbours crowd the cache.
const fn byte_steps_per_walk_step(level: Level) -> usize {
    match level {
        Level::Portable => 18,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => 110,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => 120,
    }
}

/// The kernels of an ensemble in the type that it sums in.
#[derive(Debug)]
pub(super) enum Kernels {
    Single(KernelsOf<f32>),
    Double(KernelsOf<f64>),
}

/// With neither, [`super::walk`] runs it.
#[derive(Debug)]
pub(super) struct KernelsOf<S: Keyed> {
    pub(super) bytes: Option<ByteCoded<S>>,
    /// Rows from which on the bytes are faster.
    pub(super) bytes_rows_min: usize,
    pub(super) interleaved: Option<Interleaved<S>>,
}

impl Kernels {
    pub(super) fn compile(ensemble: &Ensemble, finish: &Finish, level: Level) -> Self {
        match ensemble.precision {
            Precision::Single => Self::Single(KernelsOf::compile(ensemble, finish, level)),
            Precision::Double => Self::Double(KernelsOf::compile(ensemble, finish, level)),
        }
    }

    /// Each kernel that can run the ensemble alone, the plain walk first.
    pub(super) fn each(ensemble: &Ensemble, finish: &Finish) -> Vec<Self> {
        match ensemble.precision {
            Precision::Single => {
                KernelsOf::each(ensemble, finish).into_iter().map(Self::Single).collect()
            }
            Precision::Double => {
                KernelsOf::each(ensemble, finish).into_iter().map(Self::Double).collect()
            }
        }
    }

    /// Name of the kernel that runs large batches.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Single(kernels) => kernels.name(),
            Self::Double(kernels) => kernels.name(),
        }
    }
}

impl<S: Keyed> KernelsOf<S> {
    const WALK: Self = Self { bytes: None, bytes_rows_min: 0, interleaved: None };

    fn compile(ensemble: &Ensemble, finish: &Finish, level: Level) -> Self {
        if finish.needs_presence() {
            return Self::WALK;
        }
        let trees = ordered(ensemble);
        let interleaved = Interleaved::compile(ensemble, &trees);
        // The bytes evaluate every node of a tree, a walk only as many as the tree is deep.
        let nodes: usize = trees.iter().map(|tree| tree.splits.len()).sum();
        let worth = interleaved
            .as_ref()
            .is_none_or(|walk| nodes <= walk.steps() * byte_steps_per_walk_step(level));
        let bytes = if worth { ByteCoded::compile(ensemble, &trees, level) } else { None };
        Self { bytes, bytes_rows_min: BYTES_ROWS_MIN, interleaved }
    }

    fn each(ensemble: &Ensemble, finish: &Finish) -> Vec<Self> {
        let mut each = vec![Self::WALK];
        if finish.needs_presence() {
            return each;
        }
        let trees = ordered(ensemble);
        each.extend(
            Interleaved::compile(ensemble, &trees)
                .map(|interleaved| Self { interleaved: Some(interleaved), ..Self::WALK }),
        );
        each.extend(
            Level::available()
                .into_iter()
                .filter_map(|level| ByteCoded::compile(ensemble, &trees, level))
                .map(|bytes| Self { bytes: Some(bytes), ..Self::WALK }),
        );
        each
    }

    fn name(&self) -> String {
        match (&self.bytes, &self.interleaved) {
            (Some(bytes), _) => format!("bytes, {}", bytes.level()),
            (None, Some(_)) => "interleaved walk".to_owned(),
            (None, None) => "plain walk".to_owned(),
        }
    }
}

fn ordered(ensemble: &Ensemble) -> Vec<OrderedTree> {
    ensemble.trees.iter().map(|tree| OrderedTree::of(ensemble, tree)).collect()
}
