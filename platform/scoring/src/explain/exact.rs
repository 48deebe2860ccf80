//! Exact contributions: tree ensembles and linear models.

use arrow::array::RecordBatch;

use super::front::{self, Front, Parts, Read};
use super::options::{Method, Unit};
use super::terminal::Terminal;
use super::trees::{Covers, Game, Question, TreeShap};
use crate::accept::Rejected;
use crate::error::ScoreError;
use crate::trees;

/// Rows of a linear model that are explained together.
const BLOCK_ROWS: usize = 512;

/// A tree ensemble or linear model with what stands before it.
#[derive(Debug)]
pub(super) struct Exact {
    front: Front,
    engine: Engine,
    pub(super) unit: Unit,
    pub(super) base: f64,
    pub(super) method: Method,
    background_rows: usize,
    has_covers: bool,
}

#[derive(Debug)]
enum Engine {
    Linear {
        /// By column that the model reads.
        weights: Vec<f64>,
        means: Vec<f64>,
    },
    Trees {
        shap: Box<TreeShap>,
        table_bytes: usize,
    },
}

/// How an exact method is asked for.
pub(super) struct Wish<'a> {
    pub(super) method: Method,
    pub(super) table_bytes_max: usize,
    pub(super) covers: Option<&'a Covers>,
}

/// Contributions of the accepted rows of a batch.
pub(super) struct Contributions {
    /// By feature column, then by row.
    pub(super) columns: Vec<Vec<f32>>,
    pub(super) rows: usize,
    pub(super) rejected: Vec<Rejected>,
}

impl Exact {
    /// The error says in words why no exact method holds.
    pub(super) fn new(
        parts: &Parts<'_>,
        terminal: &Terminal<'_>,
        background: &RecordBatch,
        wish: &Wish<'_>,
    ) -> Result<Self, String> {
        let method = match (wish.method, terminal.is_trees()) {
            (Method::Auto, true) => Method::TreePathDependent,
            (Method::Auto, false) => Method::Linear,
            (Method::Linear, true) => return Err("its score comes from trees".to_owned()),
            (Method::TreePathDependent | Method::TreeInterventional, false) => {
                return Err("its score comes from a linear model".to_owned());
            }
            (asked, _) => asked,
        };
        let front = Front::of(parts, terminal.input(), background)?;
        let read = front.read(background).map_err(|error| error.to_string())?;
        if read.rows == 0 {
            return Err(
                "no background row can be scored; give at least one complete row".to_owned()
            );
        }
        let (engine, base, is_transformed) = if terminal.is_trees() {
            trees(terminal, &front, &read, parts.columns.len(), method, wish)?
        } else {
            linear(terminal, &read)?
        };
        let unit = if terminal.is_margin(is_transformed)? { Unit::Margin } else { Unit::Output };
        Ok(Self {
            front,
            engine,
            unit,
            base,
            method,
            background_rows: read.rows,
            has_covers: wish.covers.is_some(),
        })
    }

    pub(super) fn describe(&self) -> String {
        let rows = grouped(self.background_rows);
        match (&self.engine, self.method) {
            (Engine::Linear { .. }, _) => {
                format!("exact, linear in closed form against {rows} background rows")
            }
            (Engine::Trees { shap, table_bytes }, Method::TreeInterventional) => format!(
                "exact TreeSHAP, interventional, against {rows} background rows; {}",
                shap.describe(*table_bytes)
            ),
            (Engine::Trees { shap, table_bytes }, _) => {
                let covers = if self.has_covers {
                    "covers of the trainer".to_owned()
                } else {
                    format!("covers counted on {rows} background rows")
                };
                format!("exact TreeSHAP, path-dependent, {covers}; {}", shap.describe(*table_bytes))
            }
        }
    }

    pub(super) fn explain(
        &self,
        features: &RecordBatch,
        players: usize,
    ) -> Result<Contributions, ScoreError> {
        let read = self.front.read(features)?;
        let columns = match &self.engine {
            Engine::Trees { shap, .. } => shap.explain(&read.columns, read.rows),
            Engine::Linear { weights, means } => self.linear(&read, weights, means, players),
        };
        Ok(Contributions { columns, rows: read.rows, rejected: read.rejected })
    }

    #[allow(clippy::cast_possible_truncation, reason = "contributions are 32-bit floats")]
    fn linear(&self, read: &Read, weights: &[f64], means: &[f64], players: usize) -> Vec<Vec<f32>> {
        let mut contributions = vec![Vec::with_capacity(read.rows); players];
        let mut sums = vec![[0f64; BLOCK_ROWS]; players];
        let mut values = [0f64; BLOCK_ROWS];
        for start in (0..read.rows).step_by(BLOCK_ROWS) {
            let count = BLOCK_ROWS.min(read.rows - start);
            sums.fill([0.0; BLOCK_ROWS]);
            let terms = weights.iter().zip(means).zip(&self.front.players);
            for (column, ((weight, mean), player)) in read.columns.iter().zip(terms) {
                let Some(player) = player else { continue };
                column.fill(start, &mut values[..count]);
                for (sum, value) in sums[*player][..count].iter_mut().zip(&values) {
                    *sum += weight * (value - mean);
                }
            }
            for (to, sums) in contributions.iter_mut().zip(&sums) {
                to.extend(sums[..count].iter().map(|sum| *sum as f32));
            }
        }
        contributions
    }
}

fn trees(
    terminal: &Terminal<'_>,
    front: &Front,
    read: &Read,
    player_count: usize,
    method: Method,
    wish: &Wish<'_>,
) -> Result<(Engine, f64, bool), String> {
    let mut model = trees::read(terminal.node).map_err(|error| error.to_string())?;
    if front.is_double() {
        model = model.for_double_input();
    }
    let margin = model
        .margin(terminal.score)
        .ok_or("its score is no weighted sum over the trees (minimum, maximum, or a class that only some leaves know)")?;
    if model.feature_count() > read.columns.len() {
        return Err("its trees read more columns than there are".to_owned());
    }
    let background = front::values(read);
    let game = match method {
        Method::TreeInterventional => Game::Interventional,
        _ => Game::PathDependent,
    };
    let compiled = Question {
        ensemble: model.ensemble(),
        weights: &margin.weights,
        players: &front.players,
        player_count,
        background: &background,
        rows: read.rows,
        covers: wish.covers,
        game,
        table_bytes_max: wish.table_bytes_max,
    }
    .compile()?;
    let shap = Box::new(compiled.shap);
    let engine = Engine::Trees { shap, table_bytes: compiled.table_bytes };
    Ok((engine, compiled.expected + margin.offset, margin.is_transformed))
}

fn linear(terminal: &Terminal<'_>, read: &Read) -> Result<(Engine, f64, bool), String> {
    let margin = terminal.linear()?;
    if margin.weights.len() != read.columns.len() {
        return Err(format!(
            "it has {} coefficients for {} columns",
            margin.weights.len(),
            read.columns.len()
        ));
    }
    let mean = |column: Vec<f64>| {
        // A missing value has no place in a linear model; it would make every contribution missing.
        let present: Vec<f64> = column.into_iter().filter(|value| !value.is_nan()).collect();
        present.iter().sum::<f64>() / (present.len() as f64).max(1.0)
    };
    let means: Vec<f64> = front::values(read).into_iter().map(mean).collect();
    let terms = margin.weights.iter().zip(&means).map(|(weight, mean)| weight * mean);
    let base = margin.offset + terms.sum::<f64>();
    Ok((Engine::Linear { weights: margin.weights, means }, base, margin.is_transformed))
}

/// A count with commas between thousands.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
