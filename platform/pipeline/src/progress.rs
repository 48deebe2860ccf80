//! Counting while the stages run.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cameo_store::runs::{Progress, StepTime};

/// The last step of a run.
pub(crate) const PUBLISH: &str = "publish";

/// Counters that all stages of a run share; cheap enough to touch once per batch.
#[derive(Debug, Default)]
pub struct Tracker {
    rows_read: AtomicU64,
    rows_scored: AtomicU64,
    rows_quarantined: AtomicU64,
    rows_suppressed: AtomicU64,
    rows_written: AtomicU64,
    memory_peak_bytes: AtomicU64,
    spans: Mutex<Vec<Span>>,
}

#[derive(Debug)]
struct Span {
    name: &'static str,
    first: Instant,
    last: Instant,
    open: bool,
}

impl Tracker {
    /// Marks that `step` begins; its first call counts.
    pub fn begin(&self, step: &'static str) {
        let now = Instant::now();
        self.with_spans(|spans| {
            if spans.iter().all(|span| span.name != step) {
                spans.push(Span { name: step, first: now, last: now, open: true });
            }
        });
    }

    /// Whether the publication has begun. From then on the transaction that publishes says, under the lock of
    /// the run, who holds it.
    #[must_use]
    pub fn is_publishing(&self) -> bool {
        self.with_spans(|spans| spans.iter().any(|span| span.name == PUBLISH))
    }

    /// Marks that `step` has ended; its last call counts.
    pub fn end(&self, step: &'static str) {
        self.with_spans(|spans| {
            if let Some(span) = spans.iter_mut().find(|span| span.name == step) {
                span.last = Instant::now();
                span.open = false;
            }
        });
    }

    /// Counts rows that came out of `features.sql`; gives how many have by now.
    pub fn read(&self, rows: usize) -> u64 {
        let rows = rows as u64;
        self.rows_read.fetch_add(rows, Ordering::Relaxed) + rows
    }

    /// Counts rows that have complete predictions.
    pub fn scored(&self, rows: usize) {
        self.rows_scored.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Counts rows that were left out.
    pub fn quarantined(&self, rows: usize) {
        self.rows_quarantined.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Counts rows of customers who were erased.
    pub fn suppressed(&self, rows: usize) {
        self.rows_suppressed.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Counts rows that were handed to the store; gives how many have been by now.
    pub fn written(&self, rows: usize) -> u64 {
        let rows = rows as u64;
        self.rows_written.fetch_add(rows, Ordering::Relaxed) + rows
    }

    /// Notes how much memory the process has; the most counts.
    pub fn memory(&self, bytes: u64) {
        self.memory_peak_bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    /// The picture at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Progress {
        let rows_scored = self.rows_scored.load(Ordering::Relaxed);
        let memory_peak_bytes = self.memory_peak_bytes.load(Ordering::Relaxed);
        let now = Instant::now();
        self.with_spans(|spans| {
            let length = |span: &Span| {
                if span.open { now - span.first } else { span.last - span.first }
            };
            let scoring: Duration =
                spans.iter().filter(|span| span.name == "score").map(length).sum();
            Progress {
                stage: spans.last().map_or_else(String::new, |span| span.name.to_owned()),
                rows_read: self.rows_read.load(Ordering::Relaxed),
                rows_scored,
                rows_quarantined: self.rows_quarantined.load(Ordering::Relaxed),
                rows_suppressed: self.rows_suppressed.load(Ordering::Relaxed),
                rows_written: self.rows_written.load(Ordering::Relaxed),
                rows_per_second: if scoring.is_zero() {
                    0.0
                } else {
                    rows_scored as f64 / scoring.as_secs_f64()
                },
                steps: spans
                    .iter()
                    .map(|span| StepTime {
                        name: span.name.to_owned(),
                        seconds: length(span).as_secs_f64(),
                    })
                    .collect(),
                memory_peak_bytes: Some(memory_peak_bytes).filter(|bytes| *bytes > 0),
            }
        })
    }

    fn with_spans<T>(&self, work: impl FnOnce(&mut Vec<Span>) -> T) -> T {
        // A panic while counting leaves the list whole: every change is one push or one store.
        work(&mut self.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
