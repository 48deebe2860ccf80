//! The configuration files of the cluster, written anew at every start.
//!
//! What an operator sets with `ALTER SYSTEM` is kept: it lives in `postgresql.auto.conf`.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::account::Account;
use super::{DATABASE_NAME, PostgresSettings, SOCKET_PORT};

/// Below this much room in `/dev/shm` (containers often have 64 MB), parallel index builds fail,
/// so shared memory segments become files in the data directory.
const SHARED_MEMORY_BYTES_MIN: u64 = 512 * 1024 * 1024;

/// `postgresql.conf`.
pub(super) fn server(settings: &PostgresSettings, socket_dir: &Path) -> String {
    let PostgresSettings { shared_buffers_mb, connections_max, .. } = settings;
    let socket_dir = quote(&socket_dir.to_string_lossy());
    let shared_memory =
        if shared_memory_bytes() < SHARED_MEMORY_BYTES_MIN { "mmap" } else { "posix" };
    format!(
        "\
# Written by Cameo at every start. Use ALTER SYSTEM for settings of your own.
listen_addresses = ''
unix_socket_directories = {socket_dir}
unix_socket_permissions = 0700
port = {SOCKET_PORT}
max_connections = {connections_max}
# Nobody replicates from here, and COPY into a table of the same transaction then skips the log.
wal_level = minimal
max_wal_senders = 0
max_wal_size = 4GB
checkpoint_timeout = 15min
shared_buffers = {shared_buffers_mb}MB
maintenance_work_mem = 256MB
dynamic_shared_memory_type = {shared_memory}
# Retention drops many tables in one transaction.
max_locks_per_transaction = 256
# Point look-ups and COPY gain nothing from compiling plans.
jit = off
logging_collector = off
log_checkpoints = off
log_line_prefix = '%m [%p] '
# Details of an error name the values of a row, and nobody can be erased from a log.
log_error_verbosity = terse
timezone = 'UTC'
log_timezone = 'UTC'
"
    )
}

/// `pg_hba.conf`: the socket, and there only the user that started the server.
pub(super) fn access() -> &'static str {
    "# Written by Cameo at every start.\nlocal all all peer map=own\n"
}

/// `pg_ident.conf`.
pub(super) fn identities(account: &Account) -> String {
    let client = account.client_name.replace('"', "\"\"");
    format!("# Written by Cameo at every start.\nown \"{client}\" {DATABASE_NAME}\n")
}

fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

fn shared_memory_bytes() -> u64 {
    statvfs("/dev/shm").map_or(0, |fs| fs.blocks_available() * fs.fragment_size())
}
