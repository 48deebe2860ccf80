//! What a model is taken apart into.

mod support;

use cameo_scoring::{ScoringLimits, anatomy};
use support::model;

#[test]
fn the_size_of_every_ensemble_is_told() {
    for (name, trees, depth) in
        [("xgboost_binary", 12, 4), ("forest_words", 6, 5), ("gradient_regressor", 12, 3)]
    {
        let found = anatomy(&model(name), &ScoringLimits::default()).expect(name);
        let [ensemble] = &found.ensembles[..] else { panic!("{name} has one ensemble") };
        assert_eq!((ensemble.trees, ensemble.depth_max), (trees, depth), "{name}");
        assert!(ensemble.leaves_max <= 1 << depth, "{name}: {ensemble:?}");
        assert!((2 * trees..=trees * ensemble.leaves_max).contains(&ensemble.leaves), "{name}");
        assert_eq!(found.bytes, model(name).len());
    }
}

#[test]
fn the_classes_are_told_wherever_the_graph_keeps_them() {
    for (name, classes) in [
        ("forest_words", Some(&["high", "low", "middle"][..])),
        ("logistic_words", Some(&["high", "low", "middle"][..])),
        ("xgboost_three", Some(&["0", "1", "2"][..])),
        ("logistic_binarized", Some(&["0", "1"][..])),
        ("network_binary", Some(&["0", "1"][..])),
        ("gradient_regressor", None),
        ("chain_preprocess", None),
    ] {
        let found = anatomy(&model(name), &ScoringLimits::default()).expect(name);
        let found: Option<Vec<&str>> =
            found.classes.as_ref().map(|classes| classes.iter().map(String::as_str).collect());
        assert_eq!(found.as_deref(), classes, "{name}");
    }
}

#[test]
fn nodes_know_what_they_read_and_give() {
    let found = anatomy(&model("mixed_one_hot"), &ScoringLimits::default()).expect("a model");
    assert_eq!(found.nodes.len(), found.operator_uses.iter().map(|used| used.count).sum::<usize>());
    for (position, node) in found.nodes.iter().enumerate() {
        assert!(node.reads.iter().all(|read| *read < position), "{node:?}");
    }
    let read: Vec<usize> = found.nodes.iter().flat_map(|node| node.inputs.clone()).collect();
    assert!((0..found.signature.inputs.len()).all(|input| read.contains(&input)), "{read:?}");
    let mut given: Vec<usize> = found.nodes.iter().flat_map(|node| node.outputs.clone()).collect();
    given.sort_unstable();
    assert_eq!(given, [0, 1]);
    let scaler = found.operator_uses.iter().find(|used| used.name == "Scaler").expect("it scales");
    assert!(scaler.native, "tract has no Scaler");
}

#[test]
fn a_constant_that_is_not_a_number_is_warned_about() {
    let network = model("network_binary");
    let sound = anatomy(&network, &ScoringLimits::default()).expect("a model");
    assert!(sound.constant_values > 0);
    assert!(!sound.warnings.iter().any(|warning| warning.contains("NaN")), "{:?}", sound.warnings);
    // Where the constants are in the file is looked for.
    let at = (0..network.len() - 4).find(|at| {
        let mut broken = network.clone();
        broken[*at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        anatomy(&broken, &ScoringLimits::default())
            .is_ok_and(|found| found.warnings.iter().any(|warning| warning.contains("holds NaN")))
    });
    assert!(at.is_some(), "no constant was found to break");
}
