//! From sums of leaf weights to scores and labels.
//!
//! The specification says little about two classes and about base values; the rules below are those
//! of ONNX Runtime, found by running it on every combination (`tests/fixtures/ensembles.json`).

use super::structure::Ensemble;
use crate::scores::{Labels, PostTransform};

/// How the weights of several trees become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

impl Aggregate {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "SUM" => Self::Sum,
            "AVERAGE" => Self::Average,
            "MIN" => Self::Min,
            "MAX" => Self::Max,
            _ => return None,
        })
    }
}

/// Which targets a row has got a weight for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Always,
    Never,
    /// It depends on the leaves that the row reaches.
    Sometimes,
}

/// The rules for the outputs of one ensemble.
#[derive(Debug, Clone)]
pub(super) struct Finish {
    pub(super) aggregate: Aggregate,
    base: Vec<f32>,
    post: PostTransform,
    trees: f32,
    targets: usize,
    presence: Vec<Presence>,
    classes: Option<Classes>,
}

#[derive(Debug, Clone)]
struct Classes {
    labels: Labels,
    /// Two classes, but every weight is for one and the same.
    one_weight_for_two: bool,
    all_weights_positive: bool,
}

impl Finish {
    pub(super) fn regressor(
        ensemble: &Ensemble,
        aggregate: Aggregate,
        base: Vec<f32>,
        post: PostTransform,
    ) -> Self {
        let trees = ensemble.trees.len() as f32;
        let presence = presence(ensemble);
        Self { aggregate, base, post, trees, targets: ensemble.targets, presence, classes: None }
    }

    pub(super) fn classifier(
        ensemble: &Ensemble,
        labels: Labels,
        base: Vec<f32>,
        post: PostTransform,
    ) -> Self {
        let weights = || ensemble.trees.iter().flat_map(|tree| tree.leaves.iter().flatten());
        let first = weights().next().map(|weight| weight.target);
        let classes = Classes {
            one_weight_for_two: labels.len() == 2
                && weights().all(|weight| Some(weight.target) == first),
            all_weights_positive: weights().all(|weight| weight.value >= 0.0),
            labels,
        };
        Self { classes: Some(classes), ..Self::regressor(ensemble, Aggregate::Sum, base, post) }
    }

    pub(super) fn labels(&self) -> Option<&Labels> {
        self.classes.as_ref().map(|classes| &classes.labels)
    }

    /// Whether only the walk keeps what these rules need.
    pub(super) fn needs_walk(&self) -> bool {
        let presence_matters = self.classes.is_some() || self.has_bases();
        matches!(self.aggregate, Aggregate::Min | Aggregate::Max)
            || (presence_matters && self.presence.contains(&Presence::Sometimes))
    }

    /// Finishes whole rows of sums for which presence does not depend on the row.
    pub(super) fn all(&self, scores: &mut [f32], chosen: &mut [u32]) {
        let always: Vec<bool> =
            self.presence.iter().map(|presence| *presence == Presence::Always).collect();
        let Some(classes) = &self.classes else {
            scores.chunks_exact_mut(self.targets).for_each(|row| self.regress(row, &always));
            return;
        };
        for (row, chosen) in scores.chunks_exact_mut(self.targets).zip(chosen) {
            *chosen = self.classify(classes, row, &always);
        }
    }

    /// Finishes one row; `present` says which targets got a weight. Gives the class index.
    pub(super) fn row(&self, row: &mut [f32], present: &[bool]) -> u32 {
        if let Some(classes) = &self.classes {
            self.classify(classes, row, present)
        } else {
            self.regress(row, present);
            0
        }
    }

    /// Whether every target has a base value of its own; fewer are ignored, as in ONNX Runtime.
    fn has_bases(&self) -> bool {
        self.base.len() == self.targets
    }

    fn regress(&self, row: &mut [f32], present: &[bool]) {
        if self.aggregate == Aggregate::Average {
            for sum in row.iter_mut() {
                *sum /= self.trees;
            }
        }
        if self.has_bases() {
            // Beside others, a target without a weight stays 0.
            let lone = row.len() == 1;
            for ((sum, base), present) in row.iter_mut().zip(&self.base).zip(present) {
                if lone || *present {
                    *sum += base;
                }
            }
        }
        // One target knows no transform but the probit, whatever the attribute says.
        if row.len() > 1 || self.post == PostTransform::Probit {
            self.post.apply(row);
        }
    }

    fn classify(&self, classes: &Classes, row: &mut [f32], present: &[bool]) -> u32 {
        match row {
            [sum] => {
                self.regress(std::slice::from_mut(sum), present);
                0
            }
            [negative, positive] => {
                let (scores, chosen) =
                    self.two_classes(classes, [*negative, *positive], [present[0], present[1]]);
                [*negative, *positive] = scores;
                chosen
            }
            many => self.many_classes(many, present),
        }
    }

    fn many_classes(&self, row: &mut [f32], present: &[bool]) -> u32 {
        row.iter_mut().zip(&self.base).for_each(|(sum, base)| *sum += base);
        let counts = |class: usize| present[class] || class < self.base.len();
        let mut best = None;
        for class in (0..row.len()).filter(|class| counts(*class)) {
            if best.is_none_or(|best: usize| row[class] > row[best]) {
                best = Some(class);
            }
        }
        self.post.apply(row);
        index(best.unwrap_or(0))
    }

    fn two_classes(
        &self,
        classes: &Classes,
        sums: [f32; 2],
        present: [bool; 2],
    ) -> ([f32; 2], u32) {
        let [mut negative, mut positive] = sums;
        let mut only_first = false;
        match (&self.base[..], present[1]) {
            (&[_, base], true) => {
                positive = base + negative;
                negative = if present[0] { -positive } else { 0.0 };
            }
            (&[base, _], false) => negative += base,
            (base, has_second) => {
                if let (&[base], true) = (base, present[0]) {
                    negative += base;
                }
                only_first = !has_second;
            }
        }
        let deciding = if present[1] { positive } else { negative };
        let half = classes.one_weight_for_two && classes.all_weights_positive;
        let chosen = u32::from(deciding > if half { 0.5 } else { 0.0 });
        if only_first {
            return (self.post.apply_to_one(negative, half), chosen);
        }
        let mut scores = [negative, positive];
        self.post.apply(&mut scores);
        (scores, chosen)
    }
}

/// For each target, whether every row, no row or some rows get a weight.
fn presence(ensemble: &Ensemble) -> Vec<Presence> {
    let mut presence = vec![Presence::Never; ensemble.targets];
    for tree in &ensemble.trees {
        let mut leaves_with = vec![0usize; ensemble.targets];
        for leaf in &tree.leaves {
            let mut targets: Vec<u32> = leaf.iter().map(|weight| weight.target).collect();
            targets.sort_unstable();
            targets.dedup();
            for target in targets {
                leaves_with[target as usize] += 1;
            }
        }
        for (presence, leaves_with) in presence.iter_mut().zip(leaves_with) {
            *presence = match (*presence, leaves_with) {
                (_, all) if all == tree.leaves.len() => Presence::Always,
                (Presence::Never, 1..) => Presence::Sometimes,
                (before, _) => before,
            };
        }
    }
    presence
}

fn index(class: usize) -> u32 {
    u32::try_from(class).unwrap_or(u32::MAX)
}
