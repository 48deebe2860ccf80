//! The versions of a bundle, what was published, and going back.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::{client::ServiceClient, error::Error, http::Ask, services::Stage};

/// An immutable version of a bundle.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Release {
    /// Its hash.
    pub release: String,
    /// The version that the team gave it.
    pub version: String,
    /// Where it stands.
    pub stage: Stage,
    /// Since when it stands there.
    pub since: DateTime<Utc>,
    /// The stage that usually comes next.
    pub next_stage: Option<Stage>,
    /// Whether a second person has to approve what goes into production.
    pub protected: bool,
    /// Who asked for its approval, while nobody has given it.
    pub approval_asked_by: Option<String>,
    /// The commit that its bundle came from.
    pub git_commit: Option<String>,
    /// Who applied it first.
    pub applied_by: String,
    /// When it was applied first.
    pub applied_at: DateTime<Utc>,
}

/// What became of the wish to move a release.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Promotion {
    /// `moved`, `unchanged`, or `awaits_approval` by somebody else.
    pub outcome: String,
    /// Which release.
    pub release: String,
    /// Where it stands now.
    pub stage: Stage,
    /// The release that made room for it.
    pub replaced: Option<String>,
}

/// The immutable predictions that one run produced.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Generation {
    /// Its number.
    pub generation: i64,
    /// The run that made it.
    pub run: i64,
    /// What made it.
    pub release: String,
    /// When it was predicted.
    pub predicted_at: DateTime<Utc>,
    /// `loading`, `published`, `retired`, `shadowed` or `abandoned`.
    pub state: String,
    /// Whether readers are served from it.
    pub current: bool,
    /// Whether the service can go back to it.
    pub kept: bool,
    /// How many predictions it holds; once complete.
    pub rows: Option<u64>,
    /// When it was published.
    pub published_at: Option<DateTime<Utc>>,
}

/// What a rollback did.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Rollback {
    /// What readers are served now.
    pub generation: i64,
    /// What they were served before.
    pub previous: i64,
    /// The release that is in production again, where that changed.
    pub release: Option<String>,
}

impl ServiceClient {
    /// The releases: those in use first, then the latest.
    pub async fn releases(&self) -> Result<Vec<Release>, Error> {
        #[derive(Deserialize)]
        struct List {
            releases: Vec<Release>,
        }
        let list: List = self.http.json(Ask::get(self.path(&["releases"]))).await?;
        Ok(list.releases)
    }

    /// Moves a release to a stage, or to the one that usually comes next. It is named by its hash, the first digits
    /// of it, or its version.
    pub async fn promote(
        &self,
        release: &str,
        to: Option<Stage>,
        reason: Option<&str>,
    ) -> Result<Promotion, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            to: Option<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
        }
        let action = format!("{release}:promote");
        let ask = Ask::change(Method::POST, self.path(&["releases", &action]));
        self.http.json(ask.json(&Body { to: to.map(Stage::as_str), reason })?).await
    }

    /// Puts a release into production that somebody else has asked for.
    pub async fn approve(&self, release: &str, reason: Option<&str>) -> Result<Promotion, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
        }
        let action = format!("{release}:approve");
        let ask = Ask::change(Method::POST, self.path(&["releases", &action]));
        self.http.json(ask.json(&Body { reason })?).await
    }

    /// What was published, the latest first.
    pub async fn generations(&self) -> Result<Vec<Generation>, Error> {
        #[derive(Deserialize)]
        struct List {
            generations: Vec<Generation>,
        }
        let list: List = self.http.json(Ask::get(self.path(&["generations"]))).await?;
        Ok(list.generations)
    }

    /// Serves an earlier generation at once: the one given, else the one before the current one.
    pub async fn rollback(&self, generation: Option<i64>) -> Result<Rollback, Error> {
        #[derive(Serialize)]
        struct Body {
            #[serde(skip_serializing_if = "Option::is_none")]
            generation: Option<i64>,
        }
        let action = format!("{}:rollback", self.service);
        let path = vec!["v1", "tenants", &self.tenant, "services", &action];
        self.http.json(Ask::change(Method::POST, path).json(&Body { generation })?).await
    }
}
