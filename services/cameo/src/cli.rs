//! The command line.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use cameo_domain::{
    GenerationId, NameError, ScopeError, Scopes, ServiceName, ServicePath, Stage, StageError,
    TenantName,
};
use cameo_openlineage::{Receiver, ReceiverError};
use cameo_registry::plan::{SAMPLE_CUSTOMERS, SAMPLE_CUSTOMERS_MAX};
use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::new::answers::{Key, Table};

use crate::remote::Server;

/// Hosts customer profiling models: checks bundles, runs them on schedule, publishes and serves
/// their predictions.
#[derive(Debug, Parser)]
#[command(name = "cameo", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, or nothing to change; 1 failed, or problems found; \
2 `plan` found changes; 64 wrong usage.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
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
    /// Serve an earlier generation again.
    Rollback(Rollback),
    /// Manage API keys.
    #[command(subcommand)]
    Keys(Keys),
    /// See who changed what, and check that nobody changed the record of it.
    #[command(subcommand)]
    Audit(Audit),
    /// Check the promises of the platform against the database and print every breach.
    Doctor,
    /// Generate the customers of the demo, deterministically, in any number.
    DemoData(DemoData),
    /// Look into a model file.
    #[command(subcommand)]
    Model(Model),
    /// Look into the SQL of a bundle.
    #[command(subcommand)]
    Sql(Sql),
    /// Print the JSON Schema of config.yaml, for editors.
    Schema,
    /// Measure.
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Address of the REST API.
    #[arg(long, env = "CAMEO_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) openlineage: OpenLineage,
    /// A file of public keys, one of which has to have signed each bundle that is sent to the API.
    #[arg(
        long = "trusted-key",
        value_name = "FILE",
        env = "CAMEO_TRUSTED_KEYS",
        value_delimiter = ','
    )]
    pub(crate) trusted_keys: Vec<PathBuf>,
    /// Bundles to apply at the start.
    #[arg(long)]
    pub(crate) tenants: Option<PathBuf>,
    /// Seed the Lake with the demo's data, apply `tenants/`, run both services and print how to
    /// call them.
    #[arg(long)]
    pub(crate) demo: bool,
    /// Customers that the demo generates.
    #[arg(long, default_value_t = 100_000, requires = "demo")]
    pub(crate) customers: u64,
}

/// Whom workers tell what each run reads and writes.
#[derive(Debug, Clone, Args)]
pub(crate) struct OpenLineage {
    /// Where workers post OpenLineage events, such as http://localhost:5000/api/v1/lineage.
    #[arg(
        long = "openlineage-url",
        id = "openlineage_url",
        env = "CAMEO_OPENLINEAGE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    url: Option<String>,
    /// Bearer token for it.
    #[arg(
        long = "openlineage-api-key",
        id = "openlineage_api_key",
        env = "CAMEO_OPENLINEAGE_API_KEY",
        hide_env_values = true,
        value_name = "TOKEN",
        hide = true
    )]
    api_key: Option<String>,
    /// The namespace of the jobs in these events.
    #[arg(
        long = "openlineage-namespace",
        id = "openlineage_namespace",
        env = "CAMEO_OPENLINEAGE_NAMESPACE",
        default_value = "cameo",
        hide = true
    )]
    namespace: String,
}

impl OpenLineage {
    /// The receiver, where one is named.
    pub(crate) fn receiver(&self) -> Result<Option<Receiver>, ReceiverError> {
        let receiver = |url: &String| Receiver::new(url, self.api_key.clone(), &self.namespace);
        // An empty variable is how many set-ups say that there is none.
        self.url.as_ref().filter(|url| !url.is_empty()).map(receiver).transpose()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Roles to run in this process.
    #[arg(long, value_enum, value_delimiter = ',', required = true)]
    pub(crate) role: Vec<Role>,
    #[command(flatten)]
    pub(crate) openlineage: OpenLineage,
    /// A file of public keys, one of which has to have signed each bundle that is sent to the API.
    #[arg(
        long = "trusted-key",
        value_name = "FILE",
        env = "CAMEO_TRUSTED_KEYS",
        value_delimiter = ','
    )]
    pub(crate) trusted_keys: Vec<PathBuf>,
    /// Address of the REST API, or of `/metrics` and the probes where the role `api` is not chosen.
    #[arg(long, env = "CAMEO_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
}

/// A server that is reached by its API instead of its database.
#[derive(Debug, Args)]
pub(crate) struct Elsewhere {
    /// Address of a server's API, such as https://cameo.example: the bundles are sent there. Needs an API
    /// key with the scope `deploy` in CAMEO_API_KEY.
    #[arg(long, env = "CAMEO_SERVER", value_name = "URL")]
    server: Option<String>,
    /// The API key; the environment hides it from the list of processes.
    #[arg(long, env = "CAMEO_API_KEY", hide_env_values = true, hide = true)]
    api_key: Option<String>,
}

impl Elsewhere {
    /// The server, where one is named.
    pub(crate) fn server(&self) -> anyhow::Result<Option<Server>> {
        let named = self.server.as_deref().filter(|url| !url.is_empty());
        named.map(|url| Server::new(url, self.api_key.as_deref())).transpose()
    }
}

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
pub(crate) struct Promote {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Which release: at least 4 digits of its hash, or its version.
    pub(crate) release: String,
    /// Where to: candidate, shadow, canary, production or archived. By default production, or shadow for a release
    /// that has still to be compared.
    #[arg(long, value_parser = stage)]
    pub(crate) to: Option<Stage>,
    /// Why, for the ledger.
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

fn stage(text: &str) -> Result<Stage, StageError> {
    text.parse()
}

#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Which release: at least 4 digits of its hash, or its version.
    pub(crate) release: String,
    /// Why, for the ledger.
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Verdicts {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Which release: at least 4 digits of its hash, or its version.
    pub(crate) release: String,
    /// How many.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// What was in production and served at this instant, such as 2026-03-01T18:00:00Z.
    #[arg(long, value_name = "INSTANT", conflicts_with = "limit")]
    pub(crate) at: Option<DateTime<Utc>>,
    /// How many entries.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Archive {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Why, for the ledger.
    #[arg(long)]
    pub(crate) reason: String,
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

#[derive(Debug, Args)]
pub(crate) struct ServiceArgument {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
}

#[derive(Debug, Args)]
pub(crate) struct Importance {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Which generation; by default the one that is served.
    #[arg(long)]
    pub(crate) generation: Option<GenerationId>,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Whose prediction.
    #[arg(long)]
    pub(crate) key: String,
}

#[derive(Debug, Args)]
pub(crate) struct Lineage {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Whose prediction.
    #[arg(long)]
    pub(crate) key: String,
    /// What was served at this instant, such as 2026-03-01T18:00:00Z; by default what is served now.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) at: Option<DateTime<Utc>>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Due now instead of at the next scheduled instant. Required, so that nobody runs by mistake.
    #[arg(long, required = true)]
    pub(crate) now: bool,
    /// Show the progress and return when the run has ended.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Repeating the command with the same key finds the same run.
    #[arg(long)]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Runs {
    /// Only runs of this service, as `tenant/service`.
    pub(crate) service: Option<ServicePath>,
    /// How many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Which generation; by default the one that was served before.
    #[arg(long)]
    pub(crate) to: Option<GenerationId>,
    /// Leave the release that is in production there: the next run publishes its predictions again.
    #[arg(long)]
    pub(crate) keep_release: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List changes, newest first.
    List(AuditList),
    /// Follow the chain of hashes through every entry and compare it with its head and its anchors.
    Verify,
}

#[derive(Debug, Args)]
pub(crate) struct AuditList {
    /// Only of this tenant or service, as `tenant` or `tenant/service`.
    #[arg(value_name = "TENANT[/SERVICE]")]
    pub(crate) of: Option<TenantOrService>,
    /// Only at or after this instant, such as 2026-03-01 or 2026-03-01T18:00:00Z.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// Only entries with a smaller number: the last one of the page before.
    #[arg(long, value_name = "ENTRY")]
    pub(crate) before: Option<i64>,
    /// How many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) limit: u32,
}

/// A tenant, or one of its services.
#[derive(Debug, Clone)]
pub(crate) struct TenantOrService {
    pub(crate) tenant: TenantName,
    pub(crate) service: Option<ServiceName>,
}

impl FromStr for TenantOrService {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (tenant, service) = match text.split_once('/') {
            Some((tenant, service)) => (tenant, Some(service)),
            None => (text, None),
        };
        Ok(Self { tenant: tenant.parse()?, service: service.map(str::parse).transpose()? })
    }
}

/// An instant with its zone, or a day, which begins at midnight UTC.
fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let day = text.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(0, 0, 0));
    match day {
        Some(midnight) => Ok(midnight.and_utc()),
        None => text.parse().map_err(|_| {
            "expected a day such as 2026-03-01 or an instant such as 2026-03-01T18:00:00Z"
                .to_owned()
        }),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key and print it; it cannot be shown again.
    Create {
        /// The tenant for which the key is.
        #[arg(required_unless_present = "admin", conflicts_with = "admin")]
        tenant: Option<TenantName>,
        /// A key for every tenant.
        #[arg(long)]
        admin: bool,
        /// What the key is for.
        #[arg(long, default_value = "cli")]
        name: String,
        /// What the key may do; several may be given.
        #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
        scope: Vec<KeyScope>,
        /// The key stops working after this many days.
        #[arg(long)]
        expires_days: Option<u32>,
    },
    /// List keys by prefix.
    List,
    /// Stop a key from working.
    Revoke {
        /// The key's prefix, as listed.
        prefix: String,
    },
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyScope {
    /// Look predictions up and see everything of a service.
    Read,
    /// Ask for runs.
    Run,
    /// Plan and register bundles, for a pipeline of git.
    Deploy,
    /// Promote, approve and roll back.
    Promote,
    /// Everything.
    All,
}

impl KeyScope {
    /// The scopes of a key.
    pub(crate) fn together(chosen: &[Self]) -> Result<Scopes, ScopeError> {
        let words: Vec<_> = chosen
            .iter()
            .map(|scope| match scope {
                Self::Read => "read",
                Self::Run => "run",
                Self::Deploy => "deploy",
                Self::Promote => "promote",
                Self::All => "all",
            })
            .collect();
        Scopes::from_words(&words)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// Show what a model takes and gives, its operators and trees, what runs it and how fast, offline.
    Inspect(ModelInspect),
}

#[derive(Debug, Args)]
pub(crate) struct ModelInspect {
    /// The ONNX file; by default the model of the bundle.
    #[arg(required_unless_present = "bundle")]
    pub(crate) model: Option<PathBuf>,
    /// An ONNX file that is chained before the model.
    #[arg(long)]
    pub(crate) preprocess: Option<PathBuf>,
    /// The folder of a bundle: its query gives the features, and each of its predictions is bound.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) bundle: Option<PathBuf>,
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

#[derive(Debug, Args)]
pub(crate) struct DemoData {
    /// How many customers, up to 100 million.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) customers: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// One run from features to mirror: seconds and peak memory by step, beside the bare feature
    /// query and a peer pipeline.
    Run(BenchRun),
    /// Point look-ups over HTTP, beside `pgbench -S` on the same rows.
    Lookup(BenchLookup),
    /// Peak memory of a run over ever more generated customers.
    Memory(BenchMemory),
    /// Rows per CPU second of the scorer on five models, beside ONNX Runtime and the libraries that
    /// trained them.
    Scoring(BenchScoring),
    /// Seconds that `cameo check` takes over many bundles, each with SQL and a model of its own.
    Check(BenchCheck),
    /// Exact contributions of every row, beside those of XGBoost and LightGBM.
    Explain(BenchExplain),
}

#[derive(Debug, Args)]
pub(crate) struct BenchRun {
    /// Folder with orders.parquet, as tests/peers/gen_retail.py makes it.
    pub(crate) data: PathBuf,
    /// The model, as tests/peers/train_model.py makes it.
    pub(crate) model: PathBuf,
    /// The bundle to run.
    #[arg(long, default_value = "tests/peers/bundle/bench/clv")]
    pub(crate) bundle: PathBuf,
    /// Repetitions.
    #[arg(long, default_value_t = 3)]
    pub(crate) repeat: u32,
    /// A Python with the packages of tests/peers/requirements.txt; runs the peer as well.
    #[arg(long, value_name = "PYTHON")]
    pub(crate) peer: Option<PathBuf>,
    /// The peer pipeline.
    #[arg(long, default_value = "tests/peers/pipeline.py")]
    pub(crate) peer_script: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct BenchLookup {
    /// Rows of the generation.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rows: u64,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Seconds of load.
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// The bundle whose predictions are looked up.
    #[arg(long, default_value = "tenants/marketing/gender")]
    pub(crate) bundle: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct BenchCheck {
    /// How many bundles.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) bundles: u32,
    /// The bundle that they are copies of.
    #[arg(long, default_value = "tenants/crm/clv")]
    pub(crate) bundle: PathBuf,
    /// What makes the copies of one measurement differ from those of another.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
}

#[derive(Debug, Args)]
pub(crate) struct BenchMemory {
    /// Numbers of customers, one run each.
    #[arg(long, value_delimiter = ',', default_value = "1000000,10000000")]
    pub(crate) customers: Vec<u64>,
    /// The bundle to run.
    #[arg(long, default_value = "tenants/marketing/gender")]
    pub(crate) bundle: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct BenchScoring {
    /// Folder of the models; with --peer they are made there when it is empty.
    #[arg(default_value = ".cameo/bench-models")]
    pub(crate) models: PathBuf,
    /// A Python with the packages of tests/peers/requirements.txt; runs the peer as well.
    #[arg(long, value_name = "PYTHON")]
    pub(crate) peer: Option<PathBuf>,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
    /// What makes the models.
    #[arg(long, default_value = "tests/peers/scoring_models.py")]
    pub(crate) models_script: PathBuf,
    /// What runs the peers.
    #[arg(long, default_value = "tests/peers/scoring_peer.py")]
    pub(crate) peer_script: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct BenchExplain {
    /// Folder of the models; they are made there when it is empty.
    #[arg(default_value = ".cameo/bench-models")]
    pub(crate) models: PathBuf,
    /// A Python with the packages of tests/peers/requirements.txt.
    #[arg(long, value_name = "PYTHON")]
    pub(crate) peer: PathBuf,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
    /// What makes the models.
    #[arg(long, default_value = "tests/peers/scoring_models.py")]
    pub(crate) models_script: PathBuf,
    /// What runs the peers.
    #[arg(long, default_value = "tests/peers/scoring_peer.py")]
    pub(crate) peer_script: PathBuf,
}
