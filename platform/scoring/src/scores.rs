//! What classifiers share: class labels and the transform from raw sums to scores.

/// Class labels of a classifier, by class index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Labels {
    Integers(Vec<i64>),
    Strings(Vec<String>),
}

impl Labels {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Integers(labels) => labels.len(),
            Self::Strings(labels) => labels.len(),
        }
    }
}

/// How raw sums become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PostTransform {
    None,
    Logistic,
    Softmax,
    SoftmaxZero,
    Probit,
}

impl PostTransform {
    /// Reads the name of the specification; `None` when there is no such transform.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "NONE" => Self::None,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX" => Self::Softmax,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            _ => return None,
        })
    }

    /// Transforms the scores of one row that has one score per class.
    pub(crate) fn apply(self, scores: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Logistic => scores.iter_mut().for_each(|score| *score = logistic(*score)),
            Self::Softmax => softmax(scores),
            Self::SoftmaxZero => softmax_zero(scores),
            Self::Probit => scores.iter_mut().for_each(|score| *score = probit(*score)),
        }
    }

    /// The two scores of a row whose model gives one sum for two classes.
    ///
    /// The specification leaves this open. ONNX Runtime complements a probability (`complement`,
    /// when every weight is positive or the model is linear) and negates a margin.
    pub(crate) fn apply_to_one(self, sum: f32, complement: bool) -> [f32; 2] {
        match self {
            Self::Logistic => {
                let positive = logistic(sum);
                [if complement { 1.0 - positive } else { logistic(-sum) }, positive]
            }
            Self::Probit => [probit(sum), 0.0],
            _ if complement => [1.0 - sum, sum],
            _ => [-sum, sum],
        }
    }
}

/// Index of the largest score, the first one when several are equal.
pub(crate) fn largest(scores: &[f32]) -> usize {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate().skip(1) {
        if *score > scores[best] {
            best = index;
        }
    }
    best
}

/// Logistic function, computed on the side where the exponential cannot overflow.
fn logistic(sum: f32) -> f32 {
    let upper = 1.0 / (1.0 + (-sum.abs()).exp());
    if sum < 0.0 { 1.0 - upper } else { upper }
}

fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::MIN, f32::max);
    let mut total = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
        total += *score;
    }
    for score in scores {
        *score /= total;
    }
}

/// Softmax in which a score of 0 keeps its weight of 0.
fn softmax_zero(scores: &mut [f32]) {
    /// What counts as 0.
    const ZERO_MAX: f32 = 1e-7;
    let largest = scores.iter().copied().fold(f32::MIN, f32::max);
    let mut total = 0.0;
    for score in scores.iter_mut() {
        if score.abs() > ZERO_MAX {
            *score = (*score - largest).exp();
            total += *score;
        } else {
            *score *= (-largest).exp();
        }
    }
    for score in scores {
        *score /= total;
    }
}

/// Quantile of the standard normal distribution through Winitzki's approximation of the inverse
/// error function with a = 0.147, the one that ONNX Runtime uses.
#[allow(clippy::approx_constant, reason = "ONNX Runtime's pi has six digits")]
fn probit(probability: f32) -> f32 {
    let x = 2.0 * probability - 1.0;
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let half = 2.0 / (3.141_59 * 0.147) + 0.5 * log;
    let inverse = sign * (-half + (half * half - 1.0 / 0.147 * log).sqrt()).sqrt();
    std::f32::consts::SQRT_2 * inverse
}
