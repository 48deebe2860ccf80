//! Rows that cannot be scored: all are counted, the first ones are kept.

use std::sync::{Mutex, PoisonError};

use cameo_store::quarantine::{QUARANTINE_ROWS_MAX, QuarantinedRow};

/// Collects quarantined rows from all stages.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    sample: Mutex<Vec<QuarantinedRow>>,
}

impl Quarantine {
    pub(crate) fn add(&self, rows: impl IntoIterator<Item = QuarantinedRow>) {
        let mut sample = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        let room = QUARANTINE_ROWS_MAX - sample.len();
        sample.extend(rows.into_iter().take(room));
    }

    pub(crate) fn into_sample(self) -> Vec<QuarantinedRow> {
        self.sample.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
