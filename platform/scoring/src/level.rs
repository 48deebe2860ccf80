//! Which instructions the machine has. Every level gives the same bits.

use std::cell::Cell;
use std::fmt;

/// A set of instructions that a path of a kernel is written for, the slowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What the compiler may assume.
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

thread_local! {
    /// The highest level that models loaded by this thread may use; `None` for no bound.
    static CEILING: Cell<Option<Level>> = const { Cell::new(None) };
}

impl Level {
    /// Levels that this machine can run, the slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            // No server has the one without the other.
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                levels.push(Self::Avx2);
            }
            if levels.contains(&Self::Avx2)
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                levels.push(Self::Avx512);
            }
        }
        levels.retain(|level| CEILING.get().is_none_or(|ceiling| *level <= ceiling));
        levels
    }

    /// The highest level that a model loaded now may use.
    pub(crate) fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    /// Does `work`, in which models are loaded as if the machine had nothing above this level.
    pub fn at_most<T>(self, work: impl FnOnce() -> T) -> T {
        /// Puts the bound back also when `work` panics.
        struct Restore(Option<Level>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CEILING.set(self.0);
            }
        }
        let _restore = Restore(CEILING.replace(Some(self)));
        work()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "AVX-512",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_holds_for_its_work_alone() {
        let whole = Level::available();
        assert_eq!(Level::Portable.at_most(Level::available), [Level::Portable]);
        assert_eq!(Level::available(), whole);
        let broken = std::panic::catch_unwind(|| Level::Portable.at_most(|| panic!("on purpose")));
        assert!(broken.is_err());
        assert_eq!(Level::available(), whole);
    }
}
