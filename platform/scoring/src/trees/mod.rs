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
mod finish;
mod listed;
mod read;
mod real;
mod shape;
mod split;
mod structure;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;

use crate::scores::Labels;
use bytes::ByteCoded;
use finish::Finish;
use real::Real;
use structure::Ensemble;

pub(crate) use read::{is_ensemble, read};
pub(crate) use structure::Precision;

/// Below this many rows a block would be mostly padding, and walking is faster.
const BYTES_ROWS_MIN: usize = 48;

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

/// A checked ensemble with the kernel that fits it and the rules for its outputs.
pub(crate) struct Model {
    ensemble: Ensemble,
    bytes: Option<ByteCoded>,
    finish: Finish,
    gives_double: bool,
}

impl Model {
    fn new(ensemble: Ensemble, finish: Finish) -> Self {
        let bytes = if finish.needs_presence() { None } else { ByteCoded::compile(&ensemble) };
        Self { ensemble, bytes, finish, gives_double: false }
    }

    /// The same model over features that are doubles: they are not rounded, and sums are in `f64`.
    pub(crate) fn for_double_input(&self) -> Self {
        let ensemble = Ensemble { precision: Precision::Double, ..self.ensemble.clone() };
        Self { gives_double: self.gives_double, ..Self::new(ensemble, self.finish.clone()) }
    }

    /// The same model on the walk and on each level of the byte-coded kernel.
    pub(crate) fn on_every_kernel(&self) -> Vec<Self> {
        let on = |bytes| Self {
            ensemble: self.ensemble.clone(),
            bytes,
            finish: self.finish.clone(),
            gives_double: self.gives_double,
        };
        let mut models = vec![on(None)];
        if self.bytes.is_some() {
            models
                .extend(ByteCoded::levels(&self.ensemble).into_iter().map(|bytes| on(Some(bytes))));
        }
        models
    }

    /// Name of the kernel that runs it, with its instructions.
    pub(crate) fn kernel(&self) -> String {
        self.bytes.as_ref().map_or_else(
            || "walk, row by row".to_owned(),
            |bytes| format!("bit-sliced, {}", bytes.level()),
        )
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
        match (self.ensemble.precision, &self.bytes) {
            (Precision::Double, _) => {
                let mut doubles = vec![0f64; scores.len()];
                self.score_double(features, rows, &mut doubles, chosen);
                for (to, from) in scores.iter_mut().zip(doubles) {
                    *to = f32::of(from);
                }
            }
            (Precision::Single, Some(bytes)) if rows >= BYTES_ROWS_MIN => {
                bytes.sums(features, rows, scores);
                self.finish.all(scores, chosen);
            }
            _ => walk::score(&self.ensemble, &self.finish, features, rows, scores, chosen),
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
        match self.ensemble.precision {
            Precision::Single => {
                let mut singles = vec![0f32; scores.len()];
                self.score(features, rows, &mut singles, chosen);
                for (to, from) in scores.iter_mut().zip(singles) {
                    *to = f64::from(from);
                }
            }
            Precision::Double => {
                walk::score(&self.ensemble, &self.finish, features, rows, scores, chosen);
            }
        }
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("trees", &self.ensemble.trees.len())
            .field("targets", &self.ensemble.targets)
            .field("features", &self.ensemble.features)
            .field("byte_coded", &self.bytes.is_some())
            .finish_non_exhaustive()
    }
}
