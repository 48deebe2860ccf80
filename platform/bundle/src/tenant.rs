//! `tenant.yaml`: who owns a tenant and what it may use.

use std::path::{Path, PathBuf};

use cameo_domain::{GroupAccess, TenantName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access_config::{self, AccessDocument},
    code::Code,
    diagnostic::Diagnostic,
    reader::{Key, Reader, optional},
    source::SourceFile,
    yaml,
};

/// The file's name.
pub const TENANT_FILE: &str = "tenant.yaml";
/// Most runs of one tenant at once.
pub(crate) const CONCURRENT_RUNS_MAX: u32 = 64;
/// Most owners.
const OWNERS_MAX: usize = 100;

/// Most requests per second that a tenant's keys can be granted, and at once.
pub(crate) const REQUESTS_MAX: u32 = 1_000_000;
/// Most requests of a tenant in flight.
pub(crate) const CONCURRENT_REQUESTS_MAX: u32 = 100_000;

/// The keys of `tenant.yaml`.
pub(crate) const KEYS: &[Key] =
    &[optional("OWNERS"), optional("MAX_CONCURRENT_RUNS"), optional("ACCESS"), optional("LIMITS")];
/// The keys of its `LIMITS`.
pub(crate) const LIMITS_KEYS: &[Key] =
    &[optional("REQUESTS_PER_SECOND"), optional("BURST"), optional("CONCURRENT_REQUESTS")];

/// A team's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// The folder's name.
    pub name: TenantName,
    /// The folder.
    pub folder: PathBuf,
    /// `tenant.yaml`, or the defaults where there is none.
    pub config: TenantConfig,
}

/// The settings of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "tenant.yaml")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields, default)]
pub struct TenantConfig {
    /// Mail addresses or groups of the people who answer for the tenant.
    #[schemars(length(max = OWNERS_MAX))]
    pub owners: Vec<String>,
    /// How many runs of the tenant may be under way at once.
    #[schemars(range(min = 1, max = CONCURRENT_RUNS_MAX))]
    pub max_concurrent_runs: u32,
    /// Which groups of the identity provider may do what with the tenant.
    #[schemars(with = "AccessDocument")]
    pub access: GroupAccess,
    /// What the tenant may ask of the API.
    pub limits: TenantLimits,
}

impl Default for TenantConfig {
    fn default() -> Self {
        Self {
            owners: Vec::new(),
            max_concurrent_runs: 2,
            access: GroupAccess::default(),
            limits: TenantLimits::default(),
        }
    }
}

/// What a tenant may ask of the API; what is not said is what the operators grant everybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields, default)]
pub struct TenantLimits {
    /// How many requests each of the tenant's keys may make per second.
    #[schemars(range(min = 1, max = REQUESTS_MAX))]
    pub requests_per_second: Option<u32>,
    /// How many of them it may make at once.
    #[schemars(range(min = 1, max = REQUESTS_MAX))]
    pub burst: Option<u32>,
    /// How many requests of the tenant may be in flight.
    #[schemars(range(min = 1, max = CONCURRENT_REQUESTS_MAX))]
    pub concurrent_requests: Option<u32>,
}

/// Reads a tenant's folder, adding every problem of it to `problems`.
pub(crate) fn load(folder: &Path, problems: &mut Vec<Diagnostic>) -> Option<Tenant> {
    let file = folder.join(TENANT_FILE);
    let name =
        name_of(folder).and_then(|name| name.parse::<TenantName>().map_err(|e| e.to_string()));
    let name = match name {
        Ok(name) => Some(name),
        Err(message) => {
            problems.push(
                Diagnostic::of_file(Code::TenantNameInvalid, &file, message)
                    .help("rename the tenant's folder"),
            );
            None
        }
    };
    let config = match SourceFile::read(&file) {
        Ok(source) => read(&source, problems),
        Err(problem) if problem.code == Code::FileMissing => Some(TenantConfig::default()),
        Err(problem) => {
            problems.push(*problem);
            None
        }
    };
    Some(Tenant { name: name?, folder: folder.to_owned(), config: config? })
}

/// The name of a folder, also of `.`.
pub(crate) fn name_of(folder: &Path) -> Result<String, String> {
    let real = folder.canonicalize().map_err(|error| error.kind().to_string())?;
    match real.file_name().map(|name| name.to_str()) {
        Some(Some(name)) => Ok(name.to_owned()),
        Some(None) => Err("the folder's name is not UTF-8".to_owned()),
        None => Err("the folder has no name".to_owned()),
    }
}

fn read(source: &SourceFile, problems: &mut Vec<Diagnostic>) -> Option<TenantConfig> {
    let mut reader = Reader { source, problems: Vec::new() };
    let mut config = TenantConfig::default();
    if let Some(root) = yaml::parse(source, &mut reader.problems)
        && let Some(section) = reader.section(&root, TENANT_FILE, KEYS)
    {
        if let Some(node) = section.get("OWNERS")
            && let Some(owners) = reader.list(node)
        {
            for owner in owners.iter().take(OWNERS_MAX) {
                config.owners.extend(reader.filled_text(owner, "OWNERS").map(|text| text.value));
            }
            if let Some(beyond) = owners.get(OWNERS_MAX) {
                let message = format!("found {} owners", owners.len());
                let problem = reader
                    .problem(Code::ValueOutOfRange, beyond.span, message)
                    .expected(format!("at most {OWNERS_MAX}"));
                reader.report(problem);
            }
        }
        if let Some(node) = section.get("MAX_CONCURRENT_RUNS")
            && let Some(runs) = reader.integer(node, "MAX_CONCURRENT_RUNS", 1..=CONCURRENT_RUNS_MAX)
        {
            config.max_concurrent_runs = runs;
        }
        if let Some(node) = section.get("ACCESS")
            && let Some(section) = reader.section(node, "ACCESS", access_config::KEYS)
        {
            config.access = access_config::read(&mut reader, &section);
        }
        if let Some(node) = section.get("LIMITS")
            && let Some(limits) = reader.section(node, "LIMITS", LIMITS_KEYS)
        {
            let mut limit = |key: &str, max: u32| {
                limits.get(key).and_then(|node| reader.integer(node, key, 1..=max))
            };
            config.limits = TenantLimits {
                requests_per_second: limit("REQUESTS_PER_SECOND", REQUESTS_MAX),
                burst: limit("BURST", REQUESTS_MAX),
                concurrent_requests: limit("CONCURRENT_REQUESTS", CONCURRENT_REQUESTS_MAX),
            };
        }
    }
    let clean = reader.problems.is_empty();
    problems.append(&mut reader.problems);
    clean.then_some(config)
}
