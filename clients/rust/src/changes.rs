//! What changed in a segment, and how far each of those who follow it has come.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::{
    client::TenantClient,
    error::Error,
    http::{Ask, parse},
    key::Key,
    predictions::{Columns, number},
    segments::{Export, Format},
};

/// From where on changes are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since<'a> {
    /// From nobody: everybody entered.
    Nobody,
    /// From the materialisation that the caller has.
    Materialisation(u32),
    /// From what this consumer acknowledged last.
    Consumer(&'a str),
}

/// What changed between two materialisations.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Changes {
    /// Since which materialisation; 0 where everybody entered.
    pub since: u32,
    /// Up to which one: acknowledge it, or ask for the next changes since it.
    pub materialisation: u32,
    /// Sorted by key.
    pub changes: Vec<Change>,
}

/// One customer who is a member now and was none, the reverse, or has other attributes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// Who.
    pub key: Key,
    /// What happened.
    pub change: ChangeKind,
    /// The attributes by `service.column`; null of those who left.
    #[serde(flatten)]
    pub attributes: Columns,
}

/// What happened to a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChangeKind {
    /// Is a member and was none.
    Entered,
    /// Was a member and is none.
    Left,
    /// Was a member, is one, and has other attributes.
    Changed,
    /// Something that a newer server tells.
    #[serde(other)]
    Other,
}

/// How far a consumer has come.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Consumer {
    /// Who.
    pub consumer: String,
    /// Up to which materialisation it has taken the changes.
    pub materialisation: u32,
    /// Who said so.
    pub acknowledged_by: String,
    /// When.
    pub acknowledged_at: DateTime<Utc>,
}

/// Whom a condition chooses from what the services show now.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct SegmentCount {
    /// The condition, with every name written out.
    pub condition: String,
    /// How many customers it chooses.
    pub members: u64,
    /// How many customers its services know.
    pub profiles: u64,
    /// The oldest time of prediction among the generations.
    pub as_of: DateTime<Utc>,
    /// What was counted: service and generation.
    pub generations: BTreeMap<String, i64>,
}

impl TenantClient {
    /// Counts whom a condition chooses; nothing is kept.
    ///
    /// # Errors
    /// [`Code::InvalidSegment`](crate::Code::InvalidSegment) with the position where the condition does not fit.
    pub async fn count_segment(&self, condition: &str) -> Result<SegmentCount, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            condition: &'a str,
        }
        let ask = Ask::change(Method::POST, self.path(&["segments:count"])).harmless();
        self.http.json(ask.json(&Body { condition })?).await
    }

    /// Who entered, who left and, with `attributes`, whose attributes changed, up to the latest materialisation, all in
    /// memory; [`export_changes`](Self::export_changes) gathers nothing.
    ///
    /// # Errors
    /// [`Code::MaterialisationGone`](crate::Code::MaterialisationGone) where the older members are no longer kept: take
    /// all members, and go on from there.
    pub async fn changes(
        &self,
        segment: &str,
        since: Since<'_>,
        attributes: bool,
    ) -> Result<Changes, Error> {
        let mut export = self.export_changes(segment, since, attributes, Format::Ndjson).await?;
        let mut text = Vec::new();
        while let Some(part) = export.chunk().await? {
            text.extend_from_slice(&part);
        }
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let said = |number: Option<i64>| {
            number.and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
        };
        Ok(Changes {
            since: said(export.since),
            materialisation: said(export.materialisation),
            changes: lines.map(parse).collect::<Result<_, _>>()?,
        })
    }

    /// The same as [`changes`](Self::changes) in any format, as it arrives.
    pub async fn export_changes(
        &self,
        segment: &str,
        since: Since<'_>,
        attributes: bool,
        format: Format,
    ) -> Result<Export, Error> {
        let (number_of, consumer) = match since {
            Since::Nobody => (Some(0), None),
            Since::Materialisation(number) => (Some(number), None),
            Since::Consumer(consumer) => (None, Some(consumer)),
        };
        let ask = Ask::get(self.path(&["segments", segment, "changes"]))
            .query("since", number_of)
            .query("consumer", consumer)
            .query("attributes", attributes.then_some("true"))
            .query("format", Some(format.as_str()));
        self.export(ask).await
    }

    /// Those who follow a segment, by name.
    pub async fn consumers(&self, segment: &str) -> Result<Vec<Consumer>, Error> {
        #[derive(Deserialize)]
        struct List {
            consumers: Vec<Consumer>,
        }
        let ask = Ask::get(self.path(&["segments", segment, "consumers"]));
        let list: List = self.http.json(ask).await?;
        Ok(list.consumers)
    }

    /// Notes that a consumer has everything up to a materialisation. Say it once the changes are safe: what was not
    /// acknowledged is given again.
    pub async fn acknowledge(
        &self,
        segment: &str,
        consumer: &str,
        materialisation: u32,
    ) -> Result<Consumer, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            consumer: &'a str,
            materialisation: u32,
        }
        let path = self.path(&["segments", segment, "changes:acknowledge"]);
        // Saying the same again changes nothing.
        let ask = Ask::change(Method::POST, path).harmless();
        self.http.json(ask.json(&Body { consumer, materialisation })?).await
    }

    pub(crate) async fn export(&self, ask: Ask<'_>) -> Result<Export, Error> {
        let response = self.http.respond(&ask.streamed()).await?;
        let of = |name| number(response.headers(), name);
        Ok(Export {
            materialisation: of("cameo-materialisation"),
            since: of("cameo-since"),
            members: of("cameo-members"),
            url: self.http.base().to_owned(),
            response,
        })
    }
}
