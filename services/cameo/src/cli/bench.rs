//! Measurements.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// One run from features to mirror: seconds and peak memory by step, beside the bare feature
    /// query and a peer pipeline.
    Run(BenchRun),
    /// Look-ups over HTTP from a snapshot and from Postgres, one key and 1,000 at once and during a publication,
    /// beside a constant answer and `pgbench -S` on the same rows.
    Lookup(BenchLookup),
    /// Look-ups at four times the load that the API can bear: what it still serves, how fast, and how soon it
    /// is well again.
    Overload(BenchOverload),
    /// Look-ups beside thousands of connections that send or read next to nothing.
    Slow(BenchSlow),
    /// Counting and materialising a segment over several services, beside Postgres on the same rows.
    Segments(BenchSegments),
    /// Peak memory of a run over ever more generated customers.
    Memory(BenchMemory),
    /// Rows per CPU second of the scorer on five models, beside ONNX Runtime and the libraries that
    /// trained them.
    Scoring(BenchScoring),
    /// Seconds that `cameo check` takes over many bundles, each with SQL and a model of its own.
    Check(BenchCheck),
    /// Exact contributions of every row, beside those of XGBoost and LightGBM.
    Explain(BenchExplain),
    /// Exports of a segment over HTTP in each format: rows per second and peak memory.
    Export(BenchExport),
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
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rows: u64,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Seconds of load of each measurement.
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
    /// The bundle whose predictions are looked up.
    #[arg(long, default_value = "tenants/marketing/gender")]
    pub(crate) bundle: PathBuf,
    /// Cores that the publication under load leaves to requests.
    #[arg(long, env = "CAMEO_CORES_FOR_REQUESTS", default_value_t = 0, value_name = "N")]
    pub(crate) cores_for_requests: usize,
}

#[derive(Debug, Args)]
pub(crate) struct BenchSegments {
    /// Customers of each service.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) profiles: u64,
    /// How often each is measured; the middle is shown.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeats: u32,
}

#[derive(Debug, Args)]
pub(crate) struct BenchOverload {
    /// Seconds of overload in a round.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Rounds of unloaded, overloaded and peak; the median counts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Connections with which the peak is found.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Connections of the overload.
    #[arg(long, default_value_t = 512)]
    pub(crate) crowd: usize,
    /// Rows of the generation.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rows: u64,
    /// The bundle whose predictions are looked up.
    #[arg(long, default_value = "tenants/marketing/gender")]
    pub(crate) bundle: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct BenchSlow {
    /// Slow connections: a third each with heads and bodies that never end and answers that nobody reads.
    #[arg(long, default_value_t = 2_000)]
    pub(crate) slow: usize,
    /// Seconds of load, alone and beside them.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Connections of the others.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Rows of the generation.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rows: u64,
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

#[derive(Debug, Args)]
pub(crate) struct BenchExport {
    /// Members of the segment.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) members: u64,
    /// The bundle over whose predictions the segment is defined.
    #[arg(long, default_value = "tenants/marketing/gender")]
    pub(crate) bundle: PathBuf,
}
