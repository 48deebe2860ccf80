//! Segments of a server that is reached by its API.

use std::{io::Write, time::Duration};

use anyhow::{Context, anyhow};
use cameo_domain::{ConsumerName, SegmentName, TenantName};
use cameo_segment::{
    Draft,
    export::{Compression, Format},
};
use reqwest::{Method, Response};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::client::{Answer, Server};
use crate::commands::segments::{
    source::{Listing, Since, Written},
    view::{Count, Detail, Segment},
};

/// How long a file of members may take: a hundred million rows over a slow line.
const EXPORT_TIMEOUT: Duration = Duration::from_hours(12);

impl Server {
    pub(crate) async fn segments(&self, tenant: &TenantName) -> anyhow::Result<Vec<Segment>> {
        #[derive(Deserialize)]
        struct List {
            segments: Vec<Segment>,
        }
        let path = format!("v1/tenants/{tenant}/segments");
        Ok(self.ask::<List>(Method::GET, &path, None).await?.segments)
    }

    pub(crate) async fn segment(
        &self,
        tenant: &TenantName,
        segment: &SegmentName,
    ) -> anyhow::Result<Detail> {
        self.ask(Method::GET, &format!("v1/tenants/{tenant}/segments/{segment}"), None).await
    }

    pub(crate) async fn count(&self, tenant: &TenantName, draft: &Draft) -> anyhow::Result<Count> {
        let path = format!("v1/tenants/{tenant}/segments:count");
        self.ask(Method::POST, &path, Some(serde_json::to_value(draft)?)).await
    }

    pub(crate) async fn acknowledge(
        &self,
        tenant: &TenantName,
        segment: &SegmentName,
        consumer: &ConsumerName,
        number: u32,
    ) -> anyhow::Result<()> {
        let path = format!("v1/tenants/{tenant}/segments/{segment}/changes:acknowledge");
        let body = json!({ "consumer": consumer, "materialisation": number });
        self.ask::<serde_json::Value>(Method::POST, &path, Some(body)).await?;
        Ok(())
    }

    /// Writes the rows of a listing as they arrive.
    pub(crate) async fn write_rows(
        &self,
        tenant: &TenantName,
        segment: &SegmentName,
        listing: &Listing,
        (format, compression): (Format, Compression),
        mut file: impl Write,
    ) -> anyhow::Result<Written> {
        let mut query = vec![
            ("format", format.as_str().to_owned()),
            ("compression", compression.as_str().to_owned()),
        ];
        let what = match listing {
            Listing::Members { materialisation, limit } => {
                query.extend(materialisation.map(|number| ("materialisation", number.to_string())));
                query.extend(limit.map(|limit| ("limit", limit.to_string())));
                "members"
            }
            Listing::Changes { since, attributes } => {
                query.push(match since {
                    Since::Number(number) => ("since", number.to_string()),
                    Since::Consumer(consumer) => ("consumer", consumer.to_string()),
                });
                query.push(("attributes", attributes.to_string()));
                "changes"
            }
        };
        let pairs: Vec<String> =
            query.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        let path = format!("v1/tenants/{tenant}/segments/{segment}/{what}?{}", pairs.join("&"));
        let request = self.request(Method::GET, &path)?.timeout(EXPORT_TIMEOUT);
        let mut answer = self.answer(request).await?;
        if !answer.status().is_success() {
            self.read::<serde_json::Value>(answer).await?;
            return Err(misunderstood());
        }
        let written = Written {
            materialisation: head(&answer, "cameo-materialisation")?,
            since: head(&answer, "cameo-since").ok(),
            as_of: head(&answer, "cameo-as-of")?,
            members: head(&answer, "cameo-members")?,
        };
        while let Some(piece) = answer.chunk().await.context("the server's answer broke off")? {
            file.write_all(&piece)?;
        }
        file.flush()?;
        Ok(written)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> anyhow::Result<T> {
        let mut request = self.request(method, path)?;
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = self.answer(request).await?;
        match self.read(answer).await? {
            Answer::Done(done) => Ok(done),
            _ => Err(misunderstood()),
        }
    }
}

/// A value that the head of an answer has.
fn head<T: std::str::FromStr>(answer: &Response, name: &str) -> anyhow::Result<T> {
    let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.parse().ok()).ok_or_else(misunderstood)
}

fn misunderstood() -> anyhow::Error {
    anyhow!("the server gave an answer that does not fit the question")
}
