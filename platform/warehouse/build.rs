//! Stops with a plain sentence where the linker would fail with a riddle.

use std::{env, path::Path};

fn main() {
    println!("cargo::rerun-if-env-changed=DUCKDB_LIB_DIR");
    if env::var_os("CARGO_FEATURE_BUNDLED").is_some() {
        return;
    }
    let library = match env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("macos") => "libduckdb.dylib",
        _ => "libduckdb.so",
    };
    let found = env::var_os("DUCKDB_LIB_DIR")
        .is_some_and(|folder| Path::new(&folder).join(library).is_file());
    if !found {
        println!(
            "cargo::error=DUCKDB_LIB_DIR does not name a folder with {library}: run deploy/setup, which fetches \
             DuckDB's shared library, or build with --features cameo-warehouse/bundled (half an hour)."
        );
    }
}
