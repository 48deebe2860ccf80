//! What happens to one value at a time.
#![allow(
    clippy::inline_always,
    reason = "each level must compile these loops for its own instructions"
)]

use super::level::on_every_level;
use super::math;

/// An arithmetic operator with a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    /// The constant minus the value.
    SubtractFrom,
    Multiply,
    Divide,
    /// The constant divided by the value.
    DivideInto,
}

impl Arithmetic {
    #[inline(always)]
    pub(super) fn of(self, value: f32, constant: f32) -> f32 {
        match self {
            Self::Add => value + constant,
            Self::Subtract => value - constant,
            Self::SubtractFrom => constant - value,
            Self::Multiply => value * constant,
            Self::Divide => value / constant,
            Self::DivideInto => constant / value,
        }
    }
}

/// A function of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    Arithmetic(Arithmetic, f32),
    /// `(x - offset) * scale`, rounded twice as the operator is.
    Scale {
        offset: f32,
        scale: f32,
    },
    /// Replaces a marker, or NaN when that is the marker.
    Impute {
        marker: f32,
        value: f32,
    },
    Binarize {
        threshold: f32,
    },
    Clip {
        low: f32,
        high: f32,
    },
    Relu,
    LeakyRelu {
        slope: f32,
    },
    /// `scale * x` above 0, `scale * alpha * (e^x - 1)` below: ELU with scale 1, else SELU.
    Elu {
        alpha: f32,
        scale: f32,
    },
    HardSigmoid {
        slope: f32,
        offset: f32,
    },
    Sigmoid,
    /// The post transform `LOGISTIC`.
    Logistic,
    Tanh,
    Exp,
    Negate,
    Absolute,
    SquareRoot,
}

/// Replaces every value by the step's result.
#[inline(always)]
#[allow(clippy::float_cmp, reason = "the imputer compares exactly")]
fn apply(step: Step, values: &mut [f32]) {
    #[inline(always)]
    fn each(values: &mut [f32], function: impl Fn(f32) -> f32) {
        for value in values {
            *value = function(*value);
        }
    }
    match step {
        Step::Arithmetic(Arithmetic::Add, by) => each(values, |x| x + by),
        Step::Arithmetic(Arithmetic::Subtract, by) => each(values, |x| x - by),
        Step::Arithmetic(Arithmetic::SubtractFrom, from) => each(values, |x| from - x),
        Step::Arithmetic(Arithmetic::Multiply, by) => each(values, |x| x * by),
        Step::Arithmetic(Arithmetic::Divide, by) => each(values, |x| x / by),
        Step::Arithmetic(Arithmetic::DivideInto, of) => each(values, |x| of / x),
        Step::Scale { offset, scale } => each(values, |x| (x - offset) * scale),
        Step::Impute { marker, value } if marker.is_nan() => {
            each(values, |x| if x.is_nan() { value } else { x });
        }
        Step::Impute { marker, value } => each(values, |x| if x == marker { value } else { x }),
        Step::Binarize { threshold } => each(values, |x| if x > threshold { 1.0 } else { 0.0 }),
        Step::Clip { low, high } => each(values, |x| {
            let x = if x < low { low } else { x };
            if x > high { high } else { x }
        }),
        Step::Relu => each(values, |x| if x < 0.0 { 0.0 } else { x }),
        Step::LeakyRelu { slope } => each(values, |x| if x < 0.0 { x * slope } else { x }),
        Step::Elu { alpha, scale } => {
            each(
                values,
                |x| if x < 0.0 { scale * (alpha * (math::exp(x) - 1.0)) } else { scale * x },
            );
        }
        Step::HardSigmoid { slope, offset } => each(values, |x| {
            let x = x * slope + offset;
            let x = if x < 0.0 { 0.0 } else { x };
            if x > 1.0 { 1.0 } else { x }
        }),
        Step::Sigmoid => each(values, math::sigmoid),
        Step::Logistic => each(values, math::logistic),
        Step::Tanh => each(values, math::tanh),
        Step::Exp => each(values, math::exp),
        Step::Negate => each(values, |x| -x),
        Step::Absolute => each(values, f32::abs),
        Step::SquareRoot => each(values, f32::sqrt),
    }
}

on_every_level! {
    /// Replaces every value by the step's result.
    over => apply(step: Step, values: &mut [f32])
}

/// The values of registers: register `r` has its rows at `r * stride`.
///
/// A block of rows has a stride of many; one row has a stride of 1, so that neighbouring registers
/// are neighbours in memory and the same loops run over registers instead of rows.
pub(super) struct Frame<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) rows: usize,
}

impl Frame<'_> {
    /// Rows of one register.
    #[inline(always)]
    pub(super) fn register(&self, register: usize) -> &[f32] {
        &self.values[register * self.stride..][..self.rows]
    }

    #[inline(always)]
    pub(super) fn register_mut(&mut self, register: usize) -> &mut [f32] {
        &mut self.values[register * self.stride..][..self.rows]
    }

    /// All values of neighbouring registers, with the padding between them.
    pub(super) fn run_mut(&mut self, first: usize, count: usize) -> &mut [f32] {
        &mut self.values[first * self.stride..(first + count) * self.stride]
    }

    pub(super) fn copy(&mut self, from: usize, to: usize, count: usize) {
        if from != to {
            let from = from * self.stride;
            self.values.copy_within(from..from + count * self.stride, to * self.stride);
        }
    }
}

#[inline(always)]
fn with_constants(frame: &mut Frame<'_>, kind: Arithmetic, first: usize, constants: &[f32]) {
    #[inline(always)]
    fn each(
        frame: &mut Frame<'_>,
        first: usize,
        constants: &[f32],
        function: impl Fn(f32, f32) -> f32,
    ) {
        if frame.stride == 1 {
            let values = frame.run_mut(first, constants.len());
            for (value, constant) in values.iter_mut().zip(constants) {
                *value = function(*value, *constant);
            }
            return;
        }
        for (index, constant) in constants.iter().enumerate() {
            for value in frame.register_mut(first + index) {
                *value = function(*value, *constant);
            }
        }
    }
    match kind {
        Arithmetic::Add => each(frame, first, constants, |x, c| Arithmetic::Add.of(x, c)),
        Arithmetic::Subtract => each(frame, first, constants, |x, c| Arithmetic::Subtract.of(x, c)),
        Arithmetic::SubtractFrom => {
            each(frame, first, constants, |x, c| Arithmetic::SubtractFrom.of(x, c));
        }
        Arithmetic::Multiply => each(frame, first, constants, |x, c| Arithmetic::Multiply.of(x, c)),
        Arithmetic::Divide => each(frame, first, constants, |x, c| Arithmetic::Divide.of(x, c)),
        Arithmetic::DivideInto => {
            each(frame, first, constants, |x, c| Arithmetic::DivideInto.of(x, c));
        }
    }
}

on_every_level! {
    /// Applies an operator to neighbouring registers, each with its own constant.
    arithmetic => with_constants(frame: &mut Frame<'_>, kind: Arithmetic, first: usize, constants: &[f32])
}
