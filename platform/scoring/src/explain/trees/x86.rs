//! The evaluation of a tree with AVX2 and AVX-512.
//!
//! Plain loops are compiled again for the wider registers; only the look-up needs to be spelled out,
//! since a compiler does not find that a table fits registers.

#![allow(
    unsafe_code,
    reason = "measured kernels: loads, gathers and calls behind run-time detection"
)]

use std::arch::x86_64::{
    _mm_loadu_si128, _mm512_add_ps, _mm512_cvtepu8_epi32, _mm512_i32gather_ps, _mm512_loadu_ps,
    _mm512_mask_blend_ps, _mm512_or_si512, _mm512_permutex2var_ps, _mm512_permutexvar_ps,
    _mm512_set1_epi32, _mm512_setzero_ps, _mm512_slli_epi32, _mm512_storeu_ps,
    _mm512_test_epi32_mask,
};

use super::table::{Index, Tables};
use super::{BLOCK_ROWS, Scratch, Sums, TreeShap, Way, portable};
use crate::columns::Float;
use crate::trees::structure::Tree;

pub(super) fn avx2<T: Float + PartialOrd>(
    shap: &TreeShap,
    tree: &Tree,
    way: &Way,
    at: usize,
    values: &[[T; BLOCK_ROWS]],
    rows: usize,
    scratch: &mut Scratch,
) {
    // SAFETY: `Level::Avx2` exists only where detection found AVX2.
    unsafe { tree_avx2(shap, tree, way, at, values, rows, scratch) }
}

pub(super) fn avx512<T: Float + PartialOrd>(
    shap: &TreeShap,
    tree: &Tree,
    way: &Way,
    at: usize,
    values: &[[T; BLOCK_ROWS]],
    rows: usize,
    scratch: &mut Scratch,
) {
    // SAFETY: `Level::Avx512` exists only where detection found AVX-512 F, BW, DQ and VL.
    unsafe { tree_avx512(shap, tree, way, at, values, rows, scratch) }
}

#[target_feature(enable = "avx2")]
fn tree_avx2<T: Float + PartialOrd>(
    shap: &TreeShap,
    tree: &Tree,
    way: &Way,
    at: usize,
    values: &[[T; BLOCK_ROWS]],
    rows: usize,
    scratch: &mut Scratch,
) {
    portable::tree(shap, tree, way, at, values, rows, scratch);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn tree_avx512<T: Float + PartialOrd>(
    shap: &TreeShap,
    tree: &Tree,
    way: &Way,
    at: usize,
    values: &[[T; BLOCK_ROWS]],
    rows: usize,
    scratch: &mut Scratch,
) {
    portable::hold(shap, tree, values, scratch);
    match way {
        Way::Table(tables) => {
            add(tables, &scratch.holds, &mut scratch.index, rows, &mut scratch.sums);
        }
        _ => portable::compute(way, at, rows, scratch),
    }
}

/// As [`super::table::add`], 16 rows at a time. Rows beyond `rows` up to a multiple of 16 get sums
/// too, which nobody reads.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn add(
    tables: &Tables,
    holds: &[super::conditions::Holds],
    index: &mut Index,
    rows: usize,
    sums: &mut [Sums],
) {
    for unit in &tables.units {
        index.fill(unit, holds);
        let entries = tables.entries[unit.start..].chunks_exact(unit.stride);
        for (player, entries) in unit.players.iter().zip(entries) {
            look_up(entries, unit.bits.len(), index, rows, &mut sums[*player]);
        }
    }
}

/// Tables of up to 64 entries are looked up in registers, larger ones in memory.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn look_up(entries: &[f32], bits: usize, index: &Index, rows: usize, sums: &mut Sums) {
    let (registers, _) = entries.as_chunks::<16>();
    let register = |at: usize| match registers.get(at) {
        // SAFETY: the array has the 16 floats that are read.
        Some(entries) => unsafe { _mm512_loadu_ps(entries.as_ptr()) },
        None => _mm512_setzero_ps(),
    };
    let loaded = [register(0), register(1), register(2), register(3)];
    let (low, _) = index.low.as_chunks::<16>();
    let (high, _) = index.high.as_chunks::<16>();
    let (sums, _) = sums.as_chunks_mut::<16>();
    for ((low, high), sums) in low.iter().zip(high).zip(sums).take(rows.div_ceil(16)) {
        // SAFETY: the array has the 16 bytes that are read.
        let low = _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(low.as_ptr().cast()) });
        let found = match bits {
            0..=4 => _mm512_permutexvar_ps(low, loaded[0]),
            5 => _mm512_permutex2var_ps(loaded[0], low, loaded[1]),
            6 => _mm512_mask_blend_ps(
                _mm512_test_epi32_mask(low, _mm512_set1_epi32(32)),
                _mm512_permutex2var_ps(loaded[0], low, loaded[1]),
                _mm512_permutex2var_ps(loaded[2], low, loaded[3]),
            ),
            // SAFETY: the index has as many bits as the table, which has an entry for each.
            7 | 8 => unsafe { _mm512_i32gather_ps::<4>(low, entries.as_ptr()) },
            _ => {
                // SAFETY: the array has the 16 bytes that are read.
                let high = _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(high.as_ptr().cast()) });
                let both = _mm512_or_si512(low, _mm512_slli_epi32::<8>(high));
                // SAFETY: as above.
                unsafe { _mm512_i32gather_ps::<4>(both, entries.as_ptr()) }
            }
        };
        // SAFETY: the array has the 16 floats that are read and written.
        unsafe {
            _mm512_storeu_ps(
                sums.as_mut_ptr(),
                _mm512_add_ps(_mm512_loadu_ps(sums.as_ptr()), found),
            );
        }
    }
}
