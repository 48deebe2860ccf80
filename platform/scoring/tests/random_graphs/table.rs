//! The naive reference: rows of 64-bit numbers and the definition of each operator, one value at a time.

/// Closer to a place where a result jumps, rounding alone may decide; such cases are not compared.
const MARGIN: f64 = 1e-3;
/// As [`MARGIN`], per unit of the largest value so far: rounding errors are in proportion to it.
const MARGIN_SHARE: f64 = 1e-5;
/// A smaller divisor, per unit of the largest value so far, makes rounding errors larger than the
/// tolerance.
const DIVISOR_SHARE: f64 = 1e-2;
/// Beyond it a 32-bit sum of grid values may round.
const EXACT_MAX: f64 = 4_096.0;
/// Beyond it rounding errors grow past the tolerance.
const LARGEST: f64 = 1e5;

#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Vec<f64>>,
    /// Whether 32-bit arithmetic gave exactly these values.
    exact: bool,
    /// The largest finite value so far, at least 1.
    largest: f64,
    /// Whether every decision so far was clear, so that the engine must have taken it alike.
    pub(crate) clear: bool,
}

impl Table {
    pub(crate) fn new(rows: Vec<Vec<f64>>) -> Self {
        Self { rows, exact: true, largest: 1.0, clear: true }
    }

    pub(crate) fn width(&self) -> usize {
        self.rows[0].len()
    }

    /// Applies an exact function of one row.
    pub(crate) fn map_rows(&mut self, apply: impl Fn(&[f64]) -> Vec<f64>) {
        for row in &mut self.rows {
            *row = apply(row);
        }
        let finite = self.rows.iter().flatten().filter(|value| value.is_finite());
        let largest = finite.map(|value| value.abs()).fold(0.0, f64::max);
        self.largest = self.largest.max(largest);
        self.exact &= largest <= EXACT_MAX;
        self.clear &= largest <= LARGEST;
    }

    /// Applies an exact function of one value in a column.
    pub(crate) fn map(&mut self, apply: impl Fn(f64, usize) -> f64) {
        self.map_rows(|row| {
            row.iter().enumerate().map(|(column, value)| apply(*value, column)).collect()
        });
    }

    /// What follows is rounded.
    pub(crate) fn rounds(&mut self) {
        self.exact = false;
    }

    /// The function about to be applied jumps where `distance` is 0.
    pub(crate) fn jumps(&mut self, distance: impl Fn(&[f64]) -> f64) {
        self.keeps_away(MARGIN.max(MARGIN_SHARE * self.largest), distance);
    }

    /// The function about to be applied divides by `divisor`, or does something else where it is 0.
    pub(crate) fn divides(&mut self, divisor: impl Fn(&[f64]) -> f64) {
        self.keeps_away(DIVISOR_SHARE * self.largest, divisor);
    }

    fn keeps_away(&mut self, margin: f64, distance: impl Fn(&[f64]) -> f64) {
        if !self.exact {
            let near = self.rows.iter().map(|row| distance(row).abs());
            self.clear &= near.fold(f64::INFINITY, f64::min) > margin;
        }
    }

    /// As [`Table::jumps`], value by value.
    pub(crate) fn jumps_at(&mut self, distance: impl Fn(f64) -> f64) {
        self.jumps(|row| {
            row.iter().map(|value| distance(*value).abs()).fold(f64::INFINITY, f64::min)
        });
    }
}

/// NaN when either is.
pub(crate) fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub(crate) fn softmax(row: &[f64]) -> Vec<f64> {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, larger);
    let total: f64 = row.iter().map(|value| (value - top).exp()).sum();
    row.iter().map(|value| (value - top).exp() / total).collect()
}

/// Sums of products with each row of weights.
pub(crate) fn products(row: &[f64], weights: &[f32]) -> Vec<f64> {
    weights
        .chunks_exact(row.len())
        .map(|weights| {
            row.iter().zip(weights).map(|(value, weight)| value * f64::from(*weight)).sum()
        })
        .collect()
}

/// Place of the largest value, the first of equal ones.
pub(crate) fn first_largest(row: &[f64]) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

/// Distance between the largest and the next value.
pub(crate) fn lead(row: &[f64]) -> f64 {
    let best = first_largest(row);
    let others = row.iter().enumerate().filter(|(index, _)| *index != best);
    others.map(|(_, value)| row[best] - value).fold(f64::INFINITY, f64::min)
}
