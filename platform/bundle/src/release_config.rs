//! `RELEASE_CONFIG`: how a release gets into production. Every key is optional.

use cameo_domain::Stage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    code::Code,
    reader::{Key, Reader, Section, optional},
};

/// Most comparisons in a row that a promotion may wait for.
pub(crate) const SHADOW_RUNS_MAX: u32 = 100;
/// Least and most ratio of a shadow run's time or memory to production's.
pub(crate) const RATIO: (f64, f64) = (1.0, 1000.0);
/// Largest shift of a mean, as a share of production's mean.
pub(crate) const MEAN_SHIFT_MAX: f64 = 1000.0;
/// Largest population stability index, in nats.
pub(crate) const PSI_MAX: f64 = 100.0;

/// The keys of `RELEASE_CONFIG`.
pub(crate) const KEYS: &[Key] = &[
    optional("ON_APPLY"),
    optional("PROTECTED"),
    optional("SHADOW_RUNS_MIN"),
    optional("SHADOW_DURATION_RATIO_MAX"),
    optional("SHADOW_MEMORY_RATIO_MAX"),
    optional("SHADOW_MEAN_SHIFT_MAX"),
    optional("SHADOW_PSI_MAX"),
    optional("SHADOW_CHANGED_SHARE_MAX"),
];

/// How a release gets into production.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields, default)]
pub struct ReleaseConfig {
    /// The stage that a release enters when it is applied: `PRODUCTION`, or `CANDIDATE` or `SHADOW`, from
    /// where `cameo promote` leads on. Where nothing is said it is `SHADOW` with `SHADOW_RUNS_MIN`, else
    /// `CANDIDATE` where the service is protected.
    #[serde(with = "stage")]
    #[schemars(with = "OnApplyWord")]
    pub on_apply: Stage,
    /// Whether a second person has to approve what goes into production.
    pub protected: bool,
    /// How many shadow runs in a row must have passed their comparison before a release may enter canary
    /// or production; 0 for none. Counts once there is a release in production to compare with.
    #[schemars(range(min = 0, max = SHADOW_RUNS_MAX))]
    pub shadow_runs_min: u32,
    /// How much longer than production's a shadow run may take, as a ratio.
    #[schemars(range(min = RATIO.0, max = RATIO.1))]
    pub shadow_duration_ratio_max: f64,
    /// How much more memory than production's a shadow run may need, as a ratio.
    #[schemars(range(min = RATIO.0, max = RATIO.1))]
    pub shadow_memory_ratio_max: f64,
    /// How far the mean of a numeric prediction may lie from production's, as a share of it.
    #[schemars(range(min = 0.0, max = MEAN_SHIFT_MAX))]
    pub shadow_mean_shift_max: f64,
    /// How far the distribution of a prediction may lie from production's: the population stability
    /// index, in nats.
    #[schemars(range(min = 0.0, max = PSI_MAX))]
    pub shadow_psi_max: f64,
    /// The share of customers whose text or truth value, such as a tier, may differ from production's.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub shadow_changed_share_max: f64,
}

impl Default for ReleaseConfig {
    fn default() -> Self {
        Self {
            on_apply: Stage::Production,
            protected: false,
            shadow_runs_min: 0,
            shadow_duration_ratio_max: 1.1,
            shadow_memory_ratio_max: 1.1,
            shadow_mean_shift_max: 0.15,
            shadow_psi_max: 0.25,
            shadow_changed_share_max: 0.25,
        }
    }
}

impl ReleaseConfig {
    /// Whether nothing was set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

pub(crate) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> ReleaseConfig {
    let mut release = ReleaseConfig::default();
    if let Some(node) = section.get("PROTECTED")
        && let Some(protected) = reader.truth(node)
    {
        release.protected = protected;
    }
    if let Some(node) = section.get("SHADOW_RUNS_MIN")
        && let Some(found) = reader.integer(node, "SHADOW_RUNS_MIN", 0..=SHADOW_RUNS_MAX)
    {
        release.shadow_runs_min = found;
    }
    // Why a release cannot enter production by being applied, where it cannot.
    let detour = if release.shadow_runs_min > 0 {
        release.on_apply = Stage::Shadow;
        Some("a service whose releases are compared first")
    } else if release.protected {
        release.on_apply = Stage::Candidate;
        Some("a protected service")
    } else {
        None
    };
    if let Some(node) = section.get("ON_APPLY")
        && let Some(word) = reader.filled_text(node, "ON_APPLY")
    {
        match (stage::parse(&word.value), detour) {
            (Some(Stage::Production), Some(detour)) => {
                let message = format!("{detour} cannot enter production by being applied");
                let problem = reader
                    .problem(Code::ProtectedOnApply, word.span, message)
                    .expected("CANDIDATE or SHADOW")
                    .help("leave it out, and promote the release with `cameo promote`");
                reader.report(problem);
            }
            (Some(stage), _) => release.on_apply = stage,
            (None, _) => {
                let words = stage::WORDS.map(|(word, _)| word);
                let problem = reader.unknown_choice(word.span, &word.value, &words);
                reader.report(problem);
            }
        }
    }
    let mut decimal = |key: &str, value: &mut f64, (min, max): (f64, f64)| {
        if let Some(node) = section.get(key)
            && let Some(found) = reader.decimal(node, key, min..=max)
        {
            *value = found;
        }
    };
    decimal("SHADOW_DURATION_RATIO_MAX", &mut release.shadow_duration_ratio_max, RATIO);
    decimal("SHADOW_MEMORY_RATIO_MAX", &mut release.shadow_memory_ratio_max, RATIO);
    decimal("SHADOW_MEAN_SHIFT_MAX", &mut release.shadow_mean_shift_max, (0.0, MEAN_SHIFT_MAX));
    decimal("SHADOW_PSI_MAX", &mut release.shadow_psi_max, (0.0, PSI_MAX));
    decimal("SHADOW_CHANGED_SHARE_MAX", &mut release.shadow_changed_share_max, (0.0, 1.0));
    release
}

/// For the JSON Schema.
#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE", inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum OnApplyWord {
    Production,
    Candidate,
    Shadow,
}

/// The stage as configs spell it.
mod stage {
    use cameo_domain::Stage::{self, Candidate, Production, Shadow};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) const WORDS: [(&str, Stage); 3] =
        [("PRODUCTION", Production), ("CANDIDATE", Candidate), ("SHADOW", Shadow)];

    pub(super) fn parse(word: &str) -> Option<Stage> {
        WORDS.iter().find(|(known, _)| *known == word).map(|(_, stage)| *stage)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(
        stage: &Stage,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let word =
            WORDS.iter().find(|(_, known)| known == stage).map_or("CANDIDATE", |word| word.0);
        serializer.serialize_str(word)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Stage, D::Error> {
        let word = String::deserialize(deserializer)?;
        let words = &["PRODUCTION", "CANDIDATE", "SHADOW"];
        parse(&word).ok_or_else(|| D::Error::unknown_variant(&word, words))
    }
}
