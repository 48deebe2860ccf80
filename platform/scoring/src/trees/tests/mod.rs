//! Random ensembles against a walk that is too simple to be wrong, and every kernel against every other.

mod recipe;
mod reference;
mod split;

use proptest::prelude::*;
use proptest::sample::select;

use super::finish::{Aggregate, Finish};
use super::listed::Attributes;
use super::real::Real;
use super::{Matrix, Model, Precision};
use crate::level::Level;
use crate::scores::{Labels, PostTransform};
use recipe::{ORDERS, Recipe, Weights, recipe};
use reference::Reference;

/// Fewer rows than walks in step, below, at and above 64 rows, a whole block, and several blocks.
const BATCHES: [usize; 8] = [1, 7, 9, 63, 65, 512, 700, 4096];
const TRANSFORMS: [PostTransform; 5] = [
    PostTransform::None,
    PostTransform::Logistic,
    PostTransform::Softmax,
    PostTransform::SoftmaxZero,
    PostTransform::Probit,
];

fn bits(scores: &[f64]) -> Vec<u64> {
    scores.iter().map(|score| score.to_bits()).collect()
}

/// Scores and classes of a model over rows of either type.
fn scored(model: &Model, values: &[f64], width: usize) -> (Vec<f64>, Vec<u32>) {
    let rows = values.len() / width;
    // What a former batch left behind must not show.
    let mut scores = vec![f64::NAN; rows * model.width()];
    let mut classes = vec![u32::MAX; if model.labels().is_some() { rows } else { 0 }];
    if model.precision() == Precision::Double {
        let matrix = Matrix { values, width };
        model.score_double(&matrix, rows, &mut scores, &mut classes);
    } else {
        let singles: Vec<f32> = values.iter().map(|value| f32::of(*value)).collect();
        let matrix = Matrix { values: &singles[..], width };
        model.score_double(&matrix, rows, &mut scores, &mut classes);
    }
    (scores, classes)
}

/// Runs an ensemble on every kernel that the machine has; all must give the bits of the plain walk.
fn assert_kernels_agree(model: &Model, values: &[f64], width: usize) {
    let models = model.on_every_kernel();
    assert_eq!(models[0].kernel(), "plain walk");
    let (walked, walked_classes) = scored(&models[0], values, width);
    for model in models[1..].iter().chain([model]) {
        let (scores, classes) = scored(model, values, width);
        assert_eq!(bits(&scores), bits(&walked), "{}", model.kernel());
        assert_eq!(classes, walked_classes, "{}", model.kernel());
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
        let ensemble = given.check(recipe.precision()).expect("well-formed");
        let finish = Finish::regressor(&ensemble, aggregate, vec![], PostTransform::None);
        let model = Model::new(ensemble, finish);
        let values = recipe.rows(rows);
        let (scores, _) = scored(&model, &values, recipe.features);
        let reference = Reference::new(&given);
        for (row, found) in values.chunks_exact(recipe.features).zip(scores.chunks_exact(recipe.targets)) {
            let weights = reference.weights(row);
            let expected: Vec<f64> = match recipe.precision() {
                Precision::Double => weights.iter().map(|weights| aggregated(weights, aggregate, recipe.trees)).collect(),
                Precision::Single => weights.iter().map(|weights| {
                    let singles: Vec<f32> = weights.iter().map(|weight| f32::of(*weight)).collect();
                    aggregated(&singles, aggregate, recipe.trees).double()
                }).collect(),
            };
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
        let ensemble = given.check(recipe.precision()).expect("well-formed");
        let base = vec![0.25; base * recipe.targets];
        let finish = if classifies {
            Finish::classifier(&ensemble, labels(recipe.targets), base, post)
        } else {
            Finish::regressor(&ensemble, Aggregate::Sum, base, post)
        };
        assert_kernels_agree(&Model::new(ensemble, finish), &recipe.rows(rows), recipe.features);
    }
}

/// What weights become of which every one is for the same target.
fn aggregated<S: Real>(weights: &[S], aggregate: Aggregate, trees: usize) -> S {
    let sum = weights.iter().fold(S::default(), |sum, weight| sum + *weight);
    let smaller = |one: S, other: S| if other < one { other } else { one };
    let larger = |one: S, other: S| if other > one { other } else { one };
    match aggregate {
        Aggregate::Sum => sum,
        Aggregate::Average => sum / S::of(trees as f64),
        Aggregate::Min => weights.iter().copied().reduce(smaller).unwrap_or_default(),
        Aggregate::Max => weights.iter().copied().reduce(larger).unwrap_or_default(),
    }
}

#[test]
fn every_kernel_agrees_on_every_batch_size() {
    // Leaf numbers of each size that a kernel looks up in another way, thresholds of one and several
    // columns, and leaves with few and with many targets.
    for (leaves, thresholds, targets) in [
        (1, 9, 2),
        (2, 9, 2),
        (16, 40, 2),
        (31, 60, 5),
        (64, 2000, 2),
        (256, 2000, 2),
        (1500, 2000, 2),
        (1500, 2000, 5),
    ] {
        for double in [false, true] {
            let recipe = Recipe {
                seed: 42 + leaves as u64,
                trees: 11,
                leaves,
                features: 2,
                targets,
                modes: &ORDERS,
                thresholds,
                weights: Weights::All,
                shares_subtrees: false,
                double,
            };
            let ensemble = recipe.attributes().check(recipe.precision()).expect("well-formed");
            let base = vec![0.5; targets];
            let finish =
                Finish::classifier(&ensemble, labels(targets), base, PostTransform::Softmax);
            let model = Model::new(ensemble, finish);
            assert_eq!(
                model.on_every_kernel().len(),
                2 + Level::available().len(),
                "the plain walk, the interleaved one and each level of the bytes"
            );
            for rows in BATCHES {
                assert_kernels_agree(&model, &recipe.rows(rows), recipe.features);
            }
        }
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

#[test]
fn of_several_weights_for_a_lone_target_a_leafs_first_counts() {
    let given = Attributes {
        targets: 1,
        tree_ids: vec![0; 3],
        node_ids: vec![0, 1, 2],
        feature_ids: vec![0; 3],
        modes: ["BRANCH_LEQ", "LEAF", "LEAF"].map(str::to_owned).to_vec(),
        values: vec![0.0; 3],
        true_ids: vec![1, 0, 0],
        false_ids: vec![2, 0, 0],
        missing_true: vec![],
        weight_tree_ids: vec![0; 4],
        weight_node_ids: vec![1, 1, 2, 2],
        weight_targets: vec![0; 4],
        weights: vec![3.0, 3.0, 4.0, 5.0],
    };
    let ensemble = given.check(Precision::Single).expect("well-formed");
    let finish = Finish::regressor(&ensemble, Aggregate::Sum, vec![], PostTransform::None);
    let (scores, _) = scored(&Model::new(ensemble, finish), &[-1.0, 1.0], 1);
    assert_eq!(bits(&scores), bits(&[3.0, 4.0]));
}
