//! What unit tests stand on.

use std::{fs::Permissions, os::unix::fs::PermissionsExt};

use cameo_runtime::postgres::{EmbeddedPostgres, PostgresSettings};
use tempfile::TempDir;

/// A small Postgres, with the folder that it is in.
pub(crate) fn postgres() -> (TempDir, EmbeddedPostgres) {
    // Postgres may run as another user.
    let folder = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o755))
        .tempdir()
        .expect("a temporary folder");
    let settings = PostgresSettings { shared_buffers_mb: 16, ..PostgresSettings::default() };
    let postgres =
        EmbeddedPostgres::start(&folder.path().join("pg"), &settings).expect("a Postgres");
    (folder, postgres)
}
