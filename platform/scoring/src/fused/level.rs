//! The same loops, compiled for each level of instructions.
//!
//! All levels use the fused multiply-add, which rounds once. Where the processor lacks it, the
//! portable level computes it in software: right, and slow. Every x86-64 server since 2013 and every
//! 64-bit ARM has it.

/// Runs a function that is always inlined in a copy of itself for each level.
///
/// `on_every_level!(name => body(argument: Type, …))` defines `fn name(level: Level, argument: Type, …)`.
macro_rules! on_every_level {
    ($(#[$doc:meta])* $name:ident => $body:ident($($argument:ident: $kind:ty),*)) => {
        $(#[$doc])*
        pub(super) fn $name(level: $crate::level::Level, $($argument: $kind),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($argument: $kind),*) {
                $body($($argument),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($argument: $kind),*) {
                $body($($argument),*);
            }
            match level {
                $crate::level::Level::Portable => $body($($argument),*),
                #[cfg(target_arch = "x86_64")]
                $crate::level::Level::Avx2 => {
                    // SAFETY: `Level::available` gives this level only where the processor has AVX2 and FMA.
                    #[allow(unsafe_code, reason = "instructions that were detected")]
                    unsafe {
                        avx2($($argument),*);
                    }
                }
                #[cfg(target_arch = "x86_64")]
                $crate::level::Level::Avx512 => {
                    // SAFETY: `Level::available` gives this level only where the processor has these instructions.
                    #[allow(unsafe_code, reason = "instructions that were detected")]
                    unsafe {
                        avx512($($argument),*);
                    }
                }
            }
        }
    };
}
pub(super) use on_every_level;
