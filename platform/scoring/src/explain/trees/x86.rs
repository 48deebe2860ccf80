//! The evaluation of a tree with AVX2 and AVX-512.
//!
//! Plain loops are compiled again for the wider registers. For AVX-512 conditions, indices and look-ups
//! are spelled out: a compiler neither keeps a block's index in registers nor finds that a table fits
//! them.

#![allow(
    unsafe_code,
    reason = "measured kernels: loads, gathers and calls behind run-time detection"
)]

use std::arch::x86_64::{
    __m512, __m512i, _CMP_EQ_OQ, _CMP_GE_OQ, _CMP_GT_OQ, _CMP_LE_OQ, _CMP_LT_OQ, _CMP_NEQ_UQ,
    _CMP_UNORD_Q, _mm_loadu_si128, _mm512_add_ps, _mm512_and_si512, _mm512_andnot_si512,
    _mm512_cmp_ps_mask, _mm512_cvtepu8_epi32, _mm512_i32gather_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mask_blend_ps, _mm512_movm_epi8, _mm512_or_si512,
    _mm512_permutex2var_ps, _mm512_permutexvar_ps, _mm512_set1_epi8, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_slli_epi32, _mm512_storeu_ps,
    _mm512_storeu_si512, _mm512_test_epi32_mask,
};

use super::conditions::{self, Compared, Holds};
use super::table::{Index, Tables, Unit};
use super::{BLOCK_ROWS, Scratch, Sums, TreeShap, Way, portable};
use crate::trees::structure::{Mode, Node, Tree};

pub(super) fn avx2<T: Compared>(
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

pub(super) fn avx512<T: Compared>(
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
fn tree_avx2<T: Compared>(
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
fn tree_avx512<T: Compared>(
    shap: &TreeShap,
    tree: &Tree,
    way: &Way,
    at: usize,
    values: &[[T; BLOCK_ROWS]],
    rows: usize,
    scratch: &mut Scratch,
) {
    for (node, holds) in tree.nodes.iter().zip(&mut scratch.holds) {
        let values = &values[node.feature as usize];
        match T::singles(values) {
            Some(singles) if !matches!(node.mode, Mode::Member(_)) => compare(node, singles, holds),
            _ => conditions::fill(&shap.ensemble, node, values, holds),
        }
    }
    match way {
        Way::Table(tables) => {
            add(tables, &scratch.holds, &mut scratch.index, rows, &mut scratch.sums);
        }
        _ => portable::compute(way, at, rows, scratch),
    }
}

/// As [`conditions::fill`], 64 rows at a time.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn compare(node: &Node, values: &[f32; BLOCK_ROWS], holds: &mut Holds) {
    let missing = node.missing_true;
    match node.mode {
        Mode::LessOrEqual => compare_as::<_CMP_LE_OQ>(node.threshold, missing, values, holds),
        Mode::Less => compare_as::<_CMP_LT_OQ>(node.threshold, missing, values, holds),
        Mode::GreaterOrEqual => compare_as::<_CMP_GE_OQ>(node.threshold, missing, values, holds),
        Mode::Greater => compare_as::<_CMP_GT_OQ>(node.threshold, missing, values, holds),
        Mode::Equal | Mode::Member(_) => {
            compare_as::<_CMP_EQ_OQ>(node.threshold, missing, values, holds);
        }
        Mode::NotEqual => compare_as::<_CMP_NEQ_UQ>(node.threshold, missing, values, holds),
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(
    clippy::cast_possible_truncation,
    reason = "the threshold of an ensemble of singles is one"
)]
fn compare_as<const PREDICATE: i32>(
    threshold: f64,
    missing: bool,
    values: &[f32; BLOCK_ROWS],
    holds: &mut Holds,
) {
    let threshold = _mm512_set1_ps(threshold as f32);
    let (values, _) = values.as_chunks::<64>();
    let (holds, _) = holds.as_chunks_mut::<64>();
    for (values, holds) in values.iter().zip(holds) {
        let (values, _) = values.as_chunks::<16>();
        let mut word = 0u64;
        for (part, values) in values.iter().enumerate() {
            // SAFETY: the array has the 16 floats that are read.
            let values = unsafe { _mm512_loadu_ps(values.as_ptr()) };
            let mut passes = _mm512_cmp_ps_mask::<PREDICATE>(values, threshold);
            if missing {
                passes |= _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values);
            }
            word |= u64::from(passes) << (16 * part);
        }
        // SAFETY: the array has the 64 bytes that are written.
        unsafe { _mm512_storeu_si512(holds.as_mut_ptr().cast(), _mm512_movm_epi8(word)) };
    }
}

/// As [`super::table::add`], 16 rows at a time. Rows beyond `rows` up to a multiple of 16 get sums
/// too, which nobody reads.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn add(tables: &Tables, holds: &[Holds], index: &mut Index, rows: usize, sums: &mut [Sums]) {
    for unit in &tables.units {
        fill(index, unit, holds);
        let entries = tables.entries[unit.start..].chunks_exact(unit.stride);
        for (player, entries) in unit.players.iter().zip(entries) {
            let sums = &mut sums[*player];
            match unit.bits.len() {
                0..=4 => look_up::<4>(entries, index, rows, sums),
                5 => look_up::<5>(entries, index, rows, sums),
                6 => look_up::<6>(entries, index, rows, sums),
                7 => look_up::<7>(entries, index, rows, sums),
                8 => look_up::<8>(entries, index, rows, sums),
                _ => gather(entries, index, rows, sums),
            }
        }
    }
}

/// As [`Index::fill`], into `both`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn fill(index: &mut Index, unit: &Unit, holds: &[Holds]) {
    let (low, high) = unit.bits.split_at(unit.bits.len().min(8));
    fill_byte(&mut index.low, low, holds);
    let (both, _) = index.both.as_chunks_mut::<16>();
    let (bytes, _) = index.low.as_chunks::<16>();
    for (both, bytes) in both.iter_mut().zip(bytes) {
        // SAFETY: the arrays have the 16 bytes that are read and the 16 numbers that are written.
        unsafe {
            let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()));
            _mm512_storeu_si512(both.as_mut_ptr().cast(), bytes);
        }
    }
    if high.is_empty() {
        return;
    }
    fill_byte(&mut index.high, high, holds);
    let (bytes, _) = index.high.as_chunks::<16>();
    for (both, bytes) in both.iter_mut().zip(bytes) {
        // SAFETY: as above.
        unsafe {
            let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()));
            let low = _mm512_loadu_si512(both.as_ptr().cast());
            let bytes = _mm512_or_si512(low, _mm512_slli_epi32::<8>(bytes));
            _mm512_storeu_si512(both.as_mut_ptr().cast(), bytes);
        }
    }
}

/// One byte of each row's index, from up to eight bits, all rows in registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn fill_byte(byte: &mut Holds, bits: &[Vec<(usize, bool)>], holds: &[Holds]) {
    let mut filled = [_mm512_setzero_si512(); BLOCK_ROWS / 64];
    for (bit, conditions) in bits.iter().enumerate() {
        let mut all = [_mm512_set1_epi8(1 << bit); BLOCK_ROWS / 64];
        for (condition, outcome) in conditions {
            let (holds, _) = holds[*condition].as_chunks::<64>();
            for (all, holds) in all.iter_mut().zip(holds) {
                // SAFETY: the array has the 64 bytes that are read.
                let holds = unsafe { _mm512_loadu_si512(holds.as_ptr().cast()) };
                *all = if *outcome {
                    _mm512_and_si512(*all, holds)
                } else {
                    _mm512_andnot_si512(holds, *all)
                };
            }
        }
        for (filled, all) in filled.iter_mut().zip(all) {
            *filled = _mm512_or_si512(*filled, all);
        }
    }
    let (bytes, _) = byte.as_chunks_mut::<64>();
    for (bytes, filled) in bytes.iter_mut().zip(filled) {
        // SAFETY: the array has the 64 bytes that are written.
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), filled) };
    }
}

/// Looks up tables of up to 256 entries in registers: 32 entries by one instruction, of which
/// further bits of the index choose.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn look_up<const BITS: usize>(entries: &[f32], index: &Index, rows: usize, sums: &mut Sums) {
    let (registers, _) = entries.as_chunks::<16>();
    let load = |at: usize| match registers.get(at) {
        // SAFETY: the array has the 16 floats that are read.
        Some(entries) => unsafe { _mm512_loadu_ps(entries.as_ptr()) },
        None => _mm512_setzero_ps(),
    };
    let loaded: [__m512; 16] =
        std::array::from_fn(|at| if at < 1 << (BITS - 4) { load(at) } else { load(usize::MAX) });
    each(index, rows, sums, |index| {
        let pair = |at: usize| _mm512_permutex2var_ps(loaded[2 * at], index, loaded[2 * at + 1]);
        let bit = |bit: usize| _mm512_test_epi32_mask(index, _mm512_set1_epi32(1 << bit));
        let four = |at: usize| _mm512_mask_blend_ps(bit(5), pair(2 * at), pair(2 * at + 1));
        let eight = |at: usize| _mm512_mask_blend_ps(bit(6), four(2 * at), four(2 * at + 1));
        match BITS {
            4 => _mm512_permutexvar_ps(index, loaded[0]),
            5 => pair(0),
            6 => four(0),
            7 => eight(0),
            _ => _mm512_mask_blend_ps(bit(7), eight(0), eight(1)),
        }
    });
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn gather(entries: &[f32], index: &Index, rows: usize, sums: &mut Sums) {
    // SAFETY: the index has as many bits as the table, which has an entry for each.
    each(index, rows, sums, |index| unsafe { _mm512_i32gather_ps::<4>(index, entries.as_ptr()) });
}

/// Adds what is found for each row's index.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn each(index: &Index, rows: usize, sums: &mut Sums, find: impl Fn(__m512i) -> __m512) {
    let (index, _) = index.both.as_chunks::<16>();
    let (sums, _) = sums.as_chunks_mut::<16>();
    for (index, sums) in index.iter().zip(sums).take(rows.div_ceil(16)) {
        // SAFETY: the arrays have the 16 numbers that are read and written.
        unsafe {
            let found = find(_mm512_loadu_si512(index.as_ptr().cast()));
            let sum = _mm512_add_ps(_mm512_loadu_ps(sums.as_ptr()), found);
            _mm512_storeu_ps(sums.as_mut_ptr(), sum);
        }
    }
}
