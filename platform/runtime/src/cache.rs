//! The folder that `deploy/setup` fills with what the system does not provide.

use std::env;
use std::path::PathBuf;

/// `CAMEO_CACHE_DIR`, else `cameo` in the user's cache folder; `None` without a home.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    let given = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    given("CAMEO_CACHE_DIR")
        .or_else(|| given("XDG_CACHE_HOME").map(|cache| cache.join("cameo")))
        .or_else(|| given("HOME").map(|home| home.join(".cache/cameo")))
}
