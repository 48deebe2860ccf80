//! Backups and upgrades.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(
    after_help = "A backup holds the control plane, the predictions of every kept generation, the models and \
the members of segments. It holds neither the Lake nor the master key: without that key, sensitive predictions \
are lost."
)]
pub(crate) struct Backup {
    /// The folder to make; or, with --check, the backup to check.
    pub(crate) folder: PathBuf,
    /// Read a whole backup and compare every file with its digest, without a server.
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Without CAMEO_DATABASE_URL the backup goes into a new data directory, where `cameo up` then \
starts. An artifact store of its own keeps the anchors of two audit trails apart."
)]
pub(crate) struct Restore {
    /// The backup.
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Change nothing; tell what is missing and what would be in the way. Exit code 0: nothing is missing; 2:
    /// something is, and can be applied; 1: something is in the way.
    #[arg(long)]
    pub(crate) check: bool,
}
