//! Random ensembles against a walk that is too simple to be wrong, and every kernel against every other.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::select;

use super::bytes::ByteCoded;
use super::finish::{Aggregate, Finish};
use super::listed::Attributes;
use super::real::Real;
use super::structure::Precision;
use super::{Matrix, Model, walk};
use crate::scores::{Labels, PostTransform};

/// Below, at and above a word of rows, a whole block, and several blocks.
const BATCHES: [usize; 7] = [1, 7, 63, 64, 65, 512, 4096];
const ORDERS: [&str; 4] = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"];
const MODES: [&str; 6] =
    ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"];
const TRANSFORMS: [PostTransform; 5] = [
    PostTransform::None,
    PostTransform::Logistic,
    PostTransform::Softmax,
    PostTransform::SoftmaxZero,
    PostTransform::Probit,
];

struct Draws(u64);

impl Draws {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Which targets a leaf has a weight for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weights {
    /// Every target.
    All,
    /// One target per tree, as boosting for classes makes.
    OnePerTree,
    /// One target per leaf, so that a row may end without a weight for a target.
    OnePerLeaf,
}

#[derive(Debug, Clone)]
struct Recipe {
    seed: u64,
    trees: usize,
    leaves: usize,
    features: usize,
    targets: usize,
    modes: &'static [&'static str],
    /// Number of different thresholds: few make ties, many need several code columns.
    thresholds: usize,
    weights: Weights,
    shares_subtrees: bool,
}

impl Recipe {
    fn thresholds(&self) -> Vec<f32> {
        let edges = [0.0, -0.0, f32::MIN_POSITIVE, 1e-45, f32::MAX, f32::MIN, f32::INFINITY];
        let mut draws = Draws(self.seed ^ 1);
        (0..self.thresholds)
            .map(|index| match edges.get(index) {
                Some(edge) => *edge,
                None => (draws.below(1 << 20) as f32 - 524_288.0) / 4096.0,
            })
            .collect()
    }

    fn attributes(&self) -> Attributes {
        let mut draws = Draws(self.seed);
        let thresholds = self.thresholds();
        let mut given = Attributes { targets: self.targets, ..Attributes::default() };
        for tree in 0..self.trees {
            self.grow(i64::try_from(tree).expect("few"), &thresholds, &mut draws, &mut given);
        }
        given
    }

    /// Splits random leaves until there are enough, so that trees are neither balanced nor chains.
    fn grow(&self, tree: i64, thresholds: &[f32], draws: &mut Draws, given: &mut Attributes) {
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
            given.values[at] = f64::from(draws.pick(thresholds));
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
    fn rows(&self, rows: usize) -> Vec<f32> {
        let mut draws = Draws(self.seed ^ 2);
        let thresholds = self.thresholds();
        (0..rows * self.features)
            .map(|_| {
                let threshold = draws.pick(&thresholds);
                match draws.below(8) {
                    0 => f32::NAN,
                    1 => f32::NEG_INFINITY,
                    2 => f32::INFINITY,
                    3 => threshold.next_up(),
                    4 => threshold.next_down(),
                    _ => threshold,
                }
            })
            .collect()
    }

    fn has_equality(given: &Attributes) -> bool {
        given.modes.iter().any(|mode| mode.ends_with("EQ") && !mode.ends_with("_LEQ"))
    }
}

fn recipe() -> impl Strategy<Value = Recipe> {
    (
        any::<u64>(),
        1..5usize,
        prop_oneof![1..20usize, 1..=300usize, select(vec![16usize, 17, 32, 64, 65, 128, 256, 257])],
        1..5usize,
        1..4usize,
        select(vec![&ORDERS[..], &ORDERS[..], &MODES[..]]),
        select(vec![1usize, 9, 60, 2000]),
        select(vec![Weights::All, Weights::OnePerTree, Weights::OnePerLeaf]),
        prop::bool::weighted(0.1),
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
            },
        )
}

/// Follows the attribute lists as the operator's specification reads.
struct Reference<'a> {
    given: &'a Attributes,
    positions: HashMap<(i64, i64), usize>,
    weights: HashMap<(i64, i64), Vec<(usize, f64)>>,
    roots: Vec<usize>,
}

impl<'a> Reference<'a> {
    fn new(given: &'a Attributes) -> Self {
        let keys = given.tree_ids.iter().copied().zip(given.node_ids.iter().copied());
        let mut weights: HashMap<_, Vec<_>> = HashMap::new();
        for (index, weight) in given.weights.iter().enumerate() {
            let target = usize::try_from(given.weight_targets[index]).expect("in range");
            weights
                .entry((given.weight_tree_ids[index], given.weight_node_ids[index]))
                .or_default()
                .push((target, *weight));
        }
        Self {
            given,
            positions: keys.enumerate().map(|(at, key)| (key, at)).collect(),
            weights,
            roots: (0..given.node_ids.len()).filter(|at| given.node_ids[*at] == 0).collect(),
        }
    }

    /// The weights that a row gets for each target, in the order of the trees.
    fn weights(&self, row: &[f32]) -> Vec<Vec<f32>> {
        let given = self.given;
        let mut found = vec![vec![]; given.targets];
        for root in &self.roots {
            let mut at = *root;
            while given.modes[at] != "LEAF" {
                let value = row[usize::try_from(given.feature_ids[at]).expect("in range")];
                let threshold = f32::of(given.values[at]);
                #[allow(clippy::float_cmp, reason = "the operator compares exactly")]
                let holds = match given.modes[at].as_str() {
                    "BRANCH_LEQ" => value <= threshold,
                    "BRANCH_LT" => value < threshold,
                    "BRANCH_GTE" => value >= threshold,
                    "BRANCH_GT" => value > threshold,
                    "BRANCH_EQ" => value == threshold,
                    _ => value != threshold,
                };
                let holds = holds || (value.is_nan() && given.missing_true[at] == 1);
                let next = if holds { given.true_ids[at] } else { given.false_ids[at] };
                at = self.positions[&(given.tree_ids[at], next)];
            }
            for (target, weight) in &self.weights[&(given.tree_ids[at], given.node_ids[at])] {
                found[*target].push(f32::of(*weight));
            }
        }
        found
    }
}

fn bits(scores: &[f32]) -> Vec<u32> {
    scores.iter().map(|score| score.to_bits()).collect()
}

/// Runs an ensemble on the walk and on every level that the machine has; all must agree.
fn assert_kernels_agree(recipe: &Recipe, given: &Attributes, finish: &Finish, batches: &[usize]) {
    let ensemble = given.check(Precision::Single).expect("well-formed");
    let levels = ByteCoded::levels(&ensemble);
    let codable = recipe.leaves <= 256
        && !Recipe::has_equality(given)
        && !(recipe.shares_subtrees && recipe.leaves > 2);
    assert_eq!(
        levels.len(),
        if codable { super::bytes::level_count() } else { 0 },
        "which ensembles run on blocks"
    );
    for &rows in batches {
        let values = recipe.rows(rows);
        let matrix = Matrix { values: &values, width: recipe.features };
        let mut walked = vec![0f32; rows * recipe.targets];
        let mut walked_classes = vec![u32::MAX; rows];
        walk::score(&ensemble, finish, &matrix, rows, &mut walked, &mut walked_classes);
        for program in levels.iter().filter(|_| !finish.needs_presence()) {
            // What a former batch left behind must not show.
            let mut sums = vec![f32::NAN; rows * recipe.targets];
            let mut classes = vec![u32::MAX; rows];
            program.sums(&matrix, rows, &mut sums);
            finish.all(&mut sums, &mut classes);
            assert_eq!(bits(&sums), bits(&walked), "{rows} rows on {program:?}");
            if finish.labels().is_some() {
                assert_eq!(classes, walked_classes, "{rows} rows on {program:?}");
            }
        }
    }
}

fn labels(count: usize) -> Labels {
    Labels::Integers((0..i64::try_from(count).expect("few")).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_ensemble_sums_the_weights_that_a_plain_walk_finds(
        recipe in recipe(),
        rows in select(BATCHES[..6].to_vec()),
        aggregate in select(vec![Aggregate::Sum, Aggregate::Average, Aggregate::Min, Aggregate::Max]),
    ) {
        let given = recipe.attributes();
        let ensemble = given.check(Precision::Single).expect("well-formed");
        let finish = Finish::regressor(&ensemble, aggregate, vec![], PostTransform::None);
        let model = Model::new(ensemble, finish);
        let values = recipe.rows(rows);
        let mut scores = vec![f32::NAN; rows * recipe.targets];
        let matrix = Matrix { values: &values, width: recipe.features };
        model.score(&matrix, rows, &mut scores, &mut []);
        let reference = Reference::new(&given);
        let trees = recipe.trees as f32;
        for (row, found) in values.chunks_exact(recipe.features).zip(scores.chunks_exact(recipe.targets)) {
            let expected: Vec<f32> = reference.weights(row).iter().map(|weights| {
                let sum = weights.iter().fold(0f32, |sum, weight| sum + weight);
                match aggregate {
                    Aggregate::Sum => sum,
                    Aggregate::Average => sum / trees,
                    Aggregate::Min => weights.iter().copied().reduce(f32::min).unwrap_or(0.0),
                    Aggregate::Max => weights.iter().copied().reduce(f32::max).unwrap_or(0.0),
                }
            }).collect();
            prop_assert_eq!(bits(found), bits(&expected), "row {:?}", row);
        }
    }

    #[test]
    fn every_kernel_gives_the_bits_of_the_walk(
        recipe in recipe(),
        rows in select(BATCHES[..6].to_vec()),
        post in select(TRANSFORMS.to_vec()),
        classifies in any::<bool>(),
        base in 0..2usize,
    ) {
        let given = recipe.attributes();
        let ensemble = given.check(Precision::Single).expect("well-formed");
        let base = vec![0.25f64; base * recipe.targets];
        let finish = if classifies {
            Finish::classifier(&ensemble, labels(recipe.targets), base, post)
        } else {
            Finish::regressor(&ensemble, Aggregate::Sum, base, post)
        };
        assert_kernels_agree(&recipe, &given, &finish, &[rows]);
    }
}

#[test]
fn every_kernel_agrees_on_every_batch_size() {
    // Leaf numbers of each size that a kernel looks up in another way, and thresholds of one and several columns.
    for (leaves, thresholds) in [(1, 9), (2, 9), (16, 40), (31, 60), (64, 2000), (256, 2000)] {
        let recipe = Recipe {
            seed: 42 + leaves as u64,
            trees: 3,
            leaves,
            features: 2,
            targets: 2,
            modes: &ORDERS,
            thresholds,
            weights: Weights::All,
            shares_subtrees: false,
        };
        let given = recipe.attributes();
        let ensemble = given.check(Precision::Single).expect("well-formed");
        let finish =
            Finish::classifier(&ensemble, labels(2), vec![0.5, 0.25], PostTransform::Softmax);
        assert_kernels_agree(&recipe, &given, &finish, &BATCHES);
    }
}

#[test]
fn transforms_are_those_of_the_specification() {
    let sums = [-3.0f32, 0.25, 1.5];
    let transformed = |post: PostTransform| {
        let mut scores = sums;
        post.apply(&mut scores);
        scores.map(f64::from)
    };
    let exact = sums.map(f64::from);
    let total: f64 = exact.iter().map(|sum| sum.exp()).sum();
    let close = |found: [f64; 3], expected: [f64; 3]| {
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
        }
    };
    close(transformed(PostTransform::None), exact);
    close(transformed(PostTransform::Logistic), exact.map(|sum| 1.0 / (1.0 + (-sum).exp())));
    close(transformed(PostTransform::Softmax), exact.map(|sum| sum.exp() / total));
    close(transformed(PostTransform::SoftmaxZero), exact.map(|sum| sum.exp() / total));
}
