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
//! Leaf weights are summed in `f32` in the order of the trees, as ONNX Runtime does.

mod bytes;
mod finish;
mod read;
mod structure;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;

use crate::scores::Labels;
use bytes::ByteCoded;
use finish::Finish;
use structure::Ensemble;

pub(crate) use read::read;

/// Below this many rows a block would be mostly padding, and walking is faster.
const BYTES_ROWS_MIN: usize = 48;

/// Whether an operator is a tree ensemble that [`read`] understands.
pub(crate) fn is_ensemble(operator: &str) -> bool {
    matches!(operator, "TreeEnsembleClassifier" | "TreeEnsembleRegressor")
}

/// Where the features of a batch come from.
pub(crate) trait Features: Sync {
    /// Copies rows `start..start + into.len()` of a feature.
    fn fill(&self, feature: usize, start: usize, into: &mut [f32]);
}

/// Features as rows of a matrix.
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) width: usize,
}

impl Features for Matrix<'_> {
    fn fill(&self, feature: usize, start: usize, into: &mut [f32]) {
        let column = self.values[start * self.width + feature..].iter().step_by(self.width);
        for (to, from) in into.iter_mut().zip(column) {
            *to = *from;
        }
    }
}

/// A checked ensemble with the kernel that fits it and the rules for its outputs.
pub(crate) struct Model {
    ensemble: Ensemble,
    bytes: Option<ByteCoded>,
    finish: Finish,
}

impl Model {
    fn new(ensemble: Ensemble, finish: Finish) -> Self {
        let bytes = if finish.needs_walk() { None } else { ByteCoded::compile(&ensemble) };
        Self { ensemble, bytes, finish }
    }

    /// The same model on the walk and on each level of the byte-coded kernel.
    pub(crate) fn on_every_kernel(&self) -> Vec<Self> {
        let on =
            |bytes| Self { ensemble: self.ensemble.clone(), bytes, finish: self.finish.clone() };
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
        match &self.bytes {
            Some(bytes) if rows >= BYTES_ROWS_MIN => {
                bytes.sums(features, rows, scores);
                self.finish.all(scores, chosen);
            }
            _ => walk::score(&self.ensemble, &self.finish, features, rows, scores, chosen),
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

/// The attributes of a node as lists, before they are checked.
///
/// Kept apart from the protobuf so that a test can build an ensemble without one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attributes {
    pub(crate) tree_ids: Vec<i64>,
    pub(crate) node_ids: Vec<i64>,
    pub(crate) feature_ids: Vec<i64>,
    pub(crate) modes: Vec<String>,
    pub(crate) values: Vec<f32>,
    pub(crate) true_ids: Vec<i64>,
    pub(crate) false_ids: Vec<i64>,
    pub(crate) missing_true: Vec<i64>,
    pub(crate) weight_tree_ids: Vec<i64>,
    pub(crate) weight_node_ids: Vec<i64>,
    pub(crate) weight_targets: Vec<i64>,
    pub(crate) weights: Vec<f32>,
    pub(crate) targets: usize,
}
