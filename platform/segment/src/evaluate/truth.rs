//! Three-valued truth of many rows, as two bitmaps.

use arrow::{
    array::BooleanBufferBuilder,
    buffer::{BooleanBuffer, NullBuffer},
};

use super::join::UNKNOWN;

/// For each row: true, false or, where neither bit is set, null.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Truth {
    pub(crate) yes: BooleanBuffer,
    pub(crate) no: BooleanBuffer,
}

impl Truth {
    /// `values` where `valid`, null elsewhere.
    pub(crate) fn new(values: BooleanBuffer, valid: Option<&NullBuffer>) -> Self {
        match valid {
            None => Self { no: !&values, yes: values },
            Some(valid) => {
                let valid = valid.inner();
                Self { no: valid & &!&values, yes: &values & valid }
            }
        }
    }

    /// One value for all rows.
    pub(crate) fn all(value: bool, rows: usize) -> Self {
        let (set, unset) = (BooleanBuffer::new_set(rows), BooleanBuffer::new_unset(rows));
        if value { Self { yes: set, no: unset } } else { Self { yes: unset, no: set } }
    }

    pub(crate) fn known(&self) -> BooleanBuffer {
        &self.yes | &self.no
    }

    pub(crate) fn not(self) -> Self {
        Self { yes: self.no, no: self.yes }
    }

    pub(crate) fn negate_if(self, negated: bool) -> Self {
        if negated { self.not() } else { self }
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        Self { yes: &self.yes & &other.yes, no: &self.no | &other.no }
    }

    pub(crate) fn or(&self, other: &Self) -> Self {
        Self { yes: &self.yes | &other.yes, no: &self.no & &other.no }
    }

    /// This where it is not null, else the other.
    pub(crate) fn or_else(&self, other: &Self) -> Self {
        let unknown = !&self.known();
        Self { yes: &self.yes | &(&unknown & &other.yes), no: &self.no | &(&unknown & &other.no) }
    }

    /// The first row's value for all rows.
    pub(crate) fn repeat(&self, rows: usize) -> Self {
        let all = |bits: &BooleanBuffer| {
            if bits.value(0) {
                BooleanBuffer::new_set(rows)
            } else {
                BooleanBuffer::new_unset(rows)
            }
        };
        Self { yes: all(&self.yes), no: all(&self.no) }
    }

    /// The values of `rows`, of which most follow each other and are copied together; that of `unknown` for [`UNKNOWN`].
    pub(crate) fn pick(&self, rows: &[u32], unknown: &Self) -> Self {
        let follows = |one: &u32, next: &u32| match *one {
            UNKNOWN => *next == UNKNOWN,
            row => *next == row + 1 && *next != UNKNOWN,
        };
        let mut picked = [(&self.yes, &unknown.yes), (&self.no, &unknown.no)]
            .map(|(bits, unknown)| (bits, unknown.value(0), BooleanBufferBuilder::new(rows.len())));
        for run in rows.chunk_by(follows) {
            for (bits, unknown, picked) in &mut picked {
                match run {
                    [UNKNOWN, ..] => picked.append_n(run.len(), *unknown),
                    [row] => picked.append(bits.value(*row as usize)),
                    _ => picked.append_buffer(&bits.slice(run[0] as usize, run.len())),
                }
            }
        }
        let [yes, no] = picked.map(|(_, _, mut picked)| picked.finish());
        Self { yes, no }
    }

    /// Some rows in a row.
    pub(crate) fn slice(&self, from: usize, rows: usize) -> Self {
        Self { yes: self.yes.slice(from, rows), no: self.no.slice(from, rows) }
    }
}
