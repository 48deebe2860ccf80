//! The two float types that an ensemble sums in.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Neg, Sub};

use super::Features;
use crate::scores::PostTransform;

/// `f32` or `f64`.
pub(super) trait Real:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + Send
    + Sync
    + 'static
{
    /// Nearest value.
    fn of(value: f64) -> Self;

    fn double(self) -> f64;

    fn is_nan(self) -> bool;

    /// Copies rows of a feature; see [`Features`].
    fn fill(features: &impl Features, feature: usize, start: usize, into: &mut [Self]);

    /// Applies a transform to the scores of a row. ONNX Runtime computes every transform in `f32`;
    /// `narrowed` is memory for that.
    fn transform(post: PostTransform, row: &mut [Self], narrowed: &mut Vec<f32>);

    /// [`PostTransform::apply_to_one`]; here only the probabilities are computed in `f32`.
    fn transform_one(post: PostTransform, sum: Self, complement: bool) -> [Self; 2];
}

impl Real for f32 {
    #[allow(clippy::cast_possible_truncation, reason = "rounding is what it is for")]
    fn of(value: f64) -> Self {
        value as f32
    }

    fn double(self) -> f64 {
        f64::from(self)
    }

    fn is_nan(self) -> bool {
        f32::is_nan(self)
    }

    fn fill(features: &impl Features, feature: usize, start: usize, into: &mut [Self]) {
        features.fill(feature, start, into);
    }

    fn transform(post: PostTransform, row: &mut [Self], _: &mut Vec<f32>) {
        post.apply(row);
    }

    fn transform_one(post: PostTransform, sum: Self, complement: bool) -> [Self; 2] {
        post.apply_to_one(sum, complement)
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn double(self) -> f64 {
        self
    }

    fn is_nan(self) -> bool {
        f64::is_nan(self)
    }

    fn fill(features: &impl Features, feature: usize, start: usize, into: &mut [Self]) {
        features.fill_double(feature, start, into);
    }

    fn transform(post: PostTransform, row: &mut [Self], narrowed: &mut Vec<f32>) {
        if post == PostTransform::None {
            return;
        }
        narrowed.clear();
        narrowed.extend(row.iter().map(|score| f32::of(*score)));
        post.apply(narrowed);
        for (score, narrowed) in row.iter_mut().zip(narrowed) {
            *score = f64::from(*narrowed);
        }
    }

    fn transform_one(post: PostTransform, sum: Self, complement: bool) -> [Self; 2] {
        match post {
            PostTransform::Logistic | PostTransform::Probit => {
                post.apply_to_one(f32::of(sum), complement).map(f64::from)
            }
            _ if complement => [1.0 - sum, sum],
            _ => [-sum, sum],
        }
    }
}
