//! Which rows of a block satisfy a node's condition.

#![allow(clippy::inline_always, reason = "compiled again for the instructions of each caller")]

use super::{Aligned, BLOCK_ROWS};
use crate::columns::Float;
use crate::trees::structure::{Ensemble, Mode, Node};

/// One byte per row: 255 where the condition holds, else 0.
pub(super) type Holds = Aligned<[u8; BLOCK_ROWS]>;

/// A type that features are compared in.
pub(super) trait Compared: Float + PartialOrd + Default {
    /// The values as `f32`, where they are that; those have a faster comparison.
    fn singles(values: &[Self; BLOCK_ROWS]) -> Option<&[f32; BLOCK_ROWS]>;
}

impl Compared for f32 {
    #[inline(always)]
    fn singles(values: &[Self; BLOCK_ROWS]) -> Option<&[f32; BLOCK_ROWS]> {
        Some(values)
    }
}

impl Compared for f64 {
    #[inline(always)]
    fn singles(_: &[Self; BLOCK_ROWS]) -> Option<&[f32; BLOCK_ROWS]> {
        None
    }
}

/// Fills in which rows take the true branch of a node.
#[inline(always)]
pub(super) fn fill<T: Compared>(
    ensemble: &Ensemble,
    node: &Node,
    values: &[T; BLOCK_ROWS],
    holds: &mut Holds,
) {
    // The threshold of an ensemble of singles is a single.
    let threshold = T::of_double(node.threshold);
    match node.mode {
        Mode::LessOrEqual => each(values, holds, |value| value <= threshold),
        Mode::Less => each(values, holds, |value| value < threshold),
        Mode::GreaterOrEqual => each(values, holds, |value| value >= threshold),
        Mode::Greater => each(values, holds, |value| value > threshold),
        Mode::Equal => each(values, holds, |value| value == threshold),
        Mode::NotEqual => each(values, holds, |value| value != threshold),
        Mode::Member(_) => {
            each(values, holds, |value| ensemble.takes_true(node, value.double()));
        }
    }
    if node.missing_true {
        for (holds, value) in holds.iter_mut().zip(values) {
            // Only NaN is unequal to itself.
            #[allow(clippy::eq_op, reason = "the test for NaN that compiles to one instruction")]
            let missing = value != value;
            *holds |= mask(missing);
        }
    }
}

#[inline(always)]
fn each<T: Copy>(values: &[T; BLOCK_ROWS], holds: &mut Holds, condition: impl Fn(T) -> bool) {
    for (holds, value) in holds.iter_mut().zip(values) {
        *holds = mask(condition(*value));
    }
}

#[inline(always)]
fn mask(holds: bool) -> u8 {
    0u8.wrapping_sub(u8::from(holds))
}
