//! The fast way: chains of column-wise steps, then linear models, networks or an ensemble, run over
//! the Arrow columns block by block without a copy per step.
//!
//! [`read`] recognises the graphs of the family exactly and leaves every other to the general runtime.
//! What is recognised becomes
//!
//! - encoders, which turn each string or integer category into a code once per batch ([`encode`]),
//! - [`leaf::Leaf`]s: one feature column each, with imputing, scaling and other steps applied on the way,
//! - a [`program::Program`] over registers that hold one value per row, or a tree ensemble that reads
//!   the leaves.
//!
//! A block is as many rows as keep its registers in a core's cache. A row's result has the same bits in any
//! batch, on any level of instructions: every operation is done per row in the same order.

mod dense;
mod encode;
mod leaf;
mod level;
mod math;
mod outputs;
mod program;
mod read;
mod row;
mod step;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use arrow::array::ArrayRef;

use crate::columns::FloatColumn;
use crate::error::{ModelError, ScoreError};
use crate::graph::Graph;
use crate::level::Level;
use crate::signature::Port;
use encode::Encoder;
use leaf::{Leaf, LeafFeatures, Read};
use outputs::Columns;
use program::Program;
use read::{Body, Output};
use step::Frame;

pub(crate) use row::{Cell, RowOutput, RowState, label};

/// Bytes that the registers of a block may take: a quarter of a core's second-level cache, beside the weights.
const BLOCK_BYTES: usize = 256 * 1024;
/// Rows of a block at least and at most; multiples of [`dense::ROWS_MULTIPLE`].
const BLOCK_ROWS: (usize, usize) = (32, 512);
/// Rows between the ends of neighbouring registers, so that equal rows of many registers do not
/// compete for the same lines of the cache.
const BLOCK_PADDING: usize = 16;
/// Values in a line of the cache.
const LINE: usize = 16;
/// Up to this many rows run one by one, which costs less than a padded block.
const SINGLE_ROWS_MAX: usize = 7;

/// A recognised graph.
#[derive(Debug)]
pub(crate) struct Fused {
    level: Level,
    encoders: Vec<Encoder>,
    body: Body,
    /// Whether a bound column is read as a number.
    numbers: Vec<bool>,
    pub(crate) ports: Vec<Port>,
}

impl Fused {
    /// Recognises a model with an optional preprocess model in front; `None` for graphs outside the family.
    ///
    /// `bound` are the inputs of the first of the two, with their widths settled.
    pub(crate) fn recognise(
        graph: &Graph,
        first: Option<&Graph>,
        bound: &[Port],
    ) -> Result<Option<Self>, ModelError> {
        let Some(recognised) = read::recognise(graph, first, bound)? else { return Ok(None) };
        let mut numbers = vec![false; bound.iter().filter_map(|port| port.width).sum()];
        for leaf in recognised.body.leaves() {
            if let leaf::Source::Number { column } = leaf.source {
                numbers[column] = true;
            }
        }
        Ok(Some(Self {
            level: Level::detect(),
            encoders: recognised.encoders,
            body: recognised.body,
            numbers,
            ports: recognised.ports,
        }))
    }

    /// How batches are evaluated, in words.
    pub(crate) fn describe(&self) -> String {
        match &self.body {
            Body::Program { .. } => format!("fused over the columns ({})", self.level),
            Body::Trees { forest, .. } => forest.describe(),
        }
    }

    /// Output columns of `rows` rows of the bound columns.
    pub(crate) fn score(
        &self,
        columns: &[ArrayRef],
        rows: usize,
    ) -> Result<Vec<ArrayRef>, ScoreError> {
        let batch = Batch::read(self, columns)?;
        match &self.body {
            Body::Trees { leaves, forest } => {
                let features = LeafFeatures { leaves, from: &batch, level: self.level };
                Ok(forest.score(&features, rows))
            }
            Body::Program { fills, program, outputs } => {
                Ok(self.blocks(&batch, fills, program, outputs, rows))
            }
        }
    }

    fn blocks(
        &self,
        batch: &Batch,
        fills: &[(usize, Leaf)],
        program: &Program,
        outputs: &[Output],
        rows: usize,
    ) -> Vec<ArrayRef> {
        let mut columns = Columns::new(outputs, rows);
        let block_rows = block_rows(program.registers);
        let stride = block_rows + BLOCK_PADDING;
        let single = rows <= SINGLE_ROWS_MAX;
        let count = program.registers * if single { 1 } else { stride };
        let mut values = vec![0f32; count + LINE];
        // A register that starts inside a line of the cache would cost two for each vector.
        let aligned = values.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        let values = &mut values[aligned..aligned + count];
        let mut start = 0;
        while start < rows {
            let left = rows - start;
            let (stride, count) =
                if left <= SINGLE_ROWS_MAX { (1, 1) } else { (stride, left.min(block_rows)) };
            let mut frame = Frame { values, stride, rows: count };
            for (register, leaf) in fills {
                leaf.fill(self.level, batch, start, frame.register_mut(*register));
            }
            program.run(self.level, &mut frame);
            columns.append(&frame);
            start += count;
        }
        columns.finish()
    }
}

/// Rows of a block of that many registers.
fn block_rows(registers: usize) -> usize {
    let fitting = BLOCK_BYTES / (registers.max(1) * size_of::<f32>());
    let whole = fitting / dense::ROWS_MULTIPLE * dense::ROWS_MULTIPLE;
    whole.clamp(BLOCK_ROWS.0, BLOCK_ROWS.1)
}

impl Body {
    fn leaves(&self) -> Box<dyn Iterator<Item = &Leaf> + '_> {
        match self {
            Self::Program { fills, .. } => Box::new(fills.iter().map(|(_, leaf)| leaf)),
            Self::Trees { leaves, .. } => Box::new(leaves.iter()),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Program { fills, program, outputs } => f
                .debug_struct("Program")
                .field("leaves", &fills.len())
                .field("registers", &program.registers)
                .field("operations", &program.operations.len())
                .field("outputs", &outputs.len())
                .finish(),
            Self::Trees { leaves, forest } => f
                .debug_struct("Trees")
                .field("leaves", &leaves.len())
                .field("forest", forest)
                .finish(),
        }
    }
}

/// The columns of a batch, ready to be read by leaves.
struct Batch {
    /// By bound column; `None` where no leaf reads numbers.
    numbers: Vec<Option<FloatColumn>>,
    /// By encoder.
    codes: Vec<Vec<u32>>,
}

impl Batch {
    fn read(fused: &Fused, columns: &[ArrayRef]) -> Result<Self, ScoreError> {
        let numbers = columns
            .iter()
            .zip(&fused.numbers)
            .map(|(column, read)| read.then(|| FloatColumn::of(column)).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let codes = fused
            .encoders
            .iter()
            .map(|encoder| encoder.encode(&columns[encoder.column]))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { numbers, codes })
    }
}

impl Read for Batch {
    fn numbers(&self, column: usize, start: usize, into: &mut [f32]) {
        if let Some(numbers) = &self.numbers[column] {
            numbers.fill(start, into);
        }
    }

    fn codes(&self, encoder: usize, start: usize, count: usize) -> &[u32] {
        &self.codes[encoder][start..start + count]
    }
}
