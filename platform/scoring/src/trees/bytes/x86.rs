//! The block evaluation on AVX2 and AVX-512.
//!
//! The one module with `unsafe`: vector loads and stores take pointers, look-ups gather, and a
//! function for newer instructions may only be called on a machine that has them. Pointers come
//! from arrays of exactly the size that is read, leaf numbers are below the length of their table
//! by construction of the program, and a [`super::Level`] is chosen by detection alone.
#![allow(unsafe_code, reason = "measured: 2 to 4 times the portable path; bounds are in the types")]
#![allow(clippy::cast_possible_wrap, reason = "vector instructions take bytes as signed")]

use std::arch::x86_64::{
    __m512, __m512i, _CMP_GT_OQ, _CMP_LT_OQ, _mm_loadl_epi64, _mm_loadu_si128, _mm256_add_ps,
    _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_cvtepu8_epi32, _mm256_i32gather_ps,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_max_epu8, _mm256_movemask_epi8, _mm256_or_si256,
    _mm256_set1_epi8, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_setr_epi8,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_storeu_ps, _mm256_storeu_si256,
    _mm512_add_epi32, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_cmpgt_epu8_mask,
    _mm512_cvtepi32_epi16, _mm512_cvtepu8_epi32, _mm512_i32gather_ps, _mm512_load_si512,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_add_epi32, _mm512_mask_blend_ps,
    _mm512_maskz_mov_epi8, _mm512_min_epi32, _mm512_mullo_epi32, _mm512_or_si512,
    _mm512_permutex2var_ps, _mm512_permutexvar_ps, _mm512_set1_epi8, _mm512_set1_epi32,
    _mm512_set1_epi64, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_store_si512,
    _mm512_storeu_ps, _mm512_storeu_si512, _mm512_ternarylogic_epi64, _mm512_test_epi32_mask,
};

use super::portable;
use super::program::{Comparison, Select, Side, Table, Tree};
use super::{BLOCK_ROWS, Bits, ByteCoded, Codes, LEAF_BITS, LEAVES_MAX, Scratch, WORDS};

/// Evaluates a block with AVX2. The program's level says that the machine has it.
pub(super) fn avx2(program: &ByteCoded, scratch: &mut Scratch) {
    // SAFETY: `Level::Avx2` exists only where detection found AVX2.
    unsafe { block_avx2(program, scratch) }
}

/// Evaluates a block with AVX-512. The program's level says that the machine has it.
pub(super) fn avx512(program: &ByteCoded, scratch: &mut Scratch) {
    // SAFETY: `Level::Avx512` exists only where detection found AVX-512 F, BW, DQ and VL.
    unsafe { block_avx512(program, scratch) }
}

/// Ranks of a block with AVX-512; see `code::ranks`.
pub(super) fn ranks(thresholds: &[f32], values: &[f32; BLOCK_ROWS], ranks: &mut [u16; BLOCK_ROWS]) {
    // SAFETY: called for programs of `Level::Avx512` only.
    unsafe { ranks_avx512(thresholds, values, ranks) }
}

#[target_feature(enable = "avx2")]
fn block_avx2(program: &ByteCoded, scratch: &mut Scratch) {
    for tree in &program.trees {
        for (bits, comparison) in scratch.comparisons.iter_mut().zip(&tree.comparisons) {
            *bits = compare_avx2(&scratch.codes[comparison.column as usize], *comparison);
        }
        portable::select(tree, &scratch.comparisons, &mut scratch.leaf_numbers);
        let numbers = numbers_avx2(tree, &scratch.leaf_numbers[0]);
        for table in &program.tables[tree.tables.clone()] {
            add_avx2(table, &numbers, &mut scratch.sums[table.target]);
        }
    }
}

#[target_feature(enable = "avx2")]
fn compare_avx2(codes: &Codes, comparison: Comparison) -> Bits {
    let mut bits = Bits([0; WORDS]);
    // There is no unsigned byte comparison: `a > c` is `max(a, c + 1) == a`, and c is at most 254.
    let above = _mm256_set1_epi8(comparison.code.wrapping_add(1) as i8);
    let (words, _) = codes.as_chunks::<64>();
    for (word, codes) in bits.0.iter_mut().zip(words) {
        let (halves, _) = codes.as_chunks::<32>();
        let mut both = [0u32; 2];
        for (half, codes) in both.iter_mut().zip(halves) {
            // SAFETY: the array has the 32 bytes that are read.
            let codes = unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) };
            let greater = _mm256_cmpeq_epi8(_mm256_max_epu8(codes, above), codes);
            *half = _mm256_movemask_epi8(greater).cast_unsigned();
        }
        *word = u64::from(both[0]) | u64::from(both[1]) << 32;
    }
    bits
}

#[target_feature(enable = "avx2")]
fn numbers_avx2(tree: &Tree, root: &[Bits; LEAF_BITS]) -> [u8; BLOCK_ROWS] {
    let mut numbers = [0u8; BLOCK_ROWS];
    if tree.selects.is_empty() {
        return numbers;
    }
    // Byte k of a 32-bit word's quarter goes to lanes 8k to 8k + 7, then each lane tests its bit.
    let spread = _mm256_setr_epi8(
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3,
        3, 3,
    );
    let lane_bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let (groups, _) = numbers.as_chunks_mut::<32>();
    for (group, rows) in groups.iter_mut().enumerate() {
        let mut number = _mm256_setzero_si256();
        for (bit, plane) in root.iter().enumerate().take(tree.leaf_bits) {
            #[allow(clippy::cast_possible_truncation, reason = "one half of a word")]
            let word = (plane.0[group / 2] >> (32 * (group % 2))) as u32;
            let spread_word = _mm256_shuffle_epi8(_mm256_set1_epi32(word as i32), spread);
            let set = _mm256_cmpeq_epi8(_mm256_and_si256(spread_word, lane_bit), lane_bit);
            number = _mm256_or_si256(
                number,
                _mm256_and_si256(set, _mm256_set1_epi8((1u8 << bit) as i8)),
            );
        }
        // SAFETY: the array has the 32 bytes that are written.
        unsafe { _mm256_storeu_si256(rows.as_mut_ptr().cast(), number) };
    }
    numbers
}

#[target_feature(enable = "avx2")]
fn add_avx2(table: &Table, numbers: &[u8; BLOCK_ROWS], sums: &mut [f32; BLOCK_ROWS]) {
    let weights = table.weights.as_ptr();
    let (numbers, _) = numbers.as_chunks::<8>();
    let (sums, _) = sums.as_chunks_mut::<8>();
    for (numbers, sums) in numbers.iter().zip(sums) {
        // SAFETY: 8 bytes and 8 floats as the arrays say; leaf numbers are below 2^leaf_bits, which
        // is at most the length of the table.
        unsafe {
            let index = _mm256_cvtepu8_epi32(_mm_loadl_epi64(numbers.as_ptr().cast()));
            let weight = _mm256_i32gather_ps::<4>(weights, index);
            let sum = _mm256_add_ps(_mm256_loadu_ps(sums.as_ptr()), weight);
            _mm256_storeu_ps(sums.as_mut_ptr(), sum);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn block_avx512(program: &ByteCoded, scratch: &mut Scratch) {
    for tree in &program.trees {
        for (bits, comparison) in scratch.comparisons.iter_mut().zip(&tree.comparisons) {
            compare_avx512(&scratch.codes[comparison.column as usize], *comparison, bits);
        }
        select_avx512(tree, &scratch.comparisons, &mut scratch.leaf_numbers);
        let numbers = numbers_avx512(tree, &scratch.leaf_numbers[0]);
        for table in &program.tables[tree.tables.clone()] {
            add_avx512(table, tree.leaf_bits, &numbers, &mut scratch.sums[table.target]);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn compare_avx512(codes: &Codes, comparison: Comparison, bits: &mut Bits) {
    let code = _mm512_set1_epi8(comparison.code as i8);
    let (words, _) = codes.as_chunks::<64>();
    for (word, codes) in bits.0.iter_mut().zip(words) {
        // SAFETY: the array has the 64 bytes that are read.
        let codes = unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) };
        *word = _mm512_cmpgt_epu8_mask(codes, code);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn select_avx512(
    tree: &Tree,
    comparisons: &[Bits; LEAVES_MAX],
    leaf_numbers: &mut [[Bits; LEAF_BITS]],
) {
    for Select { node, below, above } in &tree.selects {
        let comparison = load(&comparisons[*node as usize]);
        for bit in 0..tree.leaf_bits {
            let below = plane(*below, bit, leaf_numbers);
            let above = plane(*above, bit, leaf_numbers);
            // 0xCA is "first operand ? second : third".
            let number = _mm512_ternarylogic_epi64::<0xCA>(comparison, above, below);
            let to = &mut leaf_numbers[*node as usize][bit];
            // SAFETY: `Bits` has the 64 bytes that are written and is aligned to them.
            unsafe { _mm512_store_si512(to.0.as_mut_ptr().cast(), number) };
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn load(bits: &Bits) -> __m512i {
    // SAFETY: `Bits` has the 64 bytes that are read and is aligned to them.
    unsafe { _mm512_load_si512(bits.0.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn plane(side: Side, bit: usize, leaf_numbers: &[[Bits; LEAF_BITS]]) -> __m512i {
    match side {
        Side::Node(node) => load(&leaf_numbers[node as usize][bit]),
        Side::Leaf(leaf) => _mm512_set1_epi64(-i64::from((leaf >> bit) & 1)),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn numbers_avx512(tree: &Tree, root: &[Bits; LEAF_BITS]) -> [u8; BLOCK_ROWS] {
    let mut numbers = [0u8; BLOCK_ROWS];
    if tree.selects.is_empty() {
        return numbers;
    }
    let (groups, _) = numbers.as_chunks_mut::<64>();
    for (group, rows) in groups.iter_mut().enumerate() {
        let mut number = _mm512_setzero_si512();
        for (bit, plane) in root.iter().enumerate().take(tree.leaf_bits) {
            let value = _mm512_maskz_mov_epi8(plane.0[group], _mm512_set1_epi8((1u8 << bit) as i8));
            number = _mm512_or_si512(number, value);
        }
        // SAFETY: the array has the 64 bytes that are written.
        unsafe { _mm512_storeu_si512(rows.as_mut_ptr().cast(), number) };
    }
    numbers
}

/// Weights of up to 64 leaves are looked up in registers, more in memory.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn add_avx512(
    table: &Table,
    leaf_bits: usize,
    numbers: &[u8; BLOCK_ROWS],
    sums: &mut [f32; BLOCK_ROWS],
) {
    let (registers, _) = table.weights.as_chunks::<16>();
    let register = |index: usize| match registers.get(index) {
        // SAFETY: the array has the 16 floats that are read.
        Some(weights) => unsafe { _mm512_loadu_ps(weights.as_ptr()) },
        None => _mm512_setzero_ps(),
    };
    let weights = [register(0), register(1), register(2), register(3)];
    let (numbers, _) = numbers.as_chunks::<16>();
    let (sums, _) = sums.as_chunks_mut::<16>();
    for (numbers, sums) in numbers.iter().zip(sums) {
        // SAFETY: the array has the 16 bytes that are read.
        let index = _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(numbers.as_ptr().cast()) });
        let weight = match leaf_bits {
            0..=4 => _mm512_permutexvar_ps(index, weights[0]),
            5 => _mm512_permutex2var_ps(weights[0], index, weights[1]),
            6 => {
                let low = _mm512_permutex2var_ps(weights[0], index, weights[1]);
                let high = _mm512_permutex2var_ps(weights[2], index, weights[3]);
                _mm512_mask_blend_ps(
                    _mm512_test_epi32_mask(index, _mm512_set1_epi32(32)),
                    low,
                    high,
                )
            }
            // SAFETY: leaf numbers are below 2^leaf_bits, which is at most the length of the table.
            _ => unsafe { _mm512_i32gather_ps::<4>(index, table.weights.as_ptr()) },
        };
        // SAFETY: the array has the 16 floats that are read and written.
        unsafe {
            let sum = _mm512_add_ps(_mm512_loadu_ps(sums.as_ptr()), weight);
            _mm512_storeu_ps(sums.as_mut_ptr(), sum);
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
