//! What a graph does to a block of rows once its columns are read.
#![allow(
    clippy::inline_always,
    reason = "each level must compile these loops for its own instructions"
)]

use super::dense::Dense;
use super::level::on_every_level;
use super::math;
use super::step::{self, Arithmetic, Frame, Step};
use crate::level::Level;
use crate::scores::PostTransform;

/// Registers that hold one value per row each, and what is done to them in order.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) operations: Vec<Operation>,
    /// Number of registers.
    pub(super) registers: usize,
}

/// Neighbouring registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: usize,
    pub(super) count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Norm {
    Max,
    L1,
    L2,
}

#[derive(Debug)]
pub(super) enum Operation {
    /// Copies a register.
    Copy {
        from: usize,
        to: usize,
    },
    /// Changes every register of a run.
    Step {
        step: Step,
        run: Run,
    },
    /// Changes every register of a run with its own constant.
    Arithmetic {
        kind: Arithmetic,
        first: usize,
        constants: Vec<f32>,
    },
    /// `to = left ∘ right`, register by register.
    Combine {
        kind: Arithmetic,
        left: Vec<usize>,
        right: Vec<usize>,
        to: usize,
    },
    Dense {
        dense: Dense,
        from: usize,
        to: usize,
    },
    /// e^x over the sum of e^x of the run.
    Softmax {
        run: Run,
    },
    Normalize {
        norm: Norm,
        run: Run,
    },
    /// A post transform that has no loop of its own, row by row.
    PostTransform {
        post: PostTransform,
        run: Run,
    },
    /// The two scores of one sum, which is in the second register of the run.
    TwoScores {
        post: PostTransform,
        first: usize,
    },
    /// 1 where a sum is above 0, else 0.
    Positive {
        from: usize,
        to: usize,
    },
    /// Index of the largest of a run, the first when several are equal.
    Largest {
        run: Run,
        to: usize,
    },
}

impl Program {
    /// Runs every operation over the rows of a frame.
    pub(super) fn run(&self, level: Level, frame: &mut Frame<'_>) {
        for operation in &self.operations {
            operation.run(level, frame);
        }
    }
}

impl Operation {
    fn run(&self, level: Level, frame: &mut Frame<'_>) {
        match self {
            Self::Copy { from, to } => frame.copy(*from, *to, 1),
            Self::Step { step, run } => {
                if frame.stride == 1 {
                    step::over(level, *step, frame.run_mut(run.first, run.count));
                } else {
                    for register in run.first..run.first + run.count {
                        step::over(level, *step, frame.register_mut(register));
                    }
                }
            }
            Self::Arithmetic { kind, first, constants } => {
                step::arithmetic(level, frame, *kind, *first, constants);
            }
            Self::Combine { kind, left, right, to } => {
                for (index, (left, right)) in left.iter().zip(right).enumerate() {
                    frame.copy(*left, to + index, 1);
                    combine(frame, *kind, to + index, *right);
                }
            }
            Self::Dense { dense, from, to } => dense.run(level, frame, *from, *to),
            Self::Softmax { run } => softmax(level, frame, *run),
            Self::Normalize { norm, run } => normalize(level, frame, *norm, *run),
            Self::PostTransform { post, run } => by_row(*run, frame, |row| post.apply(row)),
            Self::TwoScores { post, first } => two_scores(frame, *post, *first),
            Self::Positive { from, to } => {
                frame.copy(*from, *to, 1);
                let positive = |sum: &mut f32| *sum = if *sum > 0.0 { 1.0 } else { 0.0 };
                frame.register_mut(*to).iter_mut().for_each(positive);
            }
            Self::Largest { run, to } => largest(level, frame, *run, *to),
        }
    }
}

fn combine(frame: &mut Frame<'_>, kind: Arithmetic, to: usize, with: usize) {
    for row in 0..frame.rows {
        let with = frame.values[with * frame.stride + row];
        let value = &mut frame.values[to * frame.stride + row];
        *value = kind.of(*value, with);
    }
}

/// Scores of a linear model with one row of coefficients for two classes.
fn two_scores(frame: &mut Frame<'_>, post: PostTransform, first: usize) {
    for row in 0..frame.rows {
        let sum = frame.values[(first + 1) * frame.stride + row];
        let [negative, positive] = post.apply_to_one(sum, true);
        frame.values[first * frame.stride + row] = negative;
        frame.values[(first + 1) * frame.stride + row] = positive;
    }
}

/// Runs a function over the values of each row, one by one.
fn by_row(run: Run, frame: &mut Frame<'_>, function: impl Fn(&mut [f32])) {
    let mut gathered = vec![0f32; run.count];
    for row in 0..frame.rows {
        for (index, value) in gathered.iter_mut().enumerate() {
            *value = frame.values[(run.first + index) * frame.stride + row];
        }
        function(&mut gathered);
        for (index, value) in gathered.iter().enumerate() {
            frame.values[(run.first + index) * frame.stride + row] = *value;
        }
    }
}

/// Rows that are reduced at a time: their partial results stay in vector registers.
const REDUCED_ROWS: usize = 32;

/// Folds the registers of a run for up to [`REDUCED_ROWS`] rows from `row` on.
#[inline(always)]
fn fold(
    frame: &Frame<'_>,
    run: Run,
    row: usize,
    start: f32,
    function: impl Fn(f32, f32) -> f32,
) -> [f32; REDUCED_ROWS] {
    let count = REDUCED_ROWS.min(frame.rows - row);
    let mut folded = [start; REDUCED_ROWS];
    for register in run.first..run.first + run.count {
        let values = &frame.values[register * frame.stride + row..][..count];
        for (folded, value) in folded.iter_mut().zip(values) {
            *folded = function(*folded, *value);
        }
    }
    folded
}

/// Replaces every value of a run by a function of it and of the row's folded value.
#[inline(always)]
fn each(
    frame: &mut Frame<'_>,
    run: Run,
    row: usize,
    folded: &[f32; REDUCED_ROWS],
    function: impl Fn(f32, f32) -> f32,
) {
    let count = REDUCED_ROWS.min(frame.rows - row);
    for register in run.first..run.first + run.count {
        let values = &mut frame.values[register * frame.stride + row..][..count];
        for (value, folded) in values.iter_mut().zip(folded) {
            *value = function(*value, *folded);
        }
    }
}

#[inline(always)]
fn softmax_loops(frame: &mut Frame<'_>, run: Run) {
    for row in (0..frame.rows).step_by(REDUCED_ROWS) {
        let largest = fold(frame, run, row, f32::MIN, |a, b| if b > a { b } else { a });
        each(frame, run, row, &largest, |value, largest| math::exp(value - largest));
        let total = fold(frame, run, row, 0.0, |a, b| a + b);
        each(frame, run, row, &total, |value, total| value / total);
    }
}

#[inline(always)]
fn normalize_loops(frame: &mut Frame<'_>, norm: Norm, run: Run) {
    for row in (0..frame.rows).step_by(REDUCED_ROWS) {
        let norms = match norm {
            // The largest value, not the largest magnitude: so the specification and ONNX Runtime.
            Norm::Max => fold(frame, run, row, f32::NEG_INFINITY, |a, b| if b > a { b } else { a }),
            Norm::L1 => fold(frame, run, row, 0.0, |a, b| a + b.abs()),
            Norm::L2 => fold(frame, run, row, 0.0, |a, b| a + b * b).map(f32::sqrt),
        };
        each(frame, run, row, &norms, |value, norm| if norm == 0.0 { value } else { value / norm });
    }
}

#[inline(always)]
fn largest_loops(frame: &mut Frame<'_>, run: Run, to: usize) {
    for row in (0..frame.rows).step_by(REDUCED_ROWS) {
        let count = REDUCED_ROWS.min(frame.rows - row);
        let mut best = [0f32; REDUCED_ROWS];
        let mut chosen = [0f32; REDUCED_ROWS];
        best[..count].copy_from_slice(&frame.register(run.first)[row..row + count]);
        for index in 1..run.count {
            let values = &frame.register(run.first + index)[row..row + count];
            for ((best, chosen), value) in best.iter_mut().zip(&mut chosen).zip(values) {
                *chosen = if *value > *best { index as f32 } else { *chosen };
                *best = if *value > *best { *value } else { *best };
            }
        }
        frame.register_mut(to)[row..row + count].copy_from_slice(&chosen[..count]);
    }
}

on_every_level! { softmax => softmax_loops(frame: &mut Frame<'_>, run: Run) }
on_every_level! { normalize => normalize_loops(frame: &mut Frame<'_>, norm: Norm, run: Run) }
on_every_level! { largest => largest_loops(frame: &mut Frame<'_>, run: Run, to: usize) }
