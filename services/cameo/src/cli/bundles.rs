//! Bundles on their way to a server.

use std::path::PathBuf;

use cameo_domain::ServicePath;
use cameo_registry::plan::{SAMPLE_CUSTOMERS, SAMPLE_CUSTOMERS_MAX};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};

use super::Elsewhere;
use crate::commands::new::answers::{Key, Table};

/// What no option says is asked on a terminal; elsewhere the defaults are taken.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// The trained model: an ONNX file, which is copied into the bundle.
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// An ONNX file that is chained before the model.
    #[arg(long, value_name = "FILE")]
    pub(crate) preprocess: Option<PathBuf>,
    /// Who is scored, as name and type of a column. Default: customer_id:INT.
    #[arg(long, value_name = "NAME:TYPE")]
    pub(crate) key: Option<Key>,
    /// Names of the features, in the order of the training, for a model that does not name them.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) features: Option<Vec<String>>,
    /// The table that the features are read from; columns that have a feature's name are taken.
    #[arg(long, value_name = "DATASET.TABLE")]
    pub(crate) table: Option<Table>,
    /// When predictions are due, as five cron fields. Default: each night at four.
    #[arg(long, value_name = "CRON")]
    pub(crate) schedule: Option<String>,
    /// By which clocks, as an IANA name. Default: UTC.
    #[arg(long, value_name = "ZONE")]
    pub(crate) timezone: Option<String>,
    /// Who answers for the service. Default: the tenant's first owner, or your address in git.
    #[arg(long)]
    pub(crate) owner: Option<String>,
    /// The folder of the tenants.
    #[arg(long, value_name = "FOLDER", default_value = "tenants")]
    pub(crate) tenants: PathBuf,
    /// Replace the files of a bundle that is already there.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// A folder with tenants, one tenant, or one bundle; or a package.
    #[arg(default_value = "tenants")]
    pub(crate) path: PathBuf,
    /// Print cause and cure of a code such as CAM0012 instead.
    #[arg(long, value_name = "CODE")]
    pub(crate) explain: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// A folder with tenants, one tenant, or one bundle; or a package.
    #[arg(default_value = "tenants")]
    pub(crate) path: PathBuf,
    /// Customers on which each changed service is run, without writing anything; 0 for none.
    #[arg(
        long,
        value_name = "CUSTOMERS",
        default_value_t = SAMPLE_CUSTOMERS,
        value_parser = clap::value_parser!(u32).range(0..=i64::from(SAMPLE_CUSTOMERS_MAX)),
    )]
    pub(crate) sample: u32,
    /// Show what each step takes and gives as well.
    #[arg(long)]
    pub(crate) steps: bool,
    #[command(flatten)]
    pub(crate) elsewhere: Elsewhere,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// A folder with tenants, one tenant, or one bundle; or a package.
    #[arg(default_value = "tenants")]
    pub(crate) path: PathBuf,
    /// Take only a package that one of these public keys has signed; a file with a key a line.
    #[arg(
        long = "trusted-key",
        value_name = "FILE",
        env = "CAMEO_TRUSTED_KEYS",
        value_delimiter = ','
    )]
    pub(crate) trusted_keys: Vec<PathBuf>,
    /// Accept that a service, as `tenant/service`, breaks its consumers: a prediction is removed or has
    /// another type, or the key changes. The ledger keeps it. May be repeated.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) accept_breaking: Vec<ServicePath>,
    /// Archive the services of these tenants that are not in the folder any more.
    #[arg(long)]
    pub(crate) prune: bool,
    #[command(flatten)]
    pub(crate) elsewhere: Elsewhere,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Package {
    /// The folder of the bundle.
    #[arg(required = true, value_name = "FOLDER")]
    pub(crate) bundle: Option<PathBuf>,
    /// The file to write. Default: tenant, service and version in the current folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Sign it with this secret key.
    #[arg(long, value_name = "FILE")]
    pub(crate) sign: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<PackageCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PackageCommand {
    /// Make a pair of keys: one signs packages, the other one checks them.
    Keygen(Keygen),
}

#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// Where the keys go, without the endings `.key` and `.pub`.
    #[arg(long, value_name = "FILE", default_value = "cameo-signing")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sql {
    /// Print the SQL that will run, with its macros written out, offline.
    Render(SqlRender),
}

#[derive(Debug, Args)]
pub(crate) struct SqlRender {
    /// The folder of a bundle, such as tenants/crm/clv.
    pub(crate) bundle: PathBuf,
    /// Only this file of it, such as predictions.sql.
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
    /// For whom it is printed.
    #[arg(long, value_enum, default_value_t = Dialect::Googlesql)]
    pub(crate) dialect: Dialect,
    /// The due instant whose values the Lake's SQL has for @run_time and @run_date; by default now.
    #[arg(long, value_name = "INSTANT")]
    pub(crate) at: Option<DateTime<Utc>>,
}

/// Whose SQL is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// What BigQuery would run: the file with its macros written out.
    Googlesql,
    /// What DuckDB runs on the Lake.
    Lake,
}
