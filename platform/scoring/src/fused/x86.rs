//! The matrix product with AVX2 and AVX-512: a panel of outputs times a few vectors of rows in registers.
#![allow(unsafe_code, reason = "vector instructions, measured against the portable loops")]

use std::arch::x86_64::{
    __m256, __m512, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_storeu_ps, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::dense::{Block, Dense, PANEL, ROWS_MULTIPLE};

/// Defines the product for one vector type.
///
/// `$vectors` vectors of rows times `$together` outputs are summed at a time: enough sums to hide the
/// latency of the addition on two units, few enough for the registers.
macro_rules! kernel {
    ($name:ident, $features:literal, $vector:ty, $lanes:literal, $vectors:literal, $together:literal,
     $zero:ident, $set:ident, $load:ident, $store:ident, $add:ident, $multiply_add:ident) => {
        /// See [`Dense::run`].
        pub(super) fn $name(dense: &Dense, block: Block, features: &[f32], outputs: &mut [f32]) {
            #[target_feature(enable = $features)]
            fn panel<const COUNT: usize>(
                block: Block,
                features: &[f32],
                weights: &[f32],
                weight_stride: usize,
                intercepts: &[f32],
                outputs: &mut [f32],
                row: usize,
            ) {
                let count = weights.len().div_ceil(weight_stride);
                assert!(
                    features.len() >= (count - 1) * block.stride + row + $lanes * $vectors
                        && weights.len() >= (count - 1) * weight_stride + COUNT
                        && intercepts.len() >= COUNT
                        && outputs.len() >= (COUNT - 1) * block.stride + row + $lanes * $vectors
                );
                let mut sums: [[$vector; $vectors]; COUNT] = [[$zero(); $vectors]; COUNT];
                for feature in 0..count {
                    // SAFETY: the assertion covers the last feature, its last vector and its last weight.
                    unsafe {
                        let from = features.as_ptr().add(feature * block.stride + row);
                        let weights = weights.as_ptr().add(feature * weight_stride);
                        let mut values = [$zero(); $vectors];
                        for vector in 0..$vectors {
                            values[vector] = $load(from.add(vector * $lanes));
                        }
                        for output in 0..COUNT {
                            let weight = $set(*weights.add(output));
                            for vector in 0..$vectors {
                                sums[output][vector] =
                                    $multiply_add(weight, values[vector], sums[output][vector]);
                            }
                        }
                    }
                }
                for output in 0..COUNT {
                    let intercept = $set(intercepts[output]);
                    for vector in 0..$vectors {
                        // SAFETY: the assertion covers the last output and its last vector.
                        unsafe {
                            let to = outputs.as_mut_ptr().add(output * block.stride + row);
                            $store(to.add(vector * $lanes), $add(sums[output][vector], intercept));
                        }
                    }
                }
            }
            #[target_feature(enable = $features)]
            fn all(dense: &Dense, block: Block, features: &[f32], outputs: &mut [f32]) {
                for row in (0..block.rows).step_by($lanes * $vectors) {
                    for (first, count, weights) in dense.panels() {
                        for part in (0..count).step_by($together) {
                            let weights = &weights[part..];
                            let intercepts = &dense.intercepts[first + part..];
                            let outputs = &mut outputs[(first + part) * block.stride..];
                            match count.min($together) {
                                1 => panel::<1>(
                                    block, features, weights, count, intercepts, outputs, row,
                                ),
                                2 => panel::<2>(
                                    block, features, weights, count, intercepts, outputs, row,
                                ),
                                4 => panel::<4>(
                                    block, features, weights, count, intercepts, outputs, row,
                                ),
                                _ => panel::<$together>(
                                    block, features, weights, count, intercepts, outputs, row,
                                ),
                            }
                        }
                    }
                }
            }
            const {
                assert!(
                    ROWS_MULTIPLE.is_multiple_of($lanes * $vectors)
                        && PANEL.is_multiple_of($together)
                )
            };
            // SAFETY: `Level::available` gives the level only where the processor has the instructions.
            unsafe { all(dense, block, features, outputs) }
        }
    };
}

kernel!(
    avx512,
    "avx512f",
    __m512,
    16,
    2,
    8,
    _mm512_setzero_ps,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_add_ps,
    _mm512_fmadd_ps
);
kernel!(
    avx2,
    "avx2,fma",
    __m256,
    8,
    2,
    4,
    _mm256_setzero_ps,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_add_ps,
    _mm256_fmadd_ps
);
