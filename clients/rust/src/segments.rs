//! Segments: the customers for whom a condition over predictions holds.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::{Method, Response};
use serde::{Deserialize, Serialize};

use crate::{client::TenantClient, error::Error, http::Ask};

/// A segment.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Segment {
    /// Its name.
    pub segment: String,
    /// How often it was defined, from 1.
    pub version: u32,
    /// The service whose bundle defines it; none where the API does.
    pub defined_by: Option<String>,
    /// The condition, with every name written out.
    pub condition: String,
    /// What it is, in words.
    pub description: String,
    /// Columns that members are handed on with.
    pub attributes: Vec<String>,
    /// Why its members could not be made from what the services show now; the last ones stay.
    pub reason: Option<String>,
    /// Its members as they were made last; none until then.
    pub latest: Option<Materialisation>,
}

/// Who was a member at one time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Materialisation {
    /// Its number within the segment, from 1.
    pub number: u32,
    /// The oldest time of prediction among the generations.
    pub as_of: DateTime<Utc>,
    /// How many members there were.
    pub members: u64,
    /// Of how many customers.
    pub profiles: u64,
    /// Whether its members can still be read.
    pub readable: bool,
}

/// How members are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One JSON object per line.
    Ndjson,
    /// With a line of names first.
    Csv,
    /// A file of columns.
    Parquet,
    /// A stream of Arrow batches.
    Arrow,
}

impl Format {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }
}

/// The members of a segment, or what changed among them, as they arrive. Nothing is gathered: take the parts as fast as they are needed.
#[derive(Debug)]
pub struct Export {
    /// Which materialisation they are of, or changes lead to.
    pub materialisation: Option<i64>,
    /// Of changes: since which materialisation.
    pub since: Option<i64>,
    /// How many members that materialisation has.
    pub members: Option<i64>,
    pub(crate) response: Response,
    pub(crate) url: String,
}

impl Export {
    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// The connection broke: what has arrived is good, and a new export starts from the beginning.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = self.response.chunk().await;
        chunk.map_err(|source| Error::Unreachable { url: self.url.clone(), source })
    }
}

impl TenantClient {
    /// The tenant's segments, by name.
    pub async fn segments(&self) -> Result<Vec<Segment>, Error> {
        #[derive(Deserialize)]
        struct List {
            segments: Vec<Segment>,
        }
        let list: List = self.http.json(Ask::get(self.path(&["segments"]))).await?;
        Ok(list.segments)
    }

    /// One segment.
    pub async fn segment(&self, segment: &str) -> Result<Segment, Error> {
        self.http.json(Ask::get(self.path(&["segments", segment]))).await
    }

    /// Defines a segment: whom the condition holds for, handed on with these attributes.
    pub async fn define_segment(
        &self,
        segment: &str,
        condition: &str,
        attributes: &[&str],
    ) -> Result<Segment, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            condition: &'a str,
            attributes: &'a [&'a str],
        }
        // Defining the same again changes nothing.
        let ask = Ask::change(Method::PUT, self.path(&["segments", segment])).harmless();
        self.http.json(ask.json(&Body { condition, attributes })?).await
    }

    /// All members of a segment with their attributes, sorted by key, as of its latest materialisation.
    ///
    /// # Errors
    /// [`Code::NotMaterialised`](crate::Code::NotMaterialised) before its members were made first.
    pub async fn members(&self, segment: &str, format: Format) -> Result<Export, Error> {
        let ask = Ask::get(self.path(&["segments", segment, "members"]));
        self.export(ask.query("format", Some(format.as_str()))).await
    }
}
