//! Customers of several services, by a merge of their sorted keys.
//!
//! The same customers are in most services, so stretches of equal keys are looked for first: those are
//! joined by taking slices. Where keys differ, they are merged.

use arrow::{
    array::{ArrayRef, Int64Array, StringArray, UInt32Array},
    compute::take,
    error::ArrowError,
};

use super::keys::{Keys, Sorted};

/// Most rows that are joined at a time.
const BLOCK_ROWS: usize = 65_536;
/// Fewer equal keys than this are merged with those that follow.
const STRETCH_ROWS_MIN: usize = 512;
/// After so many rows a stretch of equal keys is looked for again.
const MERGED_ROWS: usize = 4_096;
/// A customer whom the service does not know.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// Which rows of a service's current piece a block has.
#[derive(Debug)]
pub(crate) enum Rows {
    /// As many as the block has, from here on.
    From(usize),
    /// For each of the block's rows one, or [`UNKNOWN`].
    Each(Vec<u32>),
    /// The service knows none of them.
    None,
}

/// Some customers, sorted after those of the block before.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) rows: usize,
    /// For each service its current piece and the rows of it.
    pub(crate) of: Vec<(usize, Rows)>,
}

/// Where a service's pieces are read.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    piece: usize,
    row: usize,
}

/// The full outer join of services.
pub(crate) struct Join<'a> {
    /// For each service the keys of its pieces.
    keys: Vec<Vec<&'a Keys>>,
    at: Vec<Cursor>,
}

impl<'a> Join<'a> {
    pub(crate) fn new(keys: Vec<Vec<&'a Keys>>) -> Self {
        let at = vec![Cursor::default(); keys.len()];
        Self { keys, at }
    }

    /// The keys of a service's piece.
    pub(crate) fn keys(&self, service: usize, piece: usize) -> &'a Keys {
        self.keys[service][piece]
    }

    /// The next customers; `None` after the last.
    pub(crate) fn next_block(&mut self) -> Option<Block> {
        for (cursor, keys) in self.at.iter_mut().zip(&self.keys) {
            if keys.get(cursor.piece).is_some_and(|keys| cursor.row == keys.rows()) {
                *cursor = Cursor { piece: cursor.piece + 1, row: 0 };
            }
        }
        let live: Vec<(usize, &Keys)> = self
            .keys
            .iter()
            .enumerate()
            .filter_map(|(service, keys)| Some((service, *keys.get(self.at[service].piece)?)))
            .collect();
        let most = live.iter().map(|(service, keys)| keys.rows() - self.at[*service].row).min()?;
        let most = most.min(BLOCK_ROWS);
        let (first, first_keys) = live[0];
        let stretch = live[1..].iter().fold(most, |most, (service, keys)| {
            first_keys.shared(self.at[first].row, keys, self.at[*service].row, most)
        });
        if stretch >= STRETCH_ROWS_MIN.min(most) {
            return Some(self.stretch(&live, stretch));
        }
        Some(self.merged(&live))
    }

    fn stretch(&mut self, live: &[(usize, &Keys)], rows: usize) -> Block {
        let mut block = self.block(rows);
        for (service, _) in live {
            let cursor = &mut self.at[*service];
            block.of[*service] = (cursor.piece, Rows::From(cursor.row));
            cursor.row += rows;
        }
        block
    }

    fn merged(&mut self, live: &[(usize, &Keys)]) -> Block {
        let mut at: Vec<usize> = live.iter().map(|(service, _)| self.at[*service].row).collect();
        let (rows, picked) = match live[0].1 {
            Keys::Int(_) => merge(&integers(live), &mut at),
            Keys::Text(_) => merge(&texts(live), &mut at),
        };
        let mut block = self.block(rows);
        for (((service, _), picked), at) in live.iter().zip(picked).zip(at) {
            let cursor = &mut self.at[*service];
            block.of[*service] = (cursor.piece, Rows::Each(picked));
            cursor.row = at;
        }
        block
    }

    fn block(&self, rows: usize) -> Block {
        let of = self.at.iter().map(|cursor| (cursor.piece, Rows::None)).collect();
        Block { rows, of }
    }
}

fn integers<'k>(live: &[(usize, &'k Keys)]) -> Vec<&'k Int64Array> {
    let only = live.iter().filter_map(|(_, keys)| match keys {
        Keys::Int(keys) => Some(keys),
        Keys::Text(_) => None,
    });
    only.collect()
}

fn texts<'k>(live: &[(usize, &'k Keys)]) -> Vec<&'k StringArray> {
    let only = live.iter().filter_map(|(_, keys)| match keys {
        Keys::Text(keys) => Some(keys),
        Keys::Int(_) => None,
    });
    only.collect()
}

/// Merges keys from the rows `at` on, until one service has no more or there are enough. Where a customer is missing
/// now and then, those in between are taken together.
fn merge<S: Sorted>(services: &[&S], at: &mut [usize]) -> (usize, Vec<Vec<u32>>) {
    let mut picked = vec![Vec::with_capacity(MERGED_ROWS); services.len()];
    let mut rows = 0;
    while rows < MERGED_ROWS && services.iter().zip(&*at).all(|(keys, at)| *at < keys.rows()) {
        let run = run(services, at, MERGED_ROWS - rows);
        if run > 0 {
            for (at, picked) in at.iter_mut().zip(&mut picked) {
                picked.extend((*at..*at + run).map(number));
                *at += run;
            }
            rows += run;
            continue;
        }
        let heads = services.iter().zip(&*at).map(|(keys, at)| keys.key(*at));
        let Some(least) = heads.min() else { break };
        for ((keys, at), picked) in services.iter().zip(&mut *at).zip(&mut picked) {
            let has = keys.key(*at) == least;
            picked.push(if has { number(*at) } else { UNKNOWN });
            *at += usize::from(has);
        }
        rows += 1;
    }
    (rows, picked)
}

/// How many customers from the rows `at` on are the same in all services, up to `most`.
fn run<S: Sorted>(services: &[&S], at: &[usize], most: usize) -> usize {
    let left = services.iter().zip(at).map(|(keys, at)| keys.rows() - at);
    let most = left.fold(most, usize::min);
    let others = services[1..].iter().zip(&at[1..]);
    others.fold(most, |most, (keys, other_at)| services[0].shared(at[0], keys, *other_at, most))
}

/// Rows of one batch are far fewer than 2^32.
fn number(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(UNKNOWN)
}

impl Rows {
    /// The row of the service's piece for a row of the block.
    pub(crate) fn row(&self, at: usize) -> Option<usize> {
        match self {
            Self::From(from) => Some(from + at),
            Self::Each(rows) => {
                Some(rows[at]).filter(|row| *row != UNKNOWN).map(|row| row as usize)
            }
            Self::None => None,
        }
    }

    /// A column of the piece for all of the block's rows. `unknown` is one null.
    pub(crate) fn gather(
        &self,
        column: Option<&ArrayRef>,
        unknown: &ArrayRef,
        rows: usize,
    ) -> Result<ArrayRef, ArrowError> {
        match (self, column) {
            (Self::From(from), Some(column)) => Ok(column.slice(*from, rows)),
            (Self::Each(rows), Some(column)) => {
                let rows: UInt32Array =
                    rows.iter().map(|row| Some(*row).filter(|row| *row != UNKNOWN)).collect();
                take(column, &rows, None)
            }
            (_, _) => take(unknown, &UInt32Array::from(vec![0; rows]), None),
        }
    }
}

impl Block {
    /// The key of one of its rows, where a service has it.
    pub(crate) fn key<'a>(&self, join: &Join<'a>, at: usize) -> Option<(&'a Keys, usize)> {
        self.of.iter().enumerate().find_map(|(service, (piece, rows))| {
            let row = rows.row(at)?;
            Some((join.keys(service, *piece), row))
        })
    }
}
