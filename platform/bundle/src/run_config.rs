//! `RUN_CONFIG`: how a service runs. Every key is optional.

use cameo_domain::MissedRunPolicy;
use chrono::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reader::{Key, Reader, Section, optional};

/// Longest window in which a missed run is still made, and longest freshness, in hours: a year.
pub(crate) const HOURS_MAX: u32 = 8_760;
/// Most generations kept for rolling back.
pub(crate) const GENERATIONS_KEPT_MAX: u32 = 100;
/// Least and most memory of a run, in MB.
pub(crate) const MEMORY_LIMIT_MB: (u32, u32) = (64, 1_048_576);
/// Longest run, in minutes: a week.
pub(crate) const TIME_LIMIT_MINUTES_MAX: u32 = 10_080;
/// Most rows that a run can be let read or write, and what it may unless its bundle says less or more.
pub(crate) const ROWS_MAX: (u32, u32) = (4_000_000_000, 1_000_000_000);
/// Most attempts of a run.
pub(crate) const ATTEMPTS_MAX: u32 = 10;

/// The keys of `RUN_CONFIG`.
pub(crate) const KEYS: &[Key] = &[
    optional("MISSED_RUN_POLICY"),
    optional("MISSED_RUN_WINDOW_HOURS"),
    optional("GENERATIONS_KEPT"),
    optional("STALE_AFTER_HOURS"),
    optional("MEMORY_LIMIT_MB"),
    optional("TIME_LIMIT_MINUTES"),
    optional("ROWS_READ_MAX"),
    optional("ROWS_WRITTEN_MAX"),
    optional("ATTEMPTS_MAX"),
];

/// How a service runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields, default)]
pub struct RunConfig {
    /// What happens to due instants that passed while nothing could run: `LATEST` runs the latest
    /// one, `ALL` every one, `SKIP` none.
    #[serde(with = "policy")]
    #[schemars(with = "PolicyWord")]
    pub missed_run_policy: MissedRunPolicy,
    /// How far back a missed instant is still worth running, in hours.
    #[schemars(range(min = 1, max = HOURS_MAX))]
    pub missed_run_window_hours: u32,
    /// How many published generations are kept for rolling back.
    #[schemars(range(min = 1, max = GENERATIONS_KEPT_MAX))]
    pub generations_kept: u32,
    /// After how many hours without a new generation predictions are marked stale.
    #[schemars(range(min = 1, max = HOURS_MAX))]
    pub stale_after_hours: u32,
    /// Memory that a run may use, in MB.
    #[schemars(range(min = MEMORY_LIMIT_MB.0, max = MEMORY_LIMIT_MB.1))]
    pub memory_limit_mb: u32,
    /// How long a run may take, in minutes.
    #[schemars(range(min = 1, max = TIME_LIMIT_MINUTES_MAX))]
    pub time_limit_minutes: u32,
    /// How many rows `features.sql` may give.
    // Releases of before, and bundles that say nothing, keep the ids that they have.
    #[serde(skip_serializing_if = "is_usual_rows")]
    #[schemars(range(min = 1, max = ROWS_MAX.0))]
    pub rows_read_max: u32,
    /// How many predictions may be written; a service that ranks writes several for each customer.
    #[serde(skip_serializing_if = "is_usual_rows")]
    #[schemars(range(min = 1, max = ROWS_MAX.0))]
    pub rows_written_max: u32,
    /// How often a run is tried when the cause is transient.
    #[schemars(range(min = 1, max = ATTEMPTS_MAX))]
    pub attempts_max: u32,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            missed_run_policy: MissedRunPolicy::Latest,
            missed_run_window_hours: 24,
            generations_kept: 3,
            stale_after_hours: 48,
            memory_limit_mb: 2_048,
            time_limit_minutes: 120,
            rows_read_max: ROWS_MAX.1,
            rows_written_max: ROWS_MAX.1,
            attempts_max: 3,
        }
    }
}

impl RunConfig {
    /// How far back a missed instant is still worth running.
    #[must_use]
    pub fn missed_run_window(&self) -> Duration {
        Duration::hours(self.missed_run_window_hours.into())
    }

    /// Memory that a run may use.
    #[must_use]
    pub fn memory_limit_bytes(&self) -> u64 {
        u64::from(self.memory_limit_mb) * 1024 * 1024
    }

    /// How long a run may take.
    #[must_use]
    pub fn time_limit(&self) -> std::time::Duration {
        std::time::Duration::from_secs(u64::from(self.time_limit_minutes) * 60)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_usual_rows(rows: &u32) -> bool {
    *rows == ROWS_MAX.1
}

pub(crate) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> RunConfig {
    let mut run = RunConfig::default();
    if let Some(node) = section.get("MISSED_RUN_POLICY")
        && let Some(word) = reader.filled_text(node, "MISSED_RUN_POLICY")
    {
        if let Some(policy) = policy::parse(&word.value) {
            run.missed_run_policy = policy;
        } else {
            let words = policy::WORDS.map(|(word, _)| word);
            let problem = reader.unknown_choice(word.span, &word.value, &words);
            reader.report(problem);
        }
    }
    let mut number = |key: &str, value: &mut u32, min: u32, max: u32| {
        if let Some(node) = section.get(key)
            && let Some(found) = reader.integer(node, key, min..=max)
        {
            *value = found;
        }
    };
    number("MISSED_RUN_WINDOW_HOURS", &mut run.missed_run_window_hours, 1, HOURS_MAX);
    number("GENERATIONS_KEPT", &mut run.generations_kept, 1, GENERATIONS_KEPT_MAX);
    number("STALE_AFTER_HOURS", &mut run.stale_after_hours, 1, HOURS_MAX);
    number("MEMORY_LIMIT_MB", &mut run.memory_limit_mb, MEMORY_LIMIT_MB.0, MEMORY_LIMIT_MB.1);
    number("TIME_LIMIT_MINUTES", &mut run.time_limit_minutes, 1, TIME_LIMIT_MINUTES_MAX);
    number("ROWS_READ_MAX", &mut run.rows_read_max, 1, ROWS_MAX.0);
    number("ROWS_WRITTEN_MAX", &mut run.rows_written_max, 1, ROWS_MAX.0);
    number("ATTEMPTS_MAX", &mut run.attempts_max, 1, ATTEMPTS_MAX);
    run
}

/// For the JSON Schema.
#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE", inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum PolicyWord {
    Latest,
    All,
    Skip,
}

/// The policy as configs spell it.
mod policy {
    use cameo_domain::MissedRunPolicy::{self, All, Latest, Skip};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) const WORDS: [(&str, MissedRunPolicy); 3] =
        [("LATEST", Latest), ("ALL", All), ("SKIP", Skip)];

    pub(super) fn parse(word: &str) -> Option<MissedRunPolicy> {
        WORDS.iter().find(|(known, _)| *known == word).map(|(_, policy)| *policy)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(
        policy: &MissedRunPolicy,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match policy {
            Latest => "LATEST",
            All => "ALL",
            Skip => "SKIP",
        })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<MissedRunPolicy, D::Error> {
        let word = String::deserialize(deserializer)?;
        parse(&word).ok_or_else(|| D::Error::unknown_variant(&word, &["LATEST", "ALL", "SKIP"]))
    }
}
