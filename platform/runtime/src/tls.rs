//! The one TLS implementation of the process.

use rustls::crypto::ring;

/// Makes ring the TLS provider of this process; calling it again changes nothing.
///
/// Several crates speak TLS through rustls, and rustls panics when two providers are linked and
/// none was chosen: every `main` and every test that opens a TLS connection calls this first.
pub fn install_provider() {
    // An error says that a provider is installed already, which is all that is wanted.
    let _ = ring::default_provider().install_default();
}
