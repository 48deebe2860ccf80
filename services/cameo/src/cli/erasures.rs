//! Erasing customers.

use std::path::{Path, PathBuf};

use cameo_domain::{ErasureId, ServiceName, TenantName};
use clap::{Args, Subcommand, ValueEnum};

/// As what a key is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MeantAs {
    /// As whatever it can be.
    Any,
    /// As the key of services that declare it INT.
    Int,
    /// As the key of services that declare it STRING.
    String,
}

#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// Whose customer.
    pub(crate) tenant: TenantName,
    /// The customer's key, as services write it.
    #[arg(allow_hyphen_values = true)]
    pub(crate) key: String,
    /// As what the key is meant.
    #[arg(long, value_enum, default_value = "any")]
    pub(crate) key_type: MeantAs,
    /// From which services; several may be given. By default from all, and from those to come.
    #[arg(long, value_name = "SERVICE", value_delimiter = ',')]
    pub(crate) service: Vec<ServiceName>,
    /// Why, for the audit trail; nothing that tells who the customer is belongs there.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Return when every place was searched and found empty.
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Erasures {
    /// Whose.
    #[arg(required = true)]
    pub(crate) tenant: Option<TenantName>,
    /// One of them, with every place that it went through.
    pub(crate) erasure: Option<ErasureId>,
    #[command(subcommand)]
    pub(crate) command: Option<ErasuresCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ErasuresCommand {
    /// Sign what was removed where and when, for whoever asks for proof.
    Receipt(ErasureReceipt),
    /// Check a receipt by its signature, offline, and show what it states.
    Verify(ErasureVerify),
}

#[derive(Debug, Args)]
pub(crate) struct ErasureReceipt {
    /// Whose.
    pub(crate) tenant: TenantName,
    /// The erasure's number.
    pub(crate) erasure: ErasureId,
    /// The customer's key: the receipt names it if the erasure was about it. It is kept nowhere.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) key: Option<String>,
    /// The file to write; by default the receipt is printed.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) signer: ReceiptKey,
}

/// What signs receipts.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReceiptKey {
    /// The secret key that signs receipts of erasures; `package keygen` makes one. By default `receipt.key` in the
    /// data directory, which `cameo up` makes.
    #[arg(long = "receipt-key-file", value_name = "FILE", env = "CAMEO_RECEIPT_KEY_FILE")]
    file: Option<PathBuf>,
}

impl ReceiptKey {
    /// The file, where one is named.
    pub(crate) fn named(&self) -> Option<&Path> {
        // An empty variable is how many set-ups say that there is none.
        self.file.as_deref().filter(|file| !file.as_os_str().is_empty())
    }
}

#[derive(Debug, Args)]
pub(crate) struct ErasureVerify {
    /// The receipt.
    pub(crate) receipt: PathBuf,
    /// The platform's public key, a file with a key a line.
    #[arg(long = "trusted-key", value_name = "FILE", required = true, value_delimiter = ',')]
    pub(crate) trusted_keys: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Suppressions {
    /// List whom the runs of a tenant leave out, newest first.
    List {
        /// Whose.
        tenant: TenantName,
    },
    /// Let runs have a customer again who was erased.
    Lift {
        /// Whose customer.
        tenant: TenantName,
        /// The customer's key, as services write it.
        #[arg(allow_hyphen_values = true)]
        key: String,
        /// As what the key is meant.
        #[arg(long, value_enum, default_value = "any")]
        key_type: MeantAs,
        /// Why, for the audit trail.
        #[arg(long)]
        reason: String,
    },
}
