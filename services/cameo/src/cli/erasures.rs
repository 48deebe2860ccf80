//! Erasing customers.

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
pub(crate) struct Erasures {
    /// Whose.
    pub(crate) tenant: TenantName,
    /// One of them, with every place that it went through.
    pub(crate) erasure: Option<ErasureId>,
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
