//! The command line.

mod access;
mod backups;
mod bench;
mod bundles;
mod erasures;
mod models;
mod oidc;
mod releases;
mod runs;
mod segments;
mod servers;
mod sql_access;
mod workers;

use std::path::PathBuf;

use clap::{
    Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, builder::PossibleValue,
    error::ErrorKind, parser::ValueSource,
};

pub(crate) use access::{Audit, AuditList, KeyScope, Keys};
pub(crate) use backups::{Backup, Migrate, Restore};
pub(crate) use bench::{
    Bench, BenchCheck, BenchExplain, BenchExport, BenchLookup, BenchMemory, BenchOverload,
    BenchRun, BenchScoring, BenchSegments, BenchSlow,
};
pub(crate) use bundles::{
    Apply, Check, Dialect, Keygen, New, Package, PackageCommand, Plan, Sql, SqlRender,
};
pub(crate) use erasures::{
    Erase, ErasureReceipt, ErasureVerify, Erasures, ErasuresCommand, MeantAs, ReceiptKey,
    Suppressions,
};
pub(crate) use models::{Model, ModelInspect};
pub(crate) use releases::{Approve, Archive, History, Promote, Rollback, Verdicts};
pub(crate) use runs::{DemoData, Explain, Importance, Lineage, Run, Runs, ServiceArgument};
pub(crate) use segments::{
    ChangesOf, File, MembersOf, Segment, SegmentCount, SegmentExport, SegmentNamed, SegmentServer,
};
pub(crate) use servers::{Elsewhere, Serve, Up};
pub(crate) use sql_access::SqlAccess;

/// Hosts customer profiling models: checks bundles, runs them on schedule, publishes and serves
/// their predictions.
#[derive(Debug, Parser)]
#[command(name = "cameo", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, or nothing to change; 1 failed, or problems found; \
2 `plan` found changes, or `migrate --check` something to apply; 64 wrong usage.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that say which installation is meant; a variable of the environment says the same to whom it concerns.
const INSTALLATION: [&str; 5] =
    ["data_dir", "database_url", "lake", "artifacts", "master_key_file"];

impl Cli {
    /// Reads the command line, and refuses an option that its command would not look at.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let mut matches = Self::command().try_get_matches()?;
        let given = INSTALLATION
            .into_iter()
            .find(|option| matches.value_source(option) == Some(ValueSource::CommandLine));
        let cli = Self::from_arg_matches_mut(&mut matches)?;
        let refused = |text| Err(clap::Error::raw(ErrorKind::ArgumentConflict, text));
        if let Some(option) = given
            && !cli.command.has_installation()
        {
            return refused(format!(
                "--{} says nothing to this command: it needs no installation, or brings one of its own\n",
                option.replace('_', "-")
            ));
        }
        if let Some(format) = cli.global.output
            && !format.suits(&cli.command)
        {
            let name = format.to_possible_value();
            return refused(format!(
                "-o {} is for the problems that `cameo check` finds; use human or json here\n",
                name.as_ref().map_or("", PossibleValue::get_name)
            ));
        }
        Ok(cli)
    }
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where `cameo up` keeps Postgres, the Lake and models; other commands find the server by it.
    #[arg(long, global = true, env = "CAMEO_DATA_DIR", default_value = ".cameo")]
    pub(crate) data_dir: PathBuf,
    /// An existing Postgres server instead of the one in the data directory.
    #[arg(long, global = true, env = "CAMEO_DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,
    /// Folder of the Lake: `<tenant>/<dataset>/<table>.parquet`. Default: `lake` in the data
    /// directory.
    #[arg(long, global = true, env = "CAMEO_LAKE")]
    pub(crate) lake: Option<PathBuf>,
    /// Folder or object-store URL for models. Default: `artifacts` in the data directory.
    #[arg(long, global = true, env = "CAMEO_ARTIFACTS")]
    pub(crate) artifacts: Option<String>,
    /// A file with the key that stands above those of all tenants, by which sensitive predictions are
    /// sealed and opened; `keys new-master` makes one.
    #[arg(long, global = true, value_name = "FILE", env = "CAMEO_MASTER_KEY_FILE")]
    pub(crate) master_key_file: Option<PathBuf>,
    /// How to print results; by default text on a terminal and JSON elsewhere.
    #[arg(short, long, global = true, value_enum)]
    pub(crate) output: Option<Format>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for people.
    Human,
    /// One JSON document.
    Json,
    /// Markdown, where a command has it, for a comment on a pull request.
    Markdown,
    /// SARIF 2.1.0 for code scanning; only `check` finds what it can say.
    Sarif,
    /// Annotations of a GitHub workflow; only `check` finds what they can say.
    Github,
}

impl Format {
    /// Whether a command's result can be said in it.
    pub(crate) fn suits(self, command: &Command) -> bool {
        match self {
            Self::Human | Self::Json | Self::Markdown => true,
            Self::Sarif | Self::Github => {
                matches!(command, Command::Check(Check { explain: None, .. }))
            }
        }
    }
}

/// A part of the platform that can be deployed on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// REST API.
    Api,
    /// Due instants to runs.
    Scheduler,
    /// Executes runs.
    Worker,
    /// Copies generations to the warehouse.
    Mirror,
}

impl Command {
    /// Whether it works on an installation that somebody chooses.
    fn has_installation(&self) -> bool {
        !matches!(self, Self::Package(_) | Self::Sql(_) | Self::Schema { .. } | Self::Bench(_))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything on this machine, its own Postgres included.
    Up(Up),
    /// Run chosen roles against an existing Postgres server.
    Serve(Serve),
    /// Make a bundle out of a trained model: inputs, outputs and types are filled in from it.
    New(New),
    /// Look for mistakes in bundles, offline, and show each at its line.
    Check(Check),
    /// Show what `apply` would change, with a sample of its predictions. Writes nothing.
    Plan(Plan),
    /// Register the bundles as releases; the scheduler runs those in production from now on.
    Apply(Apply),
    /// List the releases of a service and where each stands.
    Releases(ServiceArgument),
    /// Move a release to another stage, such as production, or ask for the approval that this needs.
    Promote(Promote),
    /// Put a release into production that somebody else has asked for.
    Approve(Approve),
    /// Show how a release compared with production while it ran beside it, newest first.
    Verdicts(Verdicts),
    /// Tell what happened to a service, newest first, or how it stood at an instant.
    History(History),
    /// Take a service out of use; what is published stays served for 30 days.
    Archive(Archive),
    /// Make one file of a bundle, which `apply` takes elsewhere.
    Package(Package),
    /// Run a service now.
    Run(Run),
    /// List runs, newest first.
    Runs(Runs),
    /// List the generations of a service, newest first.
    Generations(ServiceArgument),
    /// Rank the features of a service by what they add to its predictions.
    Importance(Importance),
    /// Take one customer's prediction apart: what each feature adds to it.
    Explain(Explain),
    /// Tell where a prediction comes from: generation, run, release, commit, data and copy.
    Lineage(Lineage),
    /// Show the card of a service: what it is for, who answers for it, and how it does now.
    Card(ServiceArgument),
    /// See whom segments choose, count a condition, and take members and changes out.
    #[command(subcommand)]
    Segment(Segment),
    /// Serve an earlier generation again.
    Rollback(Rollback),
    /// Erase a customer everywhere, and leave them out of the runs to come.
    Erase(Erase),
    /// List a tenant's erasures, show one with every place that it went through, or sign a receipt of it.
    Erasures(Erasures),
    /// See whom runs leave out, and let them have a customer again.
    #[command(subcommand)]
    Suppressions(Suppressions),
    /// Manage API keys.
    #[command(subcommand)]
    Keys(Keys),
    /// Let logins of Postgres read what a tenant is shown, and nothing else.
    #[command(subcommand)]
    SqlAccess(SqlAccess),
    /// See who changed what, and check that nobody changed the record of it.
    #[command(subcommand)]
    Audit(Audit),
    /// Check the promises of the platform against the database and print every breach.
    Doctor,
    /// Take everything that cannot be made again along, as of one instant, while the server runs.
    Backup(Backup),
    /// Bring a backup back into an empty database, and up to date.
    Restore(Restore),
    /// Bring the database to the schema of this version, or look whether that would go through.
    Migrate(Migrate),
    /// Generate the customers of the demo, deterministically, in any number.
    DemoData(DemoData),
    /// Look into a model file.
    #[command(subcommand)]
    Model(Model),
    /// Look into the SQL of a bundle.
    #[command(subcommand)]
    Sql(Sql),
    /// Print the JSON Schema of config.yaml, for editors.
    Schema {
        /// Of tenant.yaml instead.
        #[arg(long)]
        tenant: bool,
    },
    /// Measure.
    #[command(subcommand)]
    Bench(Bench),
}
