//! Every tree as comparisons of order: the form that fast kernels compile.
//!
//! Any node of the operators asks whether a feature lies in certain intervals, so it becomes one
//! `feature > threshold`, or for equality and membership a small balanced tree of them, with the side
//! of NaN at each. Both outcomes of such a small tree lead to the same two children again.

use super::real::Real;
use super::structure::{Child, Ensemble, Mode, Node, Precision, Tree};

/// A node as `feature > threshold`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    pub(super) feature: u32,
    /// Not NaN and not -0.
    pub(super) threshold: f64,
    /// Whether NaN passes as if it were above.
    pub(super) missing_passes: bool,
    /// Where a value at or below the threshold goes; a node is an index in [`OrderedTree::splits`].
    pub(super) otherwise: Child,
    /// Where a value above the threshold goes.
    pub(super) then: Child,
}

/// A tree of [`Split`]s with the leaves of the tree that it was made from.
#[derive(Debug)]
pub(super) struct OrderedTree {
    pub(super) root: Child,
    /// Children before their parents.
    pub(super) splits: Vec<Split>,
}

impl OrderedTree {
    pub(super) fn of(ensemble: &Ensemble, tree: &Tree) -> Self {
        let mut ordered =
            Self { root: Child::Leaf(0), splits: Vec::with_capacity(tree.nodes.len()) };
        // What each node of the tree became.
        let mut became: Vec<Option<Child>> = vec![None; tree.nodes.len()];
        let mut open = vec![tree.root];
        while let Some(child) = open.last().copied() {
            let Child::Node(at) = child else {
                open.pop();
                continue;
            };
            let node = &tree.nodes[at as usize];
            let resolved = |child| match child {
                Child::Leaf(_) => Some(child),
                Child::Node(below) => became[below as usize],
            };
            match (became[at as usize], resolved(node.on_true), resolved(node.on_false)) {
                (Some(_), _, _) => {
                    open.pop();
                }
                (None, Some(on_true), Some(on_false)) => {
                    became[at as usize] = Some(ordered.add(ensemble, node, on_true, on_false));
                    open.pop();
                }
                _ => open.extend([node.on_false, node.on_true]),
            }
        }
        ordered.root = match tree.root {
            Child::Leaf(_) => tree.root,
            Child::Node(root) => became[root as usize].unwrap_or(Child::Leaf(0)),
        };
        ordered
    }

    fn add(&mut self, ensemble: &Ensemble, node: &Node, on_true: Child, on_false: Child) -> Child {
        if on_true == on_false {
            return on_true;
        }
        let intervals = Intervals::of(ensemble, node);
        let missing = Some(node.missing_true || node.mode == Mode::NotEqual);
        let outcome = |holds: bool| if holds { on_true } else { on_false };
        self.balanced(node.feature, &intervals.bounds, &intervals.holds, missing, &outcome)
    }

    /// A balanced tree over intervals. `missing` is the outcome that NaN must reach, `None` where NaN
    /// cannot arrive.
    fn balanced(
        &mut self,
        feature: u32,
        bounds: &[f64],
        holds: &[bool],
        missing: Option<bool>,
        outcome: &impl Fn(bool) -> Child,
    ) -> Child {
        if bounds.is_empty() {
            return match missing {
                // Nothing is above infinity but a NaN that passes.
                Some(missing) if missing != holds[0] => self.push(Split {
                    feature,
                    threshold: f64::INFINITY,
                    missing_passes: true,
                    otherwise: outcome(holds[0]),
                    then: outcome(missing),
                }),
                _ => outcome(holds[0]),
            };
        }
        let middle = bounds.len() / 2;
        let (low, high) = holds.split_at(middle + 1);
        let missing_passes = missing.is_some_and(|missing| !low.contains(&missing));
        let (low_missing, high_missing) =
            if missing_passes { (None, missing) } else { (missing, None) };
        let otherwise = self.balanced(feature, &bounds[..middle], low, low_missing, outcome);
        let then = self.balanced(feature, &bounds[middle + 1..], high, high_missing, outcome);
        let threshold = bounds[middle] + 0.0;
        self.push(Split { feature, threshold, missing_passes, otherwise, then })
    }

    fn push(&mut self, split: Split) -> Child {
        self.splits.push(split);
        // A tree has fewer than 2^26 nodes, and a set fewer members than the file has bytes.
        Child::Node(u32::try_from(self.splits.len() - 1).unwrap_or(u32::MAX))
    }
}

/// The line of numbers cut at `bounds`, each of which belongs to the interval below it, and whether
/// the comparison holds in each interval.
struct Intervals {
    bounds: Vec<f64>,
    holds: Vec<bool>,
}

impl Intervals {
    fn of(ensemble: &Ensemble, node: &Node) -> Self {
        let single = std::slice::from_ref(&node.threshold);
        let below = |value: f64| match ensemble.precision {
            Precision::Single => f32::of(value).next_down().double(),
            Precision::Double => value.next_down(),
        };
        if node.threshold.is_nan() && !matches!(node.mode, Mode::Member(_)) {
            return Self { bounds: vec![], holds: vec![node.mode == Mode::NotEqual] };
        }
        match node.mode {
            Mode::LessOrEqual => Self::up_to(Some(node.threshold), true),
            Mode::Greater => Self::up_to(Some(node.threshold), false),
            Mode::Less | Mode::GreaterOrEqual => {
                let bound = (node.threshold != f64::NEG_INFINITY).then(|| below(node.threshold));
                Self::up_to(bound, node.mode == Mode::Less)
            }
            Mode::Equal => Self::members(single, below, true),
            Mode::NotEqual => Self::members(single, below, false),
            Mode::Member(set) => Self::members(&ensemble.sets[set as usize], below, true),
        }
    }

    /// Holds (or not) up to a bound, and not (or does) above it; no value is below a missing bound.
    fn up_to(bound: Option<f64>, holds: bool) -> Self {
        match bound {
            Some(bound) => Self { bounds: vec![bound], holds: vec![holds, !holds] },
            None => Self { bounds: vec![], holds: vec![!holds] },
        }
    }

    /// Holds (or not) at the values of a sorted set and nowhere else.
    fn members(set: &[f64], below: impl Fn(f64) -> f64, holds: bool) -> Self {
        let mut found = Self { bounds: vec![], holds: vec![!holds] };
        for member in set {
            if *member == f64::NEG_INFINITY {
                found.holds = vec![holds];
            } else if found.bounds.last() == Some(&below(*member)) {
                // The neighbour of the former member: one interval for both.
                found.bounds.pop();
                found.holds.pop();
            } else {
                found.bounds.push(below(*member));
                found.holds.push(holds);
            }
            if *member < f64::INFINITY {
                found.bounds.push(*member);
                found.holds.push(!holds);
            }
        }
        found
    }
}
