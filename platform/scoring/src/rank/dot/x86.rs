//! The products on AVX2 and AVX-512.
//!
//! `unsafe` for two reasons: vector loads and stores take pointers, and a function for newer
//! instructions may only be called on a machine that has them. Pointers come from arrays of exactly
//! the size that is read or written, and a [`super::Level`] is chosen by detection alone.
#![allow(
    unsafe_code,
    reason = "a fused multiply-add without these instructions is a call of the C library per product"
)]

use std::arch::x86_64::{
    __m256, __m512, _CMP_GT_OQ, _mm256_add_ps, _mm256_cmp_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_movemask_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm512_add_ps,
    _mm512_cmp_ps_mask, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_storeu_ps,
};

use super::{LANES, ROWS, Tile};

/// Lanes of an AVX2 register.
const NARROW: usize = 8;
/// Lanes of an AVX-512 register.
const WIDE: usize = 16;
/// Rows whose sums AVX2's sixteen registers hold, two registers each, with room for the operands.
const HALF_ROWS: usize = 4;

pub(super) fn avx2(
    vectors: &[[f32; LANES]],
    rows: &[[f32; ROWS]],
    bias: &[f32; LANES],
    bounds: &[f32; ROWS],
    tile: &mut Tile,
) -> u8 {
    // SAFETY: `Level::Avx2` exists only where detection found AVX2 and FMA.
    unsafe { products_avx2(vectors, rows, bias, bounds, tile) }
}

pub(super) fn avx512(
    vectors: &[[f32; LANES]],
    rows: &[[f32; ROWS]],
    bias: &[f32; LANES],
    bounds: &[f32; ROWS],
    tile: &mut Tile,
) -> u8 {
    // SAFETY: `Level::Avx512` exists only where detection found AVX-512 F.
    unsafe { products_avx512(vectors, rows, bias, bounds, tile) }
}

#[target_feature(enable = "avx2,fma")]
fn products_avx2(
    vectors: &[[f32; LANES]],
    rows: &[[f32; ROWS]],
    bias: &[f32; LANES],
    bounds: &[f32; ROWS],
    tile: &mut Tile,
) -> u8 {
    let mut reached = 0;
    for first_row in [0, HALF_ROWS] {
        for lane in (0..LANES).step_by(2 * NARROW) {
            let mut sums = [[_mm256_setzero_ps(); 2]; HALF_ROWS];
            for (vector, customers) in vectors.iter().zip(rows) {
                let left = load_narrow(vector, lane);
                let right = load_narrow(vector, lane + NARROW);
                for (row, sums) in sums.iter_mut().enumerate() {
                    let customer = _mm256_set1_ps(customers[first_row + row]);
                    sums[0] = _mm256_fmadd_ps(customer, left, sums[0]);
                    sums[1] = _mm256_fmadd_ps(customer, right, sums[1]);
                }
            }
            for (row, sums) in sums.iter().enumerate().map(|(row, sums)| (first_row + row, sums)) {
                let bound = _mm256_set1_ps(bounds[row]);
                for (half, sum) in sums.iter().enumerate() {
                    let lane = lane + half * NARROW;
                    let sum = _mm256_add_ps(*sum, load_narrow(bias, lane));
                    let above = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(sum, bound));
                    reached |= u8::from(above != 0) << row;
                    store_narrow(sum, &mut tile[row], lane);
                }
            }
        }
    }
    reached
}

#[target_feature(enable = "avx512f")]
fn products_avx512(
    vectors: &[[f32; LANES]],
    rows: &[[f32; ROWS]],
    bias: &[f32; LANES],
    bounds: &[f32; ROWS],
    tile: &mut Tile,
) -> u8 {
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    for (vector, customers) in vectors.iter().zip(rows) {
        let left = load_wide(vector, 0);
        let right = load_wide(vector, WIDE);
        for (customer, sums) in customers.iter().zip(&mut sums) {
            let customer = _mm512_set1_ps(*customer);
            sums[0] = _mm512_fmadd_ps(customer, left, sums[0]);
            sums[1] = _mm512_fmadd_ps(customer, right, sums[1]);
        }
    }
    let (left, right) = (load_wide(bias, 0), load_wide(bias, WIDE));
    let mut reached = 0;
    for (row, (sums, bound)) in sums.iter_mut().zip(bounds).enumerate() {
        *sums = [_mm512_add_ps(sums[0], left), _mm512_add_ps(sums[1], right)];
        let bound = _mm512_set1_ps(*bound);
        let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(sums[0], bound)
            | _mm512_cmp_ps_mask::<_CMP_GT_OQ>(sums[1], bound);
        reached |= u8::from(above != 0) << row;
    }
    // Most tiles reach no bound once the selections are full, and need not be stored.
    if reached != 0 {
        for (sums, scores) in sums.iter().zip(tile) {
            store_wide(sums[0], scores, 0);
            store_wide(sums[1], scores, WIDE);
        }
    }
    reached
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_narrow(values: &[f32; LANES], lane: usize) -> __m256 {
    let values: &[f32] = &values[lane..lane + NARROW];
    // SAFETY: the slice has the eight values that are read.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_narrow(sum: __m256, values: &mut [f32; LANES], lane: usize) {
    let values: &mut [f32] = &mut values[lane..lane + NARROW];
    // SAFETY: the slice has the eight values that are written.
    unsafe { _mm256_storeu_ps(values.as_mut_ptr(), sum) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_wide(values: &[f32; LANES], lane: usize) -> __m512 {
    let values: &[f32] = &values[lane..lane + WIDE];
    // SAFETY: the slice has the sixteen values that are read.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_wide(sum: __m512, values: &mut [f32; LANES], lane: usize) {
    let values: &mut [f32] = &mut values[lane..lane + WIDE];
    // SAFETY: the slice has the sixteen values that are written.
    unsafe { _mm512_storeu_ps(values.as_mut_ptr(), sum) }
}
