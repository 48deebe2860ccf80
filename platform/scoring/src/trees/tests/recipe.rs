//! Random ensembles and rows that sit on their thresholds.

use proptest::prelude::*;
use proptest::sample::select;

use crate::trees::listed::Attributes;
use crate::trees::real::Real;
use crate::trees::structure::Precision;

pub(super) const ORDERS: [&str; 4] = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"];
const MODES: [&str; 6] =
    ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"];

/// A linear congruential generator.
pub(super) struct Draws(pub(super) u64);

impl Draws {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Which targets a leaf has a weight for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weights {
    /// Every target.
    All,
    /// One target per tree, as boosting for classes makes.
    OnePerTree,
    /// One target per leaf, so that a row may end without a weight for a target.
    OnePerLeaf,
}

#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) seed: u64,
    pub(super) trees: usize,
    pub(super) leaves: usize,
    pub(super) features: usize,
    pub(super) targets: usize,
    pub(super) modes: &'static [&'static str],
    /// Number of different thresholds: few make ties, many need several code columns.
    pub(super) thresholds: usize,
    pub(super) weights: Weights,
    pub(super) shares_subtrees: bool,
    /// Whether thresholds and values are doubles between the floats.
    pub(super) double: bool,
}

impl Recipe {
    pub(super) fn precision(&self) -> Precision {
        if self.double { Precision::Double } else { Precision::Single }
    }

    fn neighbours(&self, value: f64) -> [f64; 2] {
        if self.double {
            [value.next_up(), value.next_down()]
        } else {
            let value = f32::of(value);
            [value.next_up().double(), value.next_down().double()]
        }
    }

    fn thresholds(&self) -> Vec<f64> {
        let edges = [0.0, -0.0, f32::MIN_POSITIVE, 1e-45, f32::MAX, f32::MIN, f32::INFINITY];
        let mut draws = Draws(self.seed ^ 1);
        (0..self.thresholds)
            .map(|index| {
                if let Some(edge) = edges.get(index) {
                    return f64::from(*edge);
                }
                let value = f64::from((draws.below(1 << 20) as f32 - 524_288.0) / 4096.0);
                if self.double { value * (1.0 + 1e-12) } else { value }
            })
            .collect()
    }

    pub(super) fn attributes(&self) -> Attributes {
        let mut draws = Draws(self.seed);
        let thresholds = self.thresholds();
        let mut given = Attributes { targets: self.targets, ..Attributes::default() };
        for tree in 0..self.trees {
            self.grow(i64::try_from(tree).expect("few"), &thresholds, &mut draws, &mut given);
        }
        given
    }

    /// Splits random leaves until there are enough, so that trees are neither balanced nor chains.
    fn grow(&self, tree: i64, thresholds: &[f64], draws: &mut Draws, given: &mut Attributes) {
        let first = given.node_ids.len();
        let leaf = |given: &mut Attributes| {
            let id = i64::try_from(given.node_ids.len() - first).expect("few") * 3;
            given.tree_ids.push(tree);
            given.node_ids.push(id);
            given.feature_ids.push(0);
            given.modes.push("LEAF".to_owned());
            given.values.push(0.0);
            given.true_ids.push(0);
            given.false_ids.push(0);
            given.missing_true.push(0);
            id
        };
        leaf(given);
        let mut leaves = vec![first];
        while leaves.len() < self.leaves {
            let at = leaves.swap_remove(draws.below(leaves.len()));
            given.feature_ids[at] = i64::try_from(draws.below(self.features)).expect("few");
            given.modes[at] = draws.pick(self.modes).to_owned();
            given.values[at] = draws.pick(thresholds);
            given.missing_true[at] = i64::try_from(draws.below(2)).expect("a flag");
            for side in [0, 1] {
                leaves.push(given.node_ids.len());
                let id = leaf(given);
                let ids = if side == 0 { &mut given.true_ids } else { &mut given.false_ids };
                ids[at] = id;
            }
        }
        if self.shares_subtrees && self.leaves > 2 {
            given.false_ids[first] = given.true_ids[first];
        }
        let of_tree = draws.below(self.targets);
        for at in leaves {
            let targets = match self.weights {
                Weights::All => (0..self.targets).collect(),
                Weights::OnePerTree => vec![of_tree],
                Weights::OnePerLeaf => vec![draws.below(self.targets)],
            };
            for target in targets {
                given.weight_tree_ids.push(tree);
                given.weight_node_ids.push(given.node_ids[at]);
                given.weight_targets.push(i64::try_from(target).expect("few"));
                given.weights.push(f64::from((draws.below(4096) as f32 - 2048.0) / 1000.0));
            }
        }
    }

    /// Rows full of ties with thresholds, their neighbours, infinities and NaN.
    pub(super) fn rows(&self, rows: usize) -> Vec<f64> {
        let mut draws = Draws(self.seed ^ 2);
        let thresholds = self.thresholds();
        (0..rows * self.features)
            .map(|_| {
                let threshold = draws.pick(&thresholds);
                match draws.below(8) {
                    0 => f64::NAN,
                    1 => f64::NEG_INFINITY,
                    2 => f64::INFINITY,
                    3 => self.neighbours(threshold)[0],
                    4 => self.neighbours(threshold)[1],
                    _ => threshold,
                }
            })
            .collect()
    }
}

pub(super) fn recipe() -> impl Strategy<Value = Recipe> {
    (
        any::<u64>(),
        1..5usize,
        prop_oneof![
            1..20usize,
            1..=300usize,
            select(vec![16usize, 17, 32, 64, 65, 128, 256, 257, 700, 2500])
        ],
        1..5usize,
        1..4usize,
        select(vec![&ORDERS[..], &ORDERS[..], &MODES[..]]),
        select(vec![1usize, 9, 60, 2000]),
        select(vec![Weights::All, Weights::OnePerTree, Weights::OnePerLeaf]),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.3),
    )
        .prop_map(
            |(
                seed,
                trees,
                leaves,
                features,
                targets,
                modes,
                thresholds,
                weights,
                shares_subtrees,
                double,
            )| Recipe {
                seed,
                trees,
                leaves,
                features,
                targets,
                modes,
                thresholds,
                weights,
                shares_subtrees,
                double,
            },
        )
}
