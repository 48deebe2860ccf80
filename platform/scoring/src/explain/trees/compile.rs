//! From an ensemble, a game and background rows to the ways in which its trees are explained.

use super::game;
use super::grow::{Background, Grown, Step};
use super::pairwise::Pairwise;
use super::quadrature::Program;
use super::table::Plans;
use super::{TreeShap, Way};
use crate::level::Level;
use crate::trees::structure::{Ensemble, Tree};

/// Most background rows of the interventional game: each doubles the walks of trees without tables.
const INTERVENTIONAL_ROWS_MAX: usize = 16_384;

/// What becomes of features that a coalition does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::explain) enum Game {
    PathDependent,
    Interventional,
}

/// Rows that reached each node when a model was trained, where the trainer's own file says so.
///
/// With them, path-dependent contributions equal the trainer's own (`pred_contribs` of `XGBoost`,
/// `pred_contrib` of `LightGBM`); without, the background rows are counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Covers {
    /// By tree in the order of the model; within a tree all nodes, leaves included, in preorder with
    /// the branch first that ONNX calls true. Any unit: only ratios matter.
    pub trees: Vec<Vec<f64>>,
}

/// What is to be explained.
pub(in crate::explain) struct Question<'a> {
    pub(in crate::explain) ensemble: &'a Ensemble,
    /// What each target counts in the explained value.
    pub(in crate::explain) weights: &'a [f64],
    /// The feature column behind each tree feature, `None` where it is constant.
    pub(in crate::explain) players: &'a [Option<usize>],
    pub(in crate::explain) player_count: usize,
    pub(in crate::explain) background: &'a Background,
    pub(in crate::explain) rows: usize,
    pub(in crate::explain) covers: Option<&'a Covers>,
    pub(in crate::explain) game: Game,
    pub(in crate::explain) table_bytes_max: usize,
}

/// An ensemble ready to be explained.
pub(in crate::explain) struct Compiled {
    pub(in crate::explain) shap: TreeShap,
    /// The expected sum of the trees.
    pub(in crate::explain) expected: f64,
    pub(in crate::explain) table_bytes: usize,
}

impl Question<'_> {
    /// Chooses a way for each tree.
    ///
    /// # Errors
    /// In words, when a bound is exceeded or covers do not fit the trees.
    pub(in crate::explain) fn compile(&self) -> Result<Compiled, String> {
        let interventional = self.game == Game::Interventional;
        if interventional && self.rows > INTERVENTIONAL_ROWS_MAX {
            return Err(format!(
                "interventional contributions take at most {INTERVENTIONAL_ROWS_MAX} background rows, found {}; draw fewer",
                self.rows
            ));
        }
        let level = Level::detect();
        let mut budget = Grown::budget();
        let (mut expected, mut table_bytes) = (0.0, 0);
        let mut ways = Vec::with_capacity(self.ensemble.trees.len());
        for (at, tree) in self.ensemble.trees.iter().enumerate() {
            let grown = self.grow(at, tree, &mut budget)?;
            expected += grown.expected();
            let plans = Plans::of(&grown)
                .filter(|plans| plans.bytes() <= self.table_bytes_max - table_bytes);
            let way = if interventional {
                self.interventional(tree, grown, plans, &mut table_bytes)
            } else {
                path_dependent(&grown, plans, level, &mut table_bytes)
            };
            ways.push(way);
        }
        let mut features: Vec<usize> = self
            .ensemble
            .trees
            .iter()
            .flat_map(|tree| tree.nodes.iter().map(|node| node.feature as usize))
            .collect();
        features.sort_unstable();
        features.dedup();
        let players = self.player_count;
        let shap = TreeShap { ensemble: self.ensemble.clone(), ways, players, features, level };
        Ok(Compiled { shap, expected, table_bytes })
    }

    fn grow(&self, at: usize, tree: &Tree, budget: &mut usize) -> Result<Grown, String> {
        let mut grown =
            Grown::of(self.ensemble, tree, self.players, self.weights, self.background, budget)
                .ok_or_else(|| {
                    format!(
                        "its trees have more than {} nodes where shared ones count each time",
                        Grown::budget()
                    )
                })?;
        match self.covers {
            None => grown.weigh(&grown.count(self.ensemble, tree, self.background, self.rows)),
            Some(covers) => {
                let covers =
                    covers.trees.get(at).filter(|covers| covers.len() == grown.nodes.len());
                let covers = covers.ok_or_else(|| {
                    format!(
                        "tree {at} has {} nodes and the covers do not; give one cover per node, leaves included, \
                         from the file of the same training",
                        grown.nodes.len()
                    )
                })?;
                grown.weigh(covers);
            }
        }
        Ok(grown)
    }

    fn interventional(
        &self,
        tree: &Tree,
        grown: Grown,
        plans: Option<Plans>,
        table_bytes: &mut usize,
    ) -> Way {
        let outcomes: Vec<Vec<bool>> = tree
            .nodes
            .iter()
            .map(|node| {
                let values = &self.background[node.feature as usize];
                values.iter().map(|value| self.ensemble.takes_true(node, *value)).collect()
            })
            .collect();
        let Some(plans) = plans else {
            return Way::Pairwise(Pairwise { grown, outcomes, rows: self.rows });
        };
        *table_bytes += plans.bytes();
        Way::Table(plans.fill(&|path: &[Step]| {
            let mut shares = vec![0f64; 1 << path.len()];
            (0..self.rows).for_each(|row| {
                let mut outcome = 0;
                for (bit, step) in path.iter().enumerate() {
                    let holds =
                        step.conditions.iter().all(|(at, outcome)| outcomes[*at][row] == *outcome);
                    outcome |= usize::from(holds) << bit;
                }
                shares[outcome] += 1.0 / self.rows as f64;
            });
            game::together(shares)
        }))
    }
}

/// Look-up or computation, whichever is estimated to take fewer instructions.
fn path_dependent(
    grown: &Grown,
    plans: Option<Plans>,
    level: Level,
    table_bytes: &mut usize,
) -> Way {
    let program = Program::of(grown);
    let cheaper = plans.filter(|plans| {
        let look_ups: f64 =
            plans.sizes().map(|(players, bits)| players as f64 * look_up_cost(level, bits)).sum();
        look_ups <= program.steps() as f64 * step_cost(level)
    });
    match cheaper {
        None => Way::Quadrature(program),
        Some(plans) => {
            *table_bytes += plans.bytes();
            Way::Table(plans.fill(&|path: &[Step]| {
                let shares: Vec<f64> = path.iter().map(|step| step.share).collect();
                game::independent(&shares)
            }))
        }
    }
}

/// Cycles of one look-up for 16 rows, measured; estimated from the instructions where AVX-512 takes
/// more or fewer than 6 bits.
fn look_up_cost(level: Level, bits: usize) -> f64 {
    match level {
        Level::Portable => 24.0,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => 24.0,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => match bits {
            0..=5 => 2.0,
            6 => 3.0,
            7 => 5.0,
            8 => 9.0,
            _ => 24.0,
        },
    }
}

/// Cycles of one branch at one node of the rule for 16 rows, measured. With AVX-512 any value from 8 to
/// 26 makes the same speed of 500 trees of 31 leaves.
fn step_cost(level: Level) -> f64 {
    match level {
        Level::Portable => 60.0,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => 39.0,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => 12.0,
    }
}
