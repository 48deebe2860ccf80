//! Floats as integers of the same order, so that NaN and -0 need no thought per comparison.

use super::bytes::Weighted;

/// A float type whose values have integer keys.
pub(super) trait Keyed: Weighted {
    type Key: Copy + std::fmt::Debug + Ord + Default + Send + Sync + 'static;

    /// Above the key of every value; also the key of a NaN that passes every comparison.
    const HIGHEST: Self::Key;
    /// Below the key of every value; also the key of a NaN that passes none.
    const LOWEST: Self::Key;

    /// An integer that is greater than another's exactly if the value is. Not for NaN.
    fn key(self) -> Self::Key;
}

impl Keyed for f32 {
    type Key = i32;

    const HIGHEST: i32 = i32::MAX;
    const LOWEST: i32 = i32::MIN;

    fn key(self) -> i32 {
        // Adding 0 makes one zero of two. Negative floats are ordered by magnitude: turn theirs round.
        let bits = (self + 0.0).to_bits().cast_signed();
        bits ^ ((bits >> 31) & i32::MAX)
    }
}

impl Keyed for f64 {
    type Key = i64;

    const HIGHEST: i64 = i64::MAX;
    const LOWEST: i64 = i64::MIN;

    fn key(self) -> i64 {
        let bits = (self + 0.0).to_bits().cast_signed();
        bits ^ ((bits >> 63) & i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_their_values() {
        let ascending = [
            f32::NEG_INFINITY,
            f32::MIN,
            -1.5,
            -1e-45,
            0.0,
            1e-45,
            1.0,
            1.5,
            f32::MAX,
            f32::INFINITY,
        ];
        assert!(ascending.windows(2).all(|pair| pair[0].key() < pair[1].key()));
        assert!(
            ascending.windows(2).all(|pair| f64::from(pair[0]).key() < f64::from(pair[1]).key())
        );
        assert_eq!((-0.0f32).key(), 0.0f32.key());
        assert_eq!((-0.0f64).key(), 0.0f64.key());
        assert!(f32::LOWEST < f32::NEG_INFINITY.key() && f32::INFINITY.key() < f32::HIGHEST);
        assert!(f64::LOWEST < f64::NEG_INFINITY.key() && f64::INFINITY.key() < f64::HIGHEST);
    }
}
