//! Which stage a release enters when it is applied.

use cameo_bundle::ReleaseConfig;
use cameo_domain::Stage;
use cameo_store::releases::Standing;
use serde::{Deserialize, Serialize};

/// What applying a release does with it. `cameo_store::releases::apply` decides; this foretells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Entry {
    /// It enters the stage that its config names.
    Enters {
        /// Which.
        stage: Stage,
        /// Whether it was archived before.
        again: bool,
    },
    /// It stays a candidate until somebody else approves it for production.
    AwaitsApproval,
    /// It is in use already, and stays where it is.
    Stays {
        /// Where.
        stage: Stage,
    },
    /// Somebody rolled it back; only a promotion brings it back.
    Held,
}

impl Entry {
    pub(crate) fn of(standing: &Standing, release: &ReleaseConfig) -> Self {
        match standing.stage {
            Some(Stage::Archived) if standing.rolled_back => Self::Held,
            Some(stage) if stage != Stage::Archived => Self::Stays { stage },
            archived => {
                let protected = release.protected || standing.production_protected;
                if protected && release.on_apply == Stage::Production {
                    Self::AwaitsApproval
                } else {
                    Self::Enters { stage: release.on_apply, again: archived.is_some() }
                }
            }
        }
    }

    /// Whether applying changes anything.
    #[must_use]
    pub fn changes(self) -> bool {
        matches!(self, Self::Enters { .. } | Self::AwaitsApproval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(stage: Option<Stage>, rolled_back: bool, protected: bool, wanted: Stage) -> Entry {
        let standing = Standing { stage, rolled_back, production_protected: protected };
        Entry::of(&standing, &ReleaseConfig { on_apply: wanted, ..ReleaseConfig::default() })
    }

    #[test]
    fn a_release_enters_the_stage_that_its_config_names_unless_something_holds_it() {
        let production = Stage::Production;
        let enters = |stage, again| Entry::Enters { stage, again };
        assert_eq!(entry(None, false, false, production), enters(production, false));
        assert_eq!(entry(None, false, false, Stage::Shadow), enters(Stage::Shadow, false));
        assert_eq!(entry(None, false, true, production), Entry::AwaitsApproval);
        assert_eq!(entry(None, false, true, Stage::Shadow), enters(Stage::Shadow, false));
        let archived = Some(Stage::Archived);
        assert_eq!(entry(archived, false, false, production), enters(production, true));
        assert_eq!(entry(archived, true, false, production), Entry::Held);
        let shadow = Entry::Stays { stage: Stage::Shadow };
        assert_eq!(entry(Some(Stage::Shadow), false, false, production), shadow);
        assert!(!Entry::Held.changes() && !shadow.changes());
    }
}
