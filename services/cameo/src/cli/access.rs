//! Keys and the audit trail.

use std::{path::PathBuf, str::FromStr};

use cameo_domain::{NameError, Scope, ScopeError, Scopes, ServiceName, TenantName};
use chrono::{DateTime, Duration, NaiveDate, Utc};
use clap::{Args, Subcommand, ValueEnum};

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
pub(super) fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let day = text.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(0, 0, 0));
    match day {
        Some(midnight) => Ok(midnight.and_utc()),
        None => text.parse().map_err(|_| {
            "expected a day such as 2026-03-01 or an instant such as 2026-03-01T18:00:00Z"
                .to_owned()
        }),
    }
}

/// Longest time for which a key goes on working after its rotation.
const OVERLAP_DAYS_MAX: i64 = 30;

/// A number with its unit: seconds, minutes, hours or days.
fn overlap(text: &str) -> Result<Duration, String> {
    let expected = || "expected a duration such as 24h, 30m, 45s or 7d, up to 30d".to_owned();
    let (number, unit) =
        text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(expected)?;
    let number: u32 = number.parse().map_err(|_| expected())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(expected()),
    };
    let overlap = Duration::seconds(i64::from(number) * seconds);
    if overlap <= Duration::days(OVERLAP_DAYS_MAX) { Ok(overlap) } else { Err(expected()) }
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
        /// A service of the tenant to which the key is confined; several may be given. All unless given.
        #[arg(long, value_delimiter = ',', conflicts_with = "admin")]
        service: Vec<ServiceName>,
        /// The key stops working after this many days.
        #[arg(long)]
        expires_days: Option<u32>,
        /// Requests per second, where it is to be fewer than the tenant's other keys may make.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        rate: Option<u32>,
    },
    /// List keys by prefix.
    List,
    /// Make a key that may do the same as another, which ends after an overlap; print it once.
    Rotate {
        /// The key's prefix, as listed.
        prefix: String,
        /// How long both keys work, such as 24h, 30m or 7d; up to 30 days.
        #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = overlap)]
        overlap: Duration,
    },
    /// Stop a key from working.
    Revoke {
        /// The key's prefix, as listed.
        prefix: String,
    },
    /// Make a master key, by which sensitive predictions are sealed, in a file of its own.
    NewMaster {
        /// The file, which must not be there yet.
        file: PathBuf,
    },
    /// Seal a tenant's sensitive predictions with another key from the next run on.
    RotateTenantKey {
        /// The tenant.
        tenant: TenantName,
    },
    /// Wrap all tenants' keys by the master key that is in use now, instead of by the one before.
    Rewrap {
        /// The file of the master key before.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
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
    /// Define segments and who is told of their changes.
    Segment,
    /// Erase customers.
    Erase,
    /// Make, rotate and revoke keys.
    Manage,
    /// See predictions that are declared sensitive.
    Sensitive,
    /// Everything but `sensitive`.
    All,
}

impl KeyScope {
    /// The scopes of a key.
    pub(crate) fn together(chosen: &[Self]) -> Result<Scopes, ScopeError> {
        let words: Vec<_> = chosen
            .iter()
            .map(|scope| match scope {
                Self::Read => Scope::Read.as_str(),
                Self::Run => Scope::Run.as_str(),
                Self::Deploy => Scope::Deploy.as_str(),
                Self::Promote => Scope::Promote.as_str(),
                Self::Segment => Scope::Segment.as_str(),
                Self::Erase => Scope::Erase.as_str(),
                Self::Manage => Scope::Manage.as_str(),
                Self::Sensitive => Scope::Sensitive.as_str(),
                Self::All => "all",
            })
            .collect();
        Scopes::from_words(&words)
    }
}
