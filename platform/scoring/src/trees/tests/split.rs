//! Ensembles of operator set 5: membership in sets, shared leaves and subtrees, trees that are one leaf.

use proptest::prelude::*;

use super::recipe::Draws;
use super::{assert_kernels_agree, bits, scored};
use crate::scores::PostTransform;
use crate::trees::Model;
use crate::trees::finish::{Aggregate, Finish};
use crate::trees::split::SplitAttributes;
use crate::trees::structure::Precision;

const FEATURES: usize = 3;
/// Members and thresholds: neighbours, both zeros, infinities.
const VALUES: [f64; 10] = [
    f64::NEG_INFINITY,
    -3.5,
    -1.0,
    -0.0,
    0.0,
    1.0,
    1.000_000_119_209_289_6,
    2.0,
    7.0,
    f64::INFINITY,
];

/// A directed graph: each node leads to later nodes or to leaves.
fn attributes(seed: u64, nodes: usize, roots: usize, targets: usize) -> SplitAttributes {
    let mut draws = Draws(seed);
    let leaves = 1 + nodes / 2;
    let integer = |value: usize| i64::try_from(value).expect("small");
    let mut given = SplitAttributes { targets, ..SplitAttributes::default() };
    for node in 0..nodes {
        let mode = draws.below(7);
        given.modes.push(integer(mode));
        given.feature_ids.push(integer(draws.below(FEATURES)));
        given.splits.push(if draws.below(20) == 0 { f64::NAN } else { draws.pick(&VALUES) });
        given.missing_true.push(integer(draws.below(2)));
        if mode == 6 {
            let members = draws.below(6);
            given.members.extend((0..members).map(|_| draws.pick(&VALUES)));
            given.members.push(f64::NAN);
        }
        for side in 0..2 {
            let later = nodes - node - 1;
            let is_leaf = later == 0 || draws.below(4) == 0;
            // Mostly the next few, so that trees are deep and share.
            let id =
                if is_leaf { draws.below(leaves) } else { node + 1 + draws.below(later.min(6)) };
            let (ids, are_leaves) = if side == 0 {
                (&mut given.true_ids, &mut given.true_leaves)
            } else {
                (&mut given.false_ids, &mut given.false_leaves)
            };
            ids.push(integer(id));
            are_leaves.push(i64::from(is_leaf));
        }
    }
    for _ in 0..leaves {
        given.leaf_targets.push(integer(draws.below(targets)));
        given.leaf_weights.push((draws.below(4096) as f64 - 2048.0) / 1024.0);
    }
    given.roots = (0..roots).map(|_| integer(draws.below(nodes.min(5)))).collect();
    given
}

fn rows(seed: u64, count: usize) -> Vec<f64> {
    let mut draws = Draws(!seed);
    (0..count * FEATURES)
        .map(|_| match draws.below(8) {
            0 => f64::NAN,
            1 => f64::from(draws.below(9) as f32 - 1.5),
            _ => draws.pick(&VALUES),
        })
        .collect()
}

/// The sums of a row as the specification reads.
#[allow(clippy::float_cmp, reason = "the operator compares exactly")]
fn sums(given: &SplitAttributes, row: &[f64]) -> Vec<f64> {
    let place = |id: i64| usize::try_from(id).expect("in range");
    let mut sums = vec![0f64; given.targets];
    for root in &given.roots {
        let mut at = place(*root);
        let leaf = loop {
            let value = row[place(given.feature_ids[at])];
            let threshold = given.splits[at];
            let holds = match given.modes[at] {
                0 => value <= threshold,
                1 => value < threshold,
                2 => value >= threshold,
                3 => value > threshold,
                4 => value == threshold,
                5 => value != threshold,
                _ => {
                    let which = given.modes[..at].iter().filter(|mode| **mode == 6).count();
                    let mut sets = given.members.split(|member| member.is_nan());
                    sets.nth(which).expect("a set").contains(&value)
                }
            };
            let holds = holds || (value.is_nan() && given.missing_true[at] == 1);
            let (ids, leaves) = if holds {
                (&given.true_ids, &given.true_leaves)
            } else {
                (&given.false_ids, &given.false_leaves)
            };
            let next = place(ids[at]);
            if leaves[at] == 1 {
                break next;
            }
            at = next;
        };
        sums[place(given.leaf_targets[leaf])] += given.leaf_weights[leaf];
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_kernel_follows_sets_and_shared_subtrees(
        seed in any::<u64>(),
        nodes in prop_oneof![1..4usize, 1..40usize, 200..400usize],
        roots in 1..12usize,
        targets in 1..3usize,
        count in prop_oneof![1..20usize, 500..600usize],
        double in any::<bool>(),
    ) {
        let given = attributes(seed, nodes, roots, targets);
        let precision = if double { Precision::Double } else { Precision::Single };
        let ensemble = given.check(precision).expect("well-formed");
        let finish = Finish::regressor(&ensemble, Aggregate::Sum, vec![], PostTransform::None);
        let model = Model::new(ensemble, finish);
        let values = rows(seed, count);
        let (found, _) = scored(&model, &values, FEATURES);
        // Weights are multiples of 1/1024, so sums are exact in either type.
        let expected: Vec<f64> =
            values.chunks_exact(FEATURES).flat_map(|row| sums(&given, row)).collect();
        prop_assert_eq!(bits(&found), bits(&expected));
        assert_kernels_agree(&model, &values, FEATURES);
    }
}

#[test]
fn what_leads_nowhere_is_refused_by_name() {
    let good = attributes(3, 9, 2, 1);
    let refused = |change: &dyn Fn(&mut SplitAttributes)| {
        let mut given = good.clone();
        change(&mut given);
        given.check(Precision::Single).expect_err("damaged")
    };
    let cycle = refused(&|given| {
        given.roots = vec![0];
        given.true_ids[0] = 0;
        given.true_leaves[0] = 0;
    });
    assert_eq!(cycle, "node 0 is below itself; a tree must not have cycles");
    let leaf = refused(&|given| {
        given.true_ids[0] = 99;
        given.true_leaves[0] = 1;
    });
    assert_eq!(leaf, "node 0 leads to leaf 99, which does not exist");
    let root = refused(&|given| given.roots.push(-1));
    assert_eq!(root, "tree_roots leads to node -1, which does not exist");
    let set = refused(&|given| {
        given.modes = vec![6; 9];
        given.members = vec![1.0, f64::NAN];
    });
    assert_eq!(
        set,
        "membership_values has 1 sets, separated by NaN; expected 9, one for each BRANCH_MEMBER node"
    );
    let target = refused(&|given| given.leaf_targets[1] = 1);
    assert_eq!(target, "leaf 1 has target 1; expected 0 to 0");
}
