//! Class probabilities from the decisions between each two classes.

/// Rounds after which the iteration ends whatever its error: so libsvm and ONNX Runtime.
const ROUNDS_MAX: usize = 100;
/// Bounds of a probability between two classes, so that no division by 0 follows.
const PAIR_PROBABILITY: (f32, f32) = (1.0e-7, 1.0 - 1.0e-7);

/// Probability of the first of two classes from their decision, by Platt's sigmoid.
pub(super) fn platt(decision: f32, slope: f32, offset: f32) -> f32 {
    let value = decision * slope + offset;
    let upper = 1.0 / (1.0 + (-value.abs()).exp());
    let probability = 1.0 - if value < 0.0 { 1.0 - upper } else { upper };
    // Not `clamp` by `min` and `max`: NaN has to stay NaN.
    if probability < PAIR_PROBABILITY.0 {
        PAIR_PROBABILITY.0
    } else if probability > PAIR_PROBABILITY.1 {
        PAIR_PROBABILITY.1
    } else {
        probability
    }
}

/// Pairwise coupling: the second method of Wu, Lin and Weng, "Probability estimates for multi-class
/// classification by pairwise coupling" (2004), in 32-bit floats with libsvm's stopping rule.
///
/// `pairs[i * classes + j]` is the probability of class `i` between `i` and `j`; `probabilities` has
/// one value per class. `scratch` is reused between rows.
pub(super) fn couple(pairs: &[f32], probabilities: &mut [f32], scratch: &mut Vec<f32>) {
    let classes = probabilities.len();
    scratch.clear();
    scratch.resize(classes * classes + classes, 0.0);
    let (q, qp) = scratch.split_at_mut(classes * classes);
    for i in 0..classes {
        for j in (0..classes).filter(|j| *j != i) {
            q[i * classes + i] += pairs[j * classes + i] * pairs[j * classes + i];
            q[i * classes + j] = -pairs[j * classes + i] * pairs[i * classes + j];
        }
    }
    probabilities.fill(1.0 / classes as f32);
    let error_max = 0.005 / classes as f32;
    for _ in 0..ROUNDS_MAX {
        let mut total = 0.0;
        for i in 0..classes {
            qp[i] = 0.0;
            for j in 0..classes {
                qp[i] += q[i * classes + j] * probabilities[j];
            }
            total += probabilities[i] * qp[i];
        }
        let error = qp.iter().map(|value| (value - total).abs()).fold(0f32, f32::max);
        if error < error_max {
            break;
        }
        for i in 0..classes {
            let diagonal = q[i * classes + i];
            let step = (-qp[i] + total) / diagonal;
            probabilities[i] += step;
            total = (total + step * (step * diagonal + 2.0 * qp[i])) / (1.0 + step) / (1.0 + step);
            for j in 0..classes {
                qp[j] = (qp[j] + step * q[i * classes + j]) / (1.0 + step);
                probabilities[j] /= 1.0 + step;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{couple, platt};

    #[test]
    fn consistent_pairs_give_back_the_probabilities_that_made_them() {
        let expected = [0.2f32, 0.5, 0.3];
        let pairs: Vec<f32> =
            (0..9).map(|at| expected[at / 3] / (expected[at / 3] + expected[at % 3])).collect();
        let mut found = [0f32; 3];
        couple(&pairs, &mut found, &mut Vec::new());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 5e-3, "{found} for {expected}");
        }
        assert!((found.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_decision_of_zero_without_offset_is_a_toss_up() {
        assert!((platt(0.0, -2.0, 0.0) - 0.5).abs() < 1e-7);
        assert!(platt(1e9, -1.0, 0.0) < 1.0 && platt(-1e9, -1.0, 0.0) > 0.0);
        assert!(platt(f32::NAN, -1.0, 0.0).is_nan());
    }
}
