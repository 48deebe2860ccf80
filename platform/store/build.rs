//! Rebuilds the crate when a migration is added: the migrator is embedded.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
