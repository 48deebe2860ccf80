//! Where a release stands.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where a release stands between a merged bundle and its end. The database holds the same table as a
/// trigger, so no code path can leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Registered; nothing runs it.
    Candidate,
    /// Runs at the same instants as production and is compared with it; nobody is served by it.
    Shadow,
    /// Has passed its comparison and goes on running beside production until somebody signs it off.
    Canary,
    /// What the schedule runs and readers are served. One release of a service at most.
    Production,
    /// Was replaced, or its service was taken out of git.
    Archived,
}

impl Stage {
    /// Every stage, in the order in which a release passes through them.
    pub const ALL: [Self; 5] =
        [Self::Candidate, Self::Shadow, Self::Canary, Self::Production, Self::Archived];

    /// The stages that a release may enter from this one.
    ///
    /// Production is left only for the archive: by the release that replaces it, or with its service.
    /// The archive is left for another look or, to undo a promotion, straight for production.
    #[must_use]
    pub fn next(self) -> &'static [Self] {
        match self {
            Self::Candidate => &[Self::Shadow, Self::Canary, Self::Production, Self::Archived],
            Self::Shadow => &[Self::Candidate, Self::Canary, Self::Production, Self::Archived],
            Self::Canary => &[Self::Candidate, Self::Shadow, Self::Production, Self::Archived],
            Self::Production => &[Self::Archived],
            Self::Archived => &[Self::Candidate, Self::Shadow, Self::Production],
        }
    }

    /// Whether a release may go from this stage to `next`.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        self.next().contains(&next)
    }

    /// Whether a release of this stage runs beside production without being published.
    #[must_use]
    pub fn runs_beside(self) -> bool {
        matches!(self, Self::Shadow | Self::Canary)
    }

    /// The spelling in the database and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Production => "production",
            Self::Archived => "archived",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no stage; expected candidate, shadow, canary, production or archived")]
pub struct StageError(String);

impl FromStr for Stage {
    type Err = StageError;

    fn from_str(text: &str) -> Result<Self, StageError> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| StageError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_reads_back() {
        for stage in Stage::ALL {
            assert_eq!(stage.as_str().parse(), Ok(stage));
        }
    }

    #[test]
    fn production_is_left_only_for_the_archive_and_can_be_reached_again_from_there() {
        assert_eq!(Stage::Production.next(), [Stage::Archived]);
        assert!(Stage::Archived.may_become(Stage::Production));
    }

    #[test]
    fn no_stage_leads_to_itself() {
        for stage in Stage::ALL {
            assert!(!stage.may_become(stage), "{stage}");
        }
    }
}
