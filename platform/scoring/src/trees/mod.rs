//! Tree ensembles: reading, checking and evaluating them.
//!
//! [`read`] turns the attributes of a node into a [`Model`], which is finite and in range by
//! construction, so no kernel checks anything per row. Two kernels give the same bits:
//!
//! - [`bytes`] codes every feature to bytes once per block of rows and evaluates every node of a tree
//!   for 512 rows at a time. It runs ensembles whose trees have up to 256 leaves.
//! - [`walk`] steps from the root to a leaf, row by row. It runs everything: all comparisons, shared
//!   subtrees, minimum and maximum, trees of any size, and batches too small for a block.
//!
//! Leaf weights are summed in the order of the trees, as ONNX Runtime does, in the type of the
//! ensemble: `f32`, or `f64` where the thresholds and weights or the input are doubles.

mod build;
mod bytes;
mod choose;
mod finish;
mod interleaved;
mod key;
mod listed;
mod ordered;
mod read;
mod real;
mod shape;
mod split;
pub(crate) mod structure;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;

use crate::level::Level;
use crate::scores::Labels;
use choose::{Kernels, KernelsOf};
use finish::Finish;
use key::Keyed;
use real::Real;
use structure::Ensemble;

pub(crate) use finish::Margin;
pub(crate) use read::{is_ensemble, read};
pub(crate) use structure::Precision;

/// Where the features of a batch come from.
pub(crate) trait Features: Sync {
    /// Copies rows `start..start + into.len()` of a feature, rounded to `f32`.
    fn fill(&self, feature: usize, start: usize, into: &mut [f32]);

    /// Copies rows `start..start + into.len()` of a feature. Where features are `f32` anyway, they
    /// are widened.
    fn fill_double(&self, feature: usize, start: usize, into: &mut [f64]) {
        let mut singles = [0f32; 64];
        for (chunk, into) in into.chunks_mut(singles.len()).enumerate() {
            let singles = &mut singles[..into.len()];
            self.fill(feature, start + chunk * 64, singles);
            for (to, from) in into.iter_mut().zip(singles) {
                *to = f64::from(*from);
            }
        }
    }
}

/// Features as rows of a matrix.
pub(crate) struct Matrix<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) width: usize,
}

impl<T> Matrix<'_, T> {
    fn column(&self, feature: usize, start: usize) -> impl Iterator<Item = &T> {
        self.values[start * self.width + feature..].iter().step_by(self.width)
    }
}

impl Features for Matrix<'_, f32> {
    fn fill(&self, feature: usize, start: usize, into: &mut [f32]) {
        for (to, from) in into.iter_mut().zip(self.column(feature, start)) {
            *to = *from;
        }
    }
}

impl Features for Matrix<'_, f64> {
    fn fill(&self, feature: usize, start: usize, into: &mut [f32]) {
        for (to, from) in into.iter_mut().zip(self.column(feature, start)) {
            *to = f32::of(*from);
        }
    }

    fn fill_double(&self, feature: usize, start: usize, into: &mut [f64]) {
        for (to, from) in into.iter_mut().zip(self.column(feature, start)) {
            *to = *from;
        }
    }
}

/// A checked ensemble with the kernels that fit it and the rules for its outputs.
pub(crate) struct Model {
    ensemble: Ensemble,
    kernels: Kernels,
    finish: Finish,
    gives_double: bool,
}

impl Model {
    fn new(ensemble: Ensemble, finish: Finish) -> Self {
        let kernels = Kernels::compile(&ensemble, &finish, Level::detect());
        Self { ensemble, kernels, finish, gives_double: false }
    }

    /// The same model over features that are doubles: they are not rounded, and sums are in `f64`.
    pub(crate) fn for_double_input(&self) -> Self {
        let ensemble = Ensemble { precision: Precision::Double, ..self.ensemble.clone() };
        Self { gives_double: self.gives_double, ..Self::new(ensemble, self.finish.clone()) }
    }

    /// The same model on each of its kernels alone, for batches of any size.
    pub(crate) fn on_every_kernel(&self) -> Vec<Self> {
        Kernels::each(&self.ensemble, &self.finish)
            .into_iter()
            .map(|kernels| Self {
                ensemble: self.ensemble.clone(),
                kernels,
                finish: self.finish.clone(),
                gives_double: self.gives_double,
            })
            .collect()
    }

    /// Name of the kernel that runs large batches.
    pub(crate) fn kernel(&self) -> String {
        self.kernels.name()
    }

    /// Scores per row.
    pub(crate) fn width(&self) -> usize {
        self.ensemble.targets
    }

    /// Whether its features are doubles.
    pub(crate) fn precision(&self) -> Precision {
        self.ensemble.precision
    }

    /// Whether the operator's output is a tensor of doubles; then [`Self::score_double`] loses nothing.
    pub(crate) fn gives_double(&self) -> bool {
        self.gives_double
    }

    /// Number of features that the trees may read: the largest index plus one.
    pub(crate) fn feature_count(&self) -> usize {
        self.ensemble.features
    }

    /// The trees themselves.
    pub(crate) fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// How a score comes from the sums of the trees; `None` where it is no weighted sum of them.
    pub(crate) fn margin(&self, score: usize) -> Option<Margin> {
        self.finish.margin(score)
    }

    /// Class labels of a classifier, `None` for a regressor.
    pub(crate) fn labels(&self) -> Option<&Labels> {
        self.finish.labels()
    }

    /// Scores `rows` rows into `scores` (row by row) and, for a classifier, class indices into
    /// `chosen`, which is empty for a regressor.
    pub(crate) fn score(
        &self,
        features: &impl Features,
        rows: usize,
        scores: &mut [f32],
        chosen: &mut [u32],
    ) {
        match &self.kernels {
            Kernels::Single(kernels) => self.run(kernels, features, rows, scores, chosen),
            Kernels::Double(kernels) => {
                let mut doubles = vec![0f64; scores.len()];
                self.run(kernels, features, rows, &mut doubles, chosen);
                for (to, from) in scores.iter_mut().zip(doubles) {
                    *to = f32::of(from);
                }
            }
        }
    }

    /// As [`Self::score`] with scores that are not rounded to `f32`.
    pub(crate) fn score_double(
        &self,
        features: &impl Features,
        rows: usize,
        scores: &mut [f64],
        chosen: &mut [u32],
    ) {
        match &self.kernels {
            Kernels::Single(kernels) => {
                let mut singles = vec![0f32; scores.len()];
                self.run(kernels, features, rows, &mut singles, chosen);
                for (to, from) in scores.iter_mut().zip(singles) {
                    *to = f64::from(from);
                }
            }
            Kernels::Double(kernels) => self.run(kernels, features, rows, scores, chosen),
        }
    }

    fn run<S: Keyed>(
        &self,
        kernels: &KernelsOf<S>,
        features: &impl Features,
        rows: usize,
        scores: &mut [S],
        chosen: &mut [u32],
    ) {
        match (&kernels.bytes, &kernels.interleaved) {
            (Some(bytes), _) if rows >= kernels.bytes_rows_min => {
                bytes.sums(features, rows, scores);
            }
            (_, Some(interleaved)) => interleaved.sums(features, rows, scores),
            _ => {
                walk::score(&self.ensemble, &self.finish, features, rows, scores, chosen);
                return;
            }
        }
        self.finish.all(scores, chosen);
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("trees", &self.ensemble.trees.len())
            .field("targets", &self.ensemble.targets)
            .field("features", &self.ensemble.features)
            .field("kernel", &self.kernel())
            .finish_non_exhaustive()
    }
}
