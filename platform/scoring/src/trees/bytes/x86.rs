//! The block evaluation on AVX2 and AVX-512.
//!
//! The one module with `unsafe`: vector loads and stores take pointers, look-ups gather, and a
//! function for newer instructions may only be called on a machine that has them. Operands of steps
//! point into the memory that [`super::place::lanes`] makes for their program, pointers into arrays
//! come from arrays of exactly the size that is read, leaf numbers are below the length of their
//! table by construction of the program, and a [`crate::level::Level`] is chosen by detection alone.
#![allow(unsafe_code, reason = "measured: 2 to 4 times the portable path; bounds are in the types")]
#![allow(clippy::cast_possible_wrap, reason = "vector instructions take bytes as signed")]

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _CMP_GT_OQ, _CMP_LT_OQ, _mm_loadl_epi64, _mm_loadu_si128,
    _mm256_add_ps, _mm256_blendv_epi8, _mm256_cmpeq_epi8, _mm256_cvtepu8_epi32,
    _mm256_i32gather_ps, _mm256_load_si256, _mm256_loadu_ps, _mm256_max_epu8, _mm256_or_si256,
    _mm256_set1_epi8, _mm256_slli_epi32, _mm256_store_si256, _mm256_storeu_ps, _mm256_storeu_si256,
    _mm512_add_epi32, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_cmpgt_epu8_mask,
    _mm512_cvtepi32_epi16, _mm512_cvtepu8_epi32, _mm512_i32gather_ps, _mm512_load_si512,
    _mm512_loadu_ps, _mm512_mask_add_epi32, _mm512_mask_blend_epi8, _mm512_mask_blend_ps,
    _mm512_min_epi32, _mm512_mullo_epi32, _mm512_or_si512, _mm512_permutex2var_ps,
    _mm512_permutexvar_ps, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_slli_epi32, _mm512_store_si512, _mm512_storeu_ps,
    _mm512_test_epi32_mask,
};

use super::leaves::{Numbers, Weighted};
use super::place::Step;
use super::{BLOCK_ROWS, ByteCoded, LANES, Lane, Scratch};
use crate::level::Level;

/// Evaluates a block with AVX2. The program's level says that the machine has it.
pub(super) fn avx2<S: Weighted>(program: &ByteCoded<S>, scratch: &mut Scratch<S>) {
    for tree in &program.trees {
        check(&tree.steps, scratch);
        // SAFETY: `Level::Avx2` exists only where detection found AVX2; the steps are checked.
        unsafe { steps_avx2(&tree.steps, &scratch.codes, &mut scratch.numbers) };
        let numbers = Numbers { lanes: &scratch.numbers, low: tree.low, high: tree.high };
        tree.table.add(&numbers, &mut scratch.sums, Level::Avx2);
    }
}

/// Evaluates a block with AVX-512. The program's level says that the machine has it.
pub(super) fn avx512<S: Weighted>(program: &ByteCoded<S>, scratch: &mut Scratch<S>) {
    for tree in &program.trees {
        check(&tree.steps, scratch);
        // SAFETY: `Level::Avx512` exists only where detection found AVX-512 F, BW, DQ and VL; the
        // steps are checked.
        unsafe { steps_avx512(&tree.steps, &scratch.codes, &mut scratch.numbers) };
        let numbers = Numbers { lanes: &scratch.numbers, low: tree.low, high: tree.high };
        tree.table.add(&numbers, &mut scratch.sums, Level::Avx512);
    }
}

/// Debug builds hold the program to the bounds that the unsafe code relies on.
fn check<S>(steps: &[Step], scratch: &Scratch<S>) {
    debug_assert!(steps.iter().all(|step| {
        step.codes as usize + LANES <= scratch.codes.len()
            && [step.below, step.above, step.into].iter().all(|operand| {
                operand.at() + operand.stride() * (LANES - 1) < scratch.numbers.len()
            })
            && step.into.stride() == 1
    }));
}

/// Adds weights with AVX2; see [`Weighted::add`].
pub(super) fn add_on_avx2(weights: &[f32], numbers: &Numbers, sums: &mut [f32; BLOCK_ROWS]) {
    // SAFETY: called for programs of `Level::Avx2` only.
    unsafe { add_avx2(weights, numbers, sums) }
}

/// Adds weights with AVX-512; see [`Weighted::add`].
pub(super) fn add_on_avx512(weights: &[f32], numbers: &Numbers, sums: &mut [f32; BLOCK_ROWS]) {
    // SAFETY: called for programs of `Level::Avx512` only.
    unsafe { add_avx512(weights, numbers, sums) }
}

/// Ranks of a block with AVX-512; see [`Weighted::ranks`].
pub(super) fn ranks(thresholds: &[f32], values: &[f32; BLOCK_ROWS], ranks: &mut [u16; BLOCK_ROWS]) {
    // SAFETY: called for programs of `Level::Avx512` only.
    unsafe { ranks_avx512(thresholds, values, ranks) }
}

#[target_feature(enable = "avx2")]
fn steps_avx2(steps: &[Step], codes: &[Lane], numbers: &mut [Lane]) {
    let codes: *const __m256i = codes.as_ptr().cast();
    let numbers: *mut __m256i = numbers.as_mut_ptr().cast();
    for step in steps {
        // There is no unsigned byte comparison: `a > c` is `max(a, c + 1) == a`, and c is at most 254.
        let code = _mm256_set1_epi8(step.code.wrapping_add(1) as i8);
        let (below, above) = (step.below.at() * 2, step.above.at() * 2);
        let (below_stride, above_stride) = (step.below.stride() * 2, step.above.stride() * 2);
        let (codes_at, into) = (step.codes as usize * 2, step.into.at() * 2);
        for lane in 0..LANES {
            for half in 0..2 {
                // SAFETY: operands of a program are inside its memory, which is aligned to 64 bytes.
                unsafe {
                    let codes = _mm256_load_si256(codes.add(codes_at + lane * 2 + half));
                    let below = _mm256_load_si256(numbers.add(below + lane * below_stride + half));
                    let above = _mm256_load_si256(numbers.add(above + lane * above_stride + half));
                    let greater = _mm256_cmpeq_epi8(_mm256_max_epu8(codes, code), codes);
                    let number = _mm256_blendv_epi8(below, above, greater);
                    _mm256_store_si256(numbers.add(into + lane * 2 + half), number);
                }
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn steps_avx512(steps: &[Step], codes: &[Lane], numbers: &mut [Lane]) {
    let codes: *const __m512i = codes.as_ptr().cast();
    let numbers: *mut __m512i = numbers.as_mut_ptr().cast();
    for step in steps {
        let code = _mm512_set1_epi8(step.code as i8);
        let (below, above) = (step.below.at(), step.above.at());
        let (below_stride, above_stride) = (step.below.stride(), step.above.stride());
        let (codes_at, into) = (step.codes as usize, step.into.at());
        for lane in 0..LANES {
            // SAFETY: operands of a program are inside its memory, which is aligned to 64 bytes.
            unsafe {
                let codes = _mm512_load_si512(codes.add(codes_at + lane));
                let below = _mm512_load_si512(numbers.add(below + lane * below_stride));
                let above = _mm512_load_si512(numbers.add(above + lane * above_stride));
                let greater = _mm512_cmpgt_epu8_mask(codes, code);
                let number = _mm512_mask_blend_epi8(greater, below, above);
                _mm512_store_si512(numbers.add(into + lane), number);
            }
        }
    }
}

#[target_feature(enable = "avx2")]
fn add_avx2(weights: &[f32], numbers: &Numbers, sums: &mut [f32; BLOCK_ROWS]) {
    let (lanes, _) = sums.as_chunks_mut::<64>();
    for (lane, sums) in lanes.iter_mut().enumerate() {
        let (low, _) = numbers.low(lane).as_chunks::<8>();
        let high = numbers.high(lane).map(|high| high.as_chunks::<8>().0);
        let (sums, _) = sums.as_chunks_mut::<8>();
        for (group, (low, sums)) in low.iter().zip(sums).enumerate() {
            // SAFETY: 8 bytes and 8 floats as the arrays say; leaf numbers are below the length of
            // the table.
            unsafe {
                let mut index = _mm256_cvtepu8_epi32(_mm_loadl_epi64(low.as_ptr().cast()));
                if let Some(high) = high {
                    let high = _mm_loadl_epi64(high[group].as_ptr().cast());
                    let high = _mm256_slli_epi32::<8>(_mm256_cvtepu8_epi32(high));
                    index = _mm256_or_si256(index, high);
                }
                let weight = _mm256_i32gather_ps::<4>(weights.as_ptr(), index);
                let sum = _mm256_add_ps(_mm256_loadu_ps(sums.as_ptr()), weight);
                _mm256_storeu_ps(sums.as_mut_ptr(), sum);
            }
        }
    }
}

/// Weights of up to 64 leaves are looked up in registers, more in memory.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn add_avx512(weights: &[f32], numbers: &Numbers, sums: &mut [f32; BLOCK_ROWS]) {
    let (registers, _) = weights.as_chunks::<16>();
    let register = |index: usize| match registers.get(index) {
        // SAFETY: the array has the 16 floats that are read.
        Some(weights) => unsafe { _mm512_loadu_ps(weights.as_ptr()) },
        None => _mm512_setzero_ps(),
    };
    let tables = [register(0), register(1), register(2), register(3)];
    let (lanes, _) = sums.as_chunks_mut::<64>();
    for (lane, sums) in lanes.iter_mut().enumerate() {
        let (low, _) = numbers.low(lane).as_chunks::<16>();
        let high = numbers.high(lane).map(|high| high.as_chunks::<16>().0);
        let (sums, _) = sums.as_chunks_mut::<16>();
        for (group, (low, sums)) in low.iter().zip(sums).enumerate() {
            // SAFETY: the array has the 16 bytes that are read.
            let index = _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(low.as_ptr().cast()) });
            let weight = match (weights.len(), high) {
                (16, None) => _mm512_permutexvar_ps(index, tables[0]),
                (32, None) => _mm512_permutex2var_ps(tables[0], index, tables[1]),
                (64, None) => {
                    let low = _mm512_permutex2var_ps(tables[0], index, tables[1]);
                    let high = _mm512_permutex2var_ps(tables[2], index, tables[3]);
                    let upper = _mm512_test_epi32_mask(index, _mm512_set1_epi32(32));
                    _mm512_mask_blend_ps(upper, low, high)
                }
                // SAFETY: leaf numbers are below the length of the table.
                (_, None) => unsafe { _mm512_i32gather_ps::<4>(index, weights.as_ptr()) },
                // SAFETY: the array has the 16 bytes that are read, and leaf numbers are below the
                // length of the table.
                (_, Some(high)) => unsafe {
                    let high = _mm_loadu_si128(high[group].as_ptr().cast());
                    let high = _mm512_slli_epi32::<8>(_mm512_cvtepu8_epi32(high));
                    let index = _mm512_or_si512(index, high);
                    _mm512_i32gather_ps::<4>(index, weights.as_ptr())
                },
            };
            // SAFETY: the array has the 16 floats that are read and written.
            unsafe {
                let sum = _mm512_add_ps(_mm512_loadu_ps(sums.as_ptr()), weight);
                _mm512_storeu_ps(sums.as_mut_ptr(), sum);
            }
        }
    }
}

/// Thresholds up to which counting beats searching.
const COUNTED_THRESHOLDS_MAX: usize = 48;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn ranks_avx512(thresholds: &[f32], values: &[f32; BLOCK_ROWS], ranks: &mut [u16; BLOCK_ROWS]) {
    let (values, _) = values.as_chunks::<64>();
    let (ranks, _) = ranks.as_chunks_mut::<64>();
    for (values, ranks) in values.iter().zip(ranks) {
        let (values, _) = values.as_chunks::<16>();
        // SAFETY: each array has the 16 floats that are read.
        let values: [__m512; 4] =
            std::array::from_fn(|lane| unsafe { _mm512_loadu_ps(values[lane].as_ptr()) });
        let found = if thresholds.len() <= COUNTED_THRESHOLDS_MAX {
            count(thresholds, values)
        } else {
            search(thresholds, values)
        };
        let (ranks, _) = ranks.as_chunks_mut::<16>();
        for (ranks, found) in ranks.iter_mut().zip(found) {
            // SAFETY: the array has the 16 16-bit integers that are written.
            unsafe { _mm256_storeu_si256(ranks.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(found)) };
        }
    }
}

/// Number of thresholds below each value, one comparison per threshold.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn count(thresholds: &[f32], values: [__m512; 4]) -> [__m512i; 4] {
    let mut found = [_mm512_setzero_si512(); 4];
    let one = _mm512_set1_epi32(1);
    for threshold in thresholds {
        let threshold = _mm512_set1_ps(*threshold);
        for lane in 0..4 {
            let below = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(values[lane], threshold);
            found[lane] = _mm512_mask_add_epi32(found[lane], below, found[lane], one);
        }
    }
    found
}

/// Number of thresholds below each value: 32 pivots in two registers, then a binary search by
/// gathers inside the segment that they leave.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[allow(clippy::cast_possible_truncation, reason = "a feature has at most 65,535 thresholds")]
fn search(thresholds: &[f32], values: [__m512; 4]) -> [__m512i; 4] {
    let segment = thresholds.len().div_ceil(32);
    let pivots: [f32; 32] = std::array::from_fn(|pivot| {
        thresholds.get((pivot + 1) * segment - 1).copied().unwrap_or(f32::INFINITY)
    });
    // SAFETY: the array has the 32 floats that are read.
    let (low, high) =
        unsafe { (_mm512_loadu_ps(pivots.as_ptr()), _mm512_loadu_ps(pivots.as_ptr().add(16))) };
    let mut found = [_mm512_setzero_si512(); 4];
    for step in [16, 8, 4, 2, 1] {
        for lane in 0..4 {
            let index = _mm512_add_epi32(found[lane], _mm512_set1_epi32(step - 1));
            let pivot = _mm512_permutex2var_ps(low, index, high);
            let below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(pivot, values[lane]);
            found[lane] =
                _mm512_mask_add_epi32(found[lane], below, found[lane], _mm512_set1_epi32(step));
        }
    }
    let last = _mm512_set1_epi32(thresholds.len() as i32 - 1);
    for found in &mut found {
        *found = _mm512_mullo_epi32(*found, _mm512_set1_epi32(segment as i32));
    }
    let mut length = segment;
    while length > 1 {
        let half = length / 2;
        for lane in 0..4 {
            let index = _mm512_add_epi32(found[lane], _mm512_set1_epi32(half as i32 - 1));
            let probe = gather(thresholds, _mm512_min_epi32(index, last));
            let below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(probe, values[lane]);
            found[lane] = _mm512_mask_add_epi32(
                found[lane],
                below,
                found[lane],
                _mm512_set1_epi32(half as i32),
            );
        }
        length -= half;
    }
    for lane in 0..4 {
        let probe = gather(thresholds, _mm512_min_epi32(found[lane], last));
        let below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(probe, values[lane]);
        let after = _mm512_mask_add_epi32(found[lane], below, found[lane], _mm512_set1_epi32(1));
        found[lane] = _mm512_min_epi32(after, _mm512_set1_epi32(thresholds.len() as i32));
    }
    found
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn gather(thresholds: &[f32], index: __m512i) -> __m512 {
    // SAFETY: callers clamp the index to the last threshold, and it is never negative.
    unsafe { _mm512_i32gather_ps::<4>(index, thresholds.as_ptr()) }
}
