//! The error function in 64-bit floats, which neither tract nor the standard library has.

use std::sync::LazyLock;

/// From here on the error function differs from 1 by less than half a step of a 64-bit float.
const SATURATED: f64 = 6.0;
/// Steps of the table for 32 bits, up to [`SATURATED`].
const STEPS: u16 = 384;
/// Terms of the series after which every term is below the precision for |x| < [`SATURATED`].
const TERMS_MAX: u32 = 200;

/// 2/√π times the integral of exp(-t²) from 0 to `x`, to about 2e-15 relative.
///
/// Kummer's series (Abramowitz and Stegun 7.1.6) has positive terms only, so nothing cancels.
pub(super) fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x.abs() >= SATURATED {
        return x.signum();
    }
    let square = x * x;
    let (mut term, mut sum) = (x, x);
    for index in 1..TERMS_MAX {
        term *= 2.0 * square / f64::from(2 * index + 1);
        sum += term;
        if term.abs() <= f64::EPSILON * 0.25 * sum.abs() {
            break;
        }
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-square).exp() * sum
}

/// Distance between the places at which the table holds the function and its slope.
const STEP: f64 = 1.0 / 64.0;

/// The same for 32 bits, by cubic interpolation in a table: to 2e-9 absolute and as much relative.
pub(super) fn erf_single(x: f32) -> f32 {
    static TABLE: LazyLock<Vec<(f64, f64)>> = LazyLock::new(|| {
        (0..=u32::from(STEPS))
            .map(|index| {
                let at = f64::from(index) * STEP;
                (erf(at), std::f64::consts::FRAC_2_SQRT_PI * (-at * at).exp() * STEP)
            })
            .collect()
    });
    if x.is_nan() {
        return x;
    }
    let places = f64::from(x.abs()) / STEP;
    if places >= f64::from(STEPS) {
        return x.signum();
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to STEPS")]
    let index = places as usize;
    let t = places - places.floor();
    let ((left, left_slope), (right, right_slope)) = (TABLE[index], TABLE[index + 1]);
    let square = (3.0 * (right - left) - 2.0 * left_slope - right_slope) * t * t;
    let cube = (2.0 * (left - right) + left_slope + right_slope) * t * t * t;
    #[allow(clippy::cast_possible_truncation, reason = "the result is a 32-bit float")]
    let value = (left + left_slope * t + square + cube) as f32;
    value.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::{erf, erf_single};

    #[test]
    fn the_table_of_32_bits_agrees_with_the_series() {
        for index in -7000i16..=7000 {
            let x = f32::from(index) / 1013.0;
            let expected = erf(f64::from(x));
            let error = (f64::from(erf_single(x)) - expected).abs();
            assert!(error <= 6.1e-8 * expected.abs() + 1e-12, "{x}: {error}");
        }
        assert!(erf_single(f32::NAN).is_nan());
    }

    /// Values of Abramowitz and Stegun, table 7.1, and beyond.
    #[test]
    fn it_agrees_with_the_printed_table() {
        for (x, expected) in [
            (0.0, 0.0),
            (0.1, 0.112_462_916_018_284_9),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.5, 0.999_999_256_901_627_7),
            (5.9, 1.0),
            (7.0, 1.0),
            (f64::INFINITY, 1.0),
        ] {
            assert!((erf(x) - expected).abs() <= 8.0 * f64::EPSILON, "{x}: {}", erf(x));
            assert!((erf(-x) + expected).abs() <= 8.0 * f64::EPSILON, "-{x}: {}", erf(-x));
        }
        assert!(erf(f64::NAN).is_nan());
    }
}
