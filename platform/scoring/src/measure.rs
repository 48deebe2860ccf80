//! What measurements need: each kernel of a lone tree ensemble by itself, and models loaded for fewer
//! instructions than the machine has. No part of the crate's interface.

use crate::error::ModelError;
use crate::graph::Graph;
use crate::limits::ScoringLimits;
use crate::trees::{self, Matrix, Model};

pub use crate::level::Level;

/// An ensemble on one kernel.
#[derive(Debug)]
pub struct Kernel {
    model: Model,
}

/// The first tree ensemble of a model on every kernel that can run it on this machine: the plain walk,
/// the interleaved walk, and the bytes on each level of instructions, the slowest first.
///
/// A kernel that is given here scores batches of any size, also where `Scorer` would pick another.
///
/// # Errors
/// [`ModelError`] when the model is refused or has no tree ensemble.
pub fn kernels(model: &[u8]) -> Result<Vec<Kernel>, ModelError> {
    let graph = Graph::read(model, &ScoringLimits::default())?;
    let node =
        graph.nodes().iter().find(|node| trees::is_ensemble(&node.op_type)).ok_or_else(|| {
            ModelError::Graph { problem: "it has no tree ensemble to measure".to_owned() }
        })?;
    Ok(trees::read(node)?.on_every_kernel().into_iter().map(|model| Kernel { model }).collect())
}

impl Kernel {
    /// What the kernel is.
    #[must_use]
    pub fn name(&self) -> String {
        self.model.kernel()
    }

    /// Scores of a matrix, row by row.
    #[must_use]
    pub fn score(&self, values: &[f32], width: usize) -> Vec<f32> {
        let rows = values.len() / width;
        let mut scores = vec![0f32; rows * self.model.width()];
        let mut chosen = vec![0u32; if self.model.labels().is_some() { rows } else { 0 }];
        self.model.score(&Matrix { values, width }, rows, &mut scores, &mut chosen);
        scores
    }
}
