//! Values that come from one feature column, without looking at any other.

use std::sync::Arc;

use super::step::{self, Step};
use crate::level::Level;
use crate::trees::Features;

/// One column of a matrix as an expression of one feature column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Leaf {
    pub(super) source: Source,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// A number, rounded to `f32`.
    Number { column: usize },
    /// 1 where an encoder found this category, else 0.
    Category { encoder: usize, code: u32 },
    /// What a table gives for the category that an encoder found; its last entry stands for any other.
    Table { encoder: usize, values: Arc<[f32]> },
}

/// Where leaves read from: a batch or one row.
pub(super) trait Read {
    /// Numbers of a bound column from row `start` on, NaN for null.
    fn numbers(&self, column: usize, start: usize, into: &mut [f32]);

    /// Codes that an encoder gave to the rows from `start` on; at least `count` of them.
    fn codes(&self, encoder: usize, start: usize, count: usize) -> &[u32];
}

impl Leaf {
    /// Rows from `start` on.
    pub(super) fn fill(&self, level: Level, from: &impl Read, start: usize, into: &mut [f32]) {
        match &self.source {
            Source::Number { column } => from.numbers(*column, start, into),
            Source::Category { encoder, code } => {
                let codes = from.codes(*encoder, start, into.len());
                for (to, found) in into.iter_mut().zip(codes) {
                    *to = if found == code { 1.0 } else { 0.0 };
                }
            }
            Source::Table { encoder, values } => {
                let codes = from.codes(*encoder, start, into.len());
                let other = values.len() - 1;
                for (to, code) in into.iter_mut().zip(codes) {
                    *to = values[(*code as usize).min(other)];
                }
            }
        }
        for step in &self.steps {
            step::over(level, *step, into);
        }
    }
}

/// Leaves as the features of a tree ensemble.
pub(super) struct LeafFeatures<'a, R> {
    pub(super) leaves: &'a [Leaf],
    pub(super) from: &'a R,
    pub(super) level: Level,
}

impl<R: Read + Sync> Features for LeafFeatures<'_, R> {
    fn fill(&self, feature: usize, start: usize, into: &mut [f32]) {
        self.leaves[feature].fill(self.level, self.from, start, into);
    }
}
