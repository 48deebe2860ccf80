//! Ranks of values among thresholds, as bytes.

use super::program::Column;
use super::{BLOCK_ROWS, Codes};
use crate::level::Level;

/// Writes the codes of one feature's values into all of its code columns.
pub(super) fn column(
    column: &Column,
    values: &[f32; BLOCK_ROWS],
    codes: &mut [Codes],
    level: Level,
) {
    let mut ranks = [0u16; BLOCK_ROWS];
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => super::x86::ranks(&column.thresholds, values, &mut ranks),
        _ => self::ranks(&column.thresholds, values, &mut ranks),
    }
    let has_missing = values.iter().any(|value| value.is_nan());
    for to in &column.codes {
        let start = u16::try_from(to.segment * 255).unwrap_or(u16::MAX);
        let codes = &mut codes[to.at];
        for (code, rank) in codes.iter_mut().zip(&ranks) {
            #[allow(clippy::cast_possible_truncation, reason = "clamped to a byte")]
            {
                *code = rank.saturating_sub(start).min(255) as u8;
            }
        }
        if has_missing {
            for (code, value) in codes.iter_mut().zip(values) {
                if value.is_nan() {
                    *code = to.missing;
                }
            }
        }
    }
}

/// Number of thresholds strictly below each value, by a binary search without branches that all
/// rows make in step. NaN gets 0.
fn ranks(thresholds: &[f32], values: &[f32; BLOCK_ROWS], ranks: &mut [u16; BLOCK_ROWS]) {
    let mut below = [0u32; BLOCK_ROWS];
    let mut length = thresholds.len();
    #[allow(clippy::cast_possible_truncation, reason = "a feature has at most 65,535 thresholds")]
    while length > 1 {
        let half = length / 2;
        for (below, value) in below.iter_mut().zip(values) {
            let probe = thresholds[*below as usize + half - 1];
            *below += if probe < *value { half as u32 } else { 0 };
        }
        length -= half;
    }
    for ((rank, below), value) in ranks.iter_mut().zip(below).zip(values) {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "a feature has at most 65,535 thresholds"
        )]
        {
            *rank = below as u16 + u16::from(thresholds[below as usize] < *value);
        }
    }
}
