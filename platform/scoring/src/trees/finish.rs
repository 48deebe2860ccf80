//! From sums of leaf weights to scores and labels.
//!
//! The specification says little about two classes and about base values; the rules below are those
//! of ONNX Runtime, found by running it on every combination (`tests/fixtures/ensembles.json`).

use super::real::Real;
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
    base: Vec<f64>,
    post: PostTransform,
    trees: usize,
    targets: usize,
    presence: Vec<Presence>,
    /// Whether every row gets a weight, by target.
    always: Vec<bool>,
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
        base: Vec<f64>,
        post: PostTransform,
    ) -> Self {
        let trees = ensemble.trees.len();
        let presence = presence(ensemble);
        let always = presence.iter().map(|presence| *presence == Presence::Always).collect();
        Self {
            aggregate,
            base,
            post,
            trees,
            targets: ensemble.targets,
            presence,
            always,
            classes: None,
        }
    }

    pub(super) fn classifier(
        ensemble: &Ensemble,
        labels: Labels,
        base: Vec<f64>,
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

    /// Whether a row's scores depend on which targets its leaves have weights for, beyond the sums.
    pub(super) fn needs_presence(&self) -> bool {
        let presence_matters = self.classes.is_some() || self.has_bases();
        matches!(self.aggregate, Aggregate::Min | Aggregate::Max)
            || (presence_matters && self.presence.contains(&Presence::Sometimes))
    }

    /// Finishes whole rows of sums for which presence does not depend on the row.
    pub(super) fn all<S: Real>(&self, scores: &mut [S], chosen: &mut [u32]) {
        let mut narrowed = Vec::new();
        let rows = scores.chunks_exact_mut(self.targets);
        if let Some(classes) = &self.classes {
            for (row, chosen) in rows.zip(chosen) {
                *chosen = self.classify(classes, row, &self.always, &mut narrowed);
            }
        } else {
            rows.for_each(|row| self.regress(row, &self.always, &mut narrowed));
        }
    }

    /// Finishes one row; `present` says which targets got a weight. Gives the class index.
    pub(super) fn row<S: Real>(
        &self,
        row: &mut [S],
        present: &[bool],
        narrowed: &mut Vec<f32>,
    ) -> u32 {
        if let Some(classes) = &self.classes {
            self.classify(classes, row, present, narrowed)
        } else {
            self.regress(row, present, narrowed);
            0
        }
    }

    /// Whether every target has a base value of its own; fewer are ignored, as in ONNX Runtime.
    fn has_bases(&self) -> bool {
        self.base.len() == self.targets
    }

    fn regress<S: Real>(&self, row: &mut [S], present: &[bool], narrowed: &mut Vec<f32>) {
        if self.aggregate == Aggregate::Average {
            let trees = S::of(self.trees as f64);
            for sum in row.iter_mut() {
                *sum = *sum / trees;
            }
        }
        if self.has_bases() {
            // Beside others, a target without a weight stays 0.
            let lone = row.len() == 1;
            for ((sum, base), present) in row.iter_mut().zip(&self.base).zip(present) {
                if lone || *present {
                    *sum += S::of(*base);
                }
            }
        }
        // One target knows no transform but the probit, whatever the attribute says.
        if row.len() > 1 || self.post == PostTransform::Probit {
            S::transform(self.post, row, narrowed);
        }
    }

    fn classify<S: Real>(
        &self,
        classes: &Classes,
        row: &mut [S],
        present: &[bool],
        narrowed: &mut Vec<f32>,
    ) -> u32 {
        match row {
            [sum] => {
                self.regress(std::slice::from_mut(sum), present, narrowed);
                0
            }
            [negative, positive] => {
                let sums = [*negative, *positive];
                let (scores, chosen) =
                    self.two_classes(classes, sums, [present[0], present[1]], narrowed);
                [*negative, *positive] = scores;
                chosen
            }
            many => self.many_classes(many, present, narrowed),
        }
    }

    fn many_classes<S: Real>(
        &self,
        row: &mut [S],
        present: &[bool],
        narrowed: &mut Vec<f32>,
    ) -> u32 {
        row.iter_mut().zip(&self.base).for_each(|(sum, base)| *sum += S::of(*base));
        let counts = |class: usize| present[class] || class < self.base.len();
        let mut best = None;
        for class in (0..row.len()).filter(|class| counts(*class)) {
            if best.is_none_or(|best: usize| row[class] > row[best]) {
                best = Some(class);
            }
        }
        S::transform(self.post, row, narrowed);
        index(best.unwrap_or(0))
    }

    fn two_classes<S: Real>(
        &self,
        classes: &Classes,
        sums: [S; 2],
        present: [bool; 2],
        narrowed: &mut Vec<f32>,
    ) -> ([S; 2], u32) {
        let [mut negative, mut positive] = sums;
        let mut only_first = false;
        match (&self.base[..], present[1]) {
            (&[_, base], true) => {
                positive = S::of(base) + negative;
                negative = if present[0] { -positive } else { S::default() };
            }
            (&[base, _], false) => negative += S::of(base),
            (base, has_second) => {
                if let (&[base], true) = (base, present[0]) {
                    negative += S::of(base);
                }
                only_first = !has_second;
            }
        }
        let deciding = if present[1] { positive } else { negative };
        let half = classes.one_weight_for_two && classes.all_weights_positive;
        let chosen = u32::from(deciding > S::of(if half { 0.5 } else { 0.0 }));
        if only_first {
            return (S::transform_one(self.post, negative, half), chosen);
        }
        let mut scores = [negative, positive];
        S::transform(self.post, &mut scores, narrowed);
        (scores, chosen)
    }
}

/// A score before its transform, as a weighted sum over the targets of the trees.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Margin {
    /// By target.
    pub(crate) weights: Vec<f64>,
    pub(crate) offset: f64,
    /// Whether the score is this sum after a transform.
    pub(crate) is_transformed: bool,
}

impl Finish {
    /// The rules above for one score, where they are linear in the sums for every row.
    pub(super) fn margin(&self, score: usize) -> Option<Margin> {
        if score >= self.targets || self.needs_presence() {
            return None;
        }
        let transforms = self.post != PostTransform::None;
        let of = |target: usize, weight: f64, offset: f64, is_transformed: bool| {
            let mut weights = vec![0.0; self.targets];
            weights[target] = weight;
            Some(Margin { weights, offset, is_transformed })
        };
        let always = |target: usize| self.presence[target] == Presence::Always;
        match &self.classes {
            Some(_) if self.targets > 2 => {
                of(score, 1.0, self.base.get(score).copied().unwrap_or(0.0), transforms)
            }
            Some(classes) if self.targets == 2 => {
                let sign = if score == 1 { 1.0 } else { -1.0 };
                match (&self.base[..], always(0), always(1)) {
                    (&[_, base], both, true) => {
                        (score == 1 || both).then(|| of(0, sign, sign * base, transforms))?
                    }
                    (&[_, _], ..) => None,
                    (base, has_first, has_second) => {
                        let base = base.first().copied().filter(|_| has_first).unwrap_or(0.0);
                        if has_second {
                            let base = if score == 0 { base } else { 0.0 };
                            return of(score, 1.0, base, transforms);
                        }
                        let half = classes.one_weight_for_two && classes.all_weights_positive;
                        match self.post {
                            PostTransform::Probit => None,
                            PostTransform::Logistic => of(0, sign, sign * base, true),
                            // Complemented: the first score is 1 - the second.
                            _ if half && score == 0 => of(0, -1.0, 1.0 - base, false),
                            _ => of(0, sign, sign * base, false),
                        }
                    }
                }
            }
            _ => {
                let average = self.aggregate == Aggregate::Average;
                let weight = if average { 1.0 / self.trees as f64 } else { 1.0 };
                let lone = self.targets == 1;
                let offset = if self.has_bases() && (lone || always(score)) {
                    self.base[score]
                } else {
                    0.0
                };
                let transforms = transforms && (!lone || self.post == PostTransform::Probit);
                of(score, weight, offset, transforms)
            }
        }
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
