//! Exponential, logistic function and hyperbolic tangent without branches, for loops that the compiler
//! turns into vector instructions.
//!
//! Errors against the exact value, over every 427th float: [`exp`] at most 2 units in the last
//! place, [`sigmoid`] and [`tanh`] at most 4. NaN stays NaN; overflow and underflow end in infinity,
//! 0, 1 or -1 as the exact function does.
#![allow(
    clippy::inline_always,
    reason = "each level must compile these loops for its own instructions"
)]

/// Adding and subtracting it rounds a float below 2^22 to an integer, which is then in its low bits.
const ROUND: f32 = 12_582_912.0;
/// The upper 9 bits of ln 2, so that a whole number of them up to 2^15 is exact, and the rest.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Beyond these the result is infinity or 0.
const EXP_MAX: f32 = 89.0;
const EXP_MIN: f32 = -104.0;
/// Below this magnitude the hyperbolic tangent is a polynomial; above, it comes from the exponential.
const TANH_POLYNOMIAL_MAX: f32 = 0.625;

/// e to the power of `x`.
///
/// `x` is split into a whole number of ln 2 and a rest of at most half of it; the rest goes through
/// the polynomial of Cephes' `expf`, the whole number into the exponent, in two halves so that results
/// below the smallest normal number round right.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Comparisons that a NaN fails keep it.
    let x = if x > EXP_MAX { EXP_MAX } else { x };
    let x = if x < EXP_MIN { EXP_MIN } else { x };
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let whole = rounded - ROUND;
    let rest = whole.mul_add(-LN_2_HIGH, x);
    let rest = whole.mul_add(-LN_2_LOW, rest);
    let polynomial = 1.987_569_1e-4f32
        .mul_add(rest, 1.398_199_9e-3)
        .mul_add(rest, 8.333_452e-3)
        .mul_add(rest, 4.166_579_6e-2)
        .mul_add(rest, 1.666_666_5e-1)
        .mul_add(rest, 0.5);
    let power = polynomial.mul_add(rest * rest, rest) + 1.0;
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
    let half = exponent >> 1;
    power * power_of_two(half) * power_of_two(exponent.wrapping_sub(half))
}

/// 2 to a power from -126 to 127; anything for any other power, which only a NaN brings here.
#[inline(always)]
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits((exponent.wrapping_add(127).cast_unsigned()) << 23)
}

/// `1 / (1 + e^-x)`, computed where the exponential cannot overflow and small results keep their digits.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    let power = exp(-x.abs());
    let above = if x < 0.0 { power } else { 1.0 };
    above / (1.0 + power)
}

/// As [`sigmoid`], but the small side is the complement of the large one, as linear classifiers in ONNX
/// Runtime have it.
#[inline(always)]
pub(super) fn logistic(x: f32) -> f32 {
    let upper = 1.0 / (1.0 + exp(-x.abs()));
    if x < 0.0 { 1.0 - upper } else { upper }
}

/// Hyperbolic tangent, after Cephes' `tanhf`.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let magnitude = x.abs();
    let square = x * x;
    let polynomial = (-5.704_988e-3f32)
        .mul_add(square, 2.063_909e-2)
        .mul_add(square, -5.373_971_6e-2)
        .mul_add(square, 1.333_144_2e-1)
        .mul_add(square, -3.333_328e-1);
    let small = (polynomial * square).mul_add(x, x);
    let large = (1.0 - 2.0 / (exp(2.0 * magnitude) + 1.0)).copysign(x);
    if magnitude < TANH_POLYNOMIAL_MAX { small } else { large }
}

#[cfg(test)]
mod tests {
    use super::{exp, sigmoid, tanh};

    /// Largest error in units in the last place of the exact value over every 427th float.
    fn error(function: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        let mut worst = 0f64;
        for bits in (0..=u32::MAX).step_by(427) {
            let x = f32::from_bits(bits);
            if !x.is_finite() {
                continue;
            }
            let (found, exact) = (function(x), exact(f64::from(x)));
            if exact.abs() > f64::from(f32::MAX) {
                assert!(found >= f32::MAX, "at {x}: {found}");
                continue;
            }
            #[allow(clippy::cast_possible_truncation, reason = "the scale of the last place")]
            let nearest = (exact as f32).abs();
            let unit = f64::from(nearest.next_up()) - f64::from(nearest);
            if unit.is_finite() {
                worst = worst.max((f64::from(found) - exact).abs() / unit);
            }
        }
        worst
    }

    #[test]
    fn the_exponential_is_right_to_two_units_in_the_last_place() {
        let worst = error(exp, f64::exp);
        assert!(worst <= 2.0, "{worst}");
        assert!(exp(f32::NAN).is_nan());
        assert_eq!((exp(f32::INFINITY), exp(f32::NEG_INFINITY)), (f32::INFINITY, 0.0));
    }

    #[test]
    fn the_logistic_function_is_right_to_four_units_in_the_last_place() {
        let worst = error(sigmoid, |x| 1.0 / (1.0 + (-x).exp()));
        assert!(worst <= 4.0, "{worst}");
        assert!(sigmoid(f32::NAN).is_nan());
        assert_eq!((sigmoid(f32::INFINITY), sigmoid(f32::NEG_INFINITY)), (1.0, 0.0));
    }

    #[test]
    fn the_hyperbolic_tangent_is_right_to_four_units_in_the_last_place() {
        let worst = error(tanh, f64::tanh);
        assert!(worst <= 4.0, "{worst}");
        assert!(tanh(f32::NAN).is_nan());
        assert_eq!((tanh(f32::INFINITY), tanh(f32::NEG_INFINITY)), (1.0, -1.0));
    }
}
