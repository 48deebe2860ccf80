//! Matrix products with constant weights: linear models and layers of networks.
//!
//! Every sum runs over the features in order with one fused multiply-add each, whatever the level and
//! the number of rows, and the intercept is added last: a row's result has the same bits in any batch.
//!
//! A block of rows has its values by feature, as Arrow has them, so a vector register holds
//! neighbouring rows of one feature and each weight is broadcast; nothing is transposed or packed but the
//! weights, once, when the model is loaded. One row alone runs over neighbouring outputs instead.
#![allow(
    clippy::inline_always,
    reason = "each level must compile these loops for its own instructions"
)]

use super::level::on_every_level;
use super::step::Frame;
#[cfg(target_arch = "x86_64")]
use super::x86;
use crate::level::Level;

/// Outputs that are summed together: their weights for one feature are neighbours.
pub(super) const PANEL: usize = 8;
/// Blocks have a multiple of this many rows, of which the last may be padding.
pub(super) const ROWS_MULTIPLE: usize = 32;

/// `outputs = features × weights + intercepts`.
#[derive(Debug)]
pub(super) struct Dense {
    pub(super) features: usize,
    /// Panels of up to [`PANEL`] outputs, then within a panel by feature.
    weights: Vec<f32>,
    pub(super) intercepts: Vec<f32>,
}

impl Dense {
    /// `weight(output, feature)` gives the weights.
    pub(super) fn new(
        features: usize,
        outputs: usize,
        weight: impl Fn(usize, usize) -> f32,
        intercepts: Option<Vec<f32>>,
    ) -> Self {
        let mut weights = Vec::with_capacity(features * outputs);
        for (first, count) in panels(outputs) {
            for feature in 0..features {
                weights.extend((first..first + count).map(|output| weight(output, feature)));
            }
        }
        // Adding -0 changes nothing, not even the sign of a zero.
        let intercepts = intercepts.unwrap_or_else(|| vec![-0.0; outputs]);
        Self { features, weights, intercepts }
    }

    pub(super) fn outputs(&self) -> usize {
        self.intercepts.len()
    }

    /// Registers `from..` are the features and `to..` become the outputs.
    pub(super) fn run(&self, level: Level, frame: &mut Frame<'_>, from: usize, to: usize) {
        let (from, to) = (from * frame.stride, to * frame.stride);
        let (head, tail) = frame.values.split_at_mut(from.max(to));
        let (features, outputs) =
            if from < to { (&head[from..], tail) } else { (&*tail, &mut head[to..]) };
        if frame.stride == 1 {
            one_row(level, self, features, outputs);
            return;
        }
        let shape =
            Block { stride: frame.stride, rows: frame.rows.next_multiple_of(ROWS_MULTIPLE) };
        match level {
            Level::Portable => block(self, shape, features, outputs),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => x86::avx2(self, shape, features, outputs),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => x86::avx512(self, shape, features, outputs),
        }
    }

    /// Each panel's first output, outputs, weights.
    pub(super) fn panels(&self) -> impl Iterator<Item = (usize, usize, &[f32])> {
        panels(self.outputs()).map(|(first, count)| {
            (first, count, &self.weights[first * self.features..][..count * self.features])
        })
    }
}

/// Where the rows of a block are.
#[derive(Clone, Copy)]
pub(super) struct Block {
    /// Values from one feature to the next.
    pub(super) stride: usize,
    /// A multiple of [`ROWS_MULTIPLE`], at most the stride.
    pub(super) rows: usize,
}

/// First output and number of outputs of each panel: as many whole ones as there are, then 4, 2 and 1.
fn panels(outputs: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let left = outputs - first;
        let count = [PANEL, 4, 2, 1].into_iter().find(|count| *count <= left)?;
        first += count;
        Some((first - count, count))
    })
}

/// The plain loops that the kernels of [`super::x86`] equal bit by bit.
fn block(dense: &Dense, block: Block, features: &[f32], outputs: &mut [f32]) {
    let mut sums = [[0f32; ROWS_MULTIPLE]; PANEL];
    for (first, count, weights) in dense.panels() {
        for row in (0..block.rows).step_by(ROWS_MULTIPLE) {
            sums.fill([0.0; ROWS_MULTIPLE]);
            for (feature, weights) in weights.chunks_exact(count).enumerate() {
                let values = &features[feature * block.stride + row..][..ROWS_MULTIPLE];
                for (sums, weight) in sums.iter_mut().zip(weights) {
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum = weight.mul_add(*value, *sum);
                    }
                }
            }
            for (index, sums) in sums[..count].iter().enumerate() {
                let to = &mut outputs[(first + index) * block.stride + row..][..ROWS_MULTIPLE];
                for (to, sum) in to.iter_mut().zip(sums) {
                    *to = sum + dense.intercepts[first + index];
                }
            }
        }
    }
}

/// Whole panels that one row sums at the same time, to hide the latency of an addition.
const PANELS_TOGETHER: usize = 4;

/// One row: neighbouring outputs share a vector register.
#[inline(always)]
fn row(dense: &Dense, features: &[f32], outputs: &mut [f32]) {
    let features = &features[..dense.features];
    let panel_values = PANEL * dense.features;
    let together = PANELS_TOGETHER * PANEL;
    let whole = dense.outputs() / together * together;
    for first in (0..whole).step_by(together) {
        let mut panels = dense.weights[first * dense.features..].chunks_exact(panel_values);
        let panels: [&[f32]; PANELS_TOGETHER] =
            std::array::from_fn(|_| panels.next().unwrap_or_default());
        let sums = sum_panels(panels, features);
        for (panel, sums) in sums.iter().enumerate() {
            finish(dense, first + panel * PANEL, sums, outputs);
        }
    }
    for (first, count, weights) in dense.panels().filter(|(first, ..)| *first >= whole) {
        if count == PANEL {
            finish(dense, first, &sum_panels([weights], features)[0], outputs);
            continue;
        }
        for output in 0..count {
            let mut sum = 0f32;
            for (value, weights) in features.iter().zip(weights.chunks_exact(count)) {
                sum = weights[output].mul_add(*value, sum);
            }
            finish(dense, first + output, &[sum], outputs);
        }
    }
}

#[inline(always)]
fn sum_panels<const COUNT: usize>(
    panels: [&[f32]; COUNT],
    features: &[f32],
) -> [[f32; PANEL]; COUNT] {
    let panels = panels.map(|panel| panel.as_chunks::<PANEL>().0);
    let mut sums = [[0f32; PANEL]; COUNT];
    for (feature, value) in features.iter().enumerate() {
        for (sums, panel) in sums.iter_mut().zip(&panels) {
            let weights = &panel[feature];
            for output in 0..PANEL {
                sums[output] = weights[output].mul_add(*value, sums[output]);
            }
        }
    }
    sums
}

#[inline(always)]
fn finish(dense: &Dense, first: usize, sums: &[f32], outputs: &mut [f32]) {
    let to = &mut outputs[first..first + sums.len()];
    for ((to, sum), intercept) in to.iter_mut().zip(sums).zip(&dense.intercepts[first..]) {
        *to = sum + intercept;
    }
}

on_every_level! {
    one_row => row(dense: &Dense, features: &[f32], outputs: &mut [f32])
}
