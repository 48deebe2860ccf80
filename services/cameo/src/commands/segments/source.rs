//! Where segments are asked for: the database and the files of an installation, or its API.

use std::{io::Write, sync::Arc};

use anyhow::{anyhow, bail};
use cameo_domain::{ConsumerName, SegmentName, TenantName};
use cameo_segment::{
    Draft,
    changes::Changes,
    export::{Compression, Export, ExportError, Format, Target},
    members::{Members, Page},
    membership::{Membership, MembershipError},
};
use cameo_serving::{memberships::Memberships, segments::count_stored};
use cameo_store::{
    By, exports,
    segments::{self, Materialisation},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::view::{Count, Detail, Made, Segment};
use crate::{
    cli::{Global, SegmentServer},
    deployment::{Deployment, actor},
    remote::Server,
};

/// How long a materialisation stays at least after an export of it began.
const PINNED: TimeDelta = TimeDelta::hours(24);

/// Which rows are wanted.
#[derive(Debug, Clone)]
pub(crate) enum Listing {
    /// All members, or the first of them, of a materialisation; of the latest without a number.
    Members { materialisation: Option<u32>, limit: Option<u32> },
    /// Who entered and who left.
    Changes { since: Since, attributes: bool },
}

/// Since when changes are wanted.
#[derive(Debug, Clone)]
pub(crate) enum Since {
    /// Since a materialisation; 0: since there was none.
    Number(u32),
    /// Since what a consumer acknowledged last.
    Consumer(ConsumerName),
}

/// What was written.
#[derive(Debug, Serialize)]
pub(crate) struct Written {
    pub(crate) materialisation: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<u32>,
    pub(crate) as_of: DateTime<Utc>,
    /// How many members the materialisation has.
    pub(crate) members: u64,
}

/// What gives segments.
pub(crate) enum Source {
    /// The database and the artifact store.
    Here(Box<Deployment>),
    /// The API.
    There(Server),
}

impl Source {
    pub(crate) async fn find(global: &Global, server: &SegmentServer) -> anyhow::Result<Self> {
        Ok(match server.server()? {
            Some(server) => Self::There(server),
            None => Self::Here(Box::new(Deployment::find(global).await?)),
        })
    }

    pub(crate) async fn list(&self, tenant: &TenantName) -> anyhow::Result<Vec<Segment>> {
        let store = match self {
            Self::There(server) => return server.segments(tenant).await,
            Self::Here(deployment) => &deployment.store,
        };
        let records = segments::list(store, tenant).await?;
        let latest = segments::latest(store, tenant).await?;
        let views = records.into_iter().map(|record| {
            let latest = latest.get(&record.segment);
            Segment::new(record, latest)
        });
        Ok(views.collect())
    }

    pub(crate) async fn detail(
        &self,
        tenant: &TenantName,
        segment: &SegmentName,
    ) -> anyhow::Result<Detail> {
        let store = match self {
            Self::There(server) => return server.segment(tenant, segment).await,
            Self::Here(deployment) => &deployment.store,
        };
        let record = segments::find(store, tenant, segment).await?;
        let record = record.ok_or_else(|| unknown(tenant, segment))?;
        let made = segments::materialisations(store, tenant, segment).await?;
        let segment = Segment::new(record, made.first());
        Ok(Detail { segment, materialisations: made.iter().map(Made::new).collect() })
    }

    pub(crate) async fn count(&self, tenant: &TenantName, draft: &Draft) -> anyhow::Result<Count> {
        match self {
            Self::There(server) => server.count(tenant, draft).await,
            Self::Here(deployment) => {
                let (store, artifacts) = (&deployment.store, &deployment.artifacts);
                let scratch = deployment.places.scratch();
                Ok(count_stored(store, artifacts, &scratch, tenant, draft).await?.into())
            }
        }
    }

    /// Writes the rows of a listing to `file`.
    pub(crate) async fn write(
        &self,
        tenant: &TenantName,
        segment: &SegmentName,
        listing: &Listing,
        shape: (Format, Compression),
        file: impl Write + Send + 'static,
    ) -> anyhow::Result<Written> {
        let of = match self {
            Self::There(server) => {
                return server.write_rows(tenant, segment, listing, shape, file).await;
            }
            Self::Here(deployment) => Here { deployment, tenant, segment },
        };
        match listing {
            Listing::Members { materialisation, limit } => {
                of.members(*materialisation, *limit, shape, file).await
            }
            Listing::Changes { since, attributes } => {
                of.changes(since, *attributes, shape, file).await
            }
        }
    }

    /// Notes that a consumer has taken everything up to a materialisation.
    pub(crate) async fn acknowledge(
        &self,
        tenant: &TenantName,
        segment: &SegmentName,
        consumer: &ConsumerName,
        number: u32,
    ) -> anyhow::Result<()> {
        match self {
            Self::There(server) => server.acknowledge(tenant, segment, consumer, number).await,
            Self::Here(deployment) => {
                let (store, by) = (&deployment.store, By::new(actor(), "cli"));
                exports::acknowledge(store, tenant, segment, consumer, number, &by).await?;
                Ok(())
            }
        }
    }
}

fn unknown(tenant: &TenantName, segment: &SegmentName) -> anyhow::Error {
    anyhow!("{tenant} has no segment {segment}; `cameo segment list {tenant}` lists them")
}

/// A segment of this installation.
struct Here<'a> {
    deployment: &'a Deployment,
    tenant: &'a TenantName,
    segment: &'a SegmentName,
}

impl Here<'_> {
    async fn members(
        &self,
        number: Option<u32>,
        limit: Option<u32>,
        shape: (Format, Compression),
        file: impl Write + Send + 'static,
    ) -> anyhow::Result<Written> {
        let made = self.materialisation(number).await?;
        let members = Members::all(self.open(&made).await?);
        let (schema, target) = (members.schema(), self.target(&made, shape));
        let write = move || match limit {
            None => poured(Export::begin(members, &schema, &target)?, file),
            Some(limit) => {
                let page = Page::read(members, limit as usize).map_err(ExportError::from)?;
                let rows = page.batches.into_iter().map(Ok::<_, MembershipError>);
                poured(Export::begin(rows, &schema, &target)?, file)
            }
        };
        tokio::task::spawn_blocking(write).await??;
        Ok(written(&made, None))
    }

    async fn changes(
        &self,
        since: &Since,
        attributes: bool,
        shape: (Format, Compression),
        file: impl Write + Send + 'static,
    ) -> anyhow::Result<Written> {
        let since = match since {
            Since::Number(number) => *number,
            Since::Consumer(consumer) => {
                let (tenant, segment) = (self.tenant, self.segment);
                let known = exports::consumer(&self.deployment.store, tenant, segment, consumer);
                known.await?.map_or(0, |record| record.materialisation)
            }
        };
        let made = self.materialisation(None).await?;
        if since > made.number {
            bail!("expected a materialisation of at most {}, found {since}", made.number);
        }
        let new = Members::all(self.open(&made).await?);
        let old = match since {
            0 => None,
            since => {
                let older = self.materialisation(Some(since)).await?;
                Some(Members::all(self.open(&older).await?))
            }
        };
        let new_schema = new.schema();
        let old_schema = old.as_ref().map_or_else(|| Arc::clone(&new_schema), Members::schema);
        let (old, new) = ((old.into_iter().flatten(), &*old_schema), (new, &*new_schema));
        let changes = Changes::new(old, new, attributes)?;
        let (schema, target) = (changes.schema(), self.target(&made, shape));
        let write = move || poured(Export::begin(changes, &schema, &target)?, file);
        tokio::task::spawn_blocking(write).await??;
        Ok(written(&made, Some(since)))
    }

    /// The materialisation with this number, or the latest one that can be read.
    async fn materialisation(&self, number: Option<u32>) -> anyhow::Result<Materialisation> {
        let (store, tenant, segment) = (&self.deployment.store, self.tenant, self.segment);
        if let Some(number) = number {
            let found = exports::materialisation(store, tenant, segment, number).await?;
            return found.ok_or_else(|| {
                anyhow!("segment {segment} of {tenant} has no materialisation {number}")
            });
        }
        if let Some(latest) = exports::latest(store, tenant, segment).await? {
            return Ok(latest);
        }
        let record = segments::find(store, tenant, segment).await?;
        let record = record.ok_or_else(|| unknown(tenant, segment))?;
        match record.reason {
            Some(reason) => bail!("segment {segment} has no members yet: {reason}"),
            None => bail!(
                "segment {segment} has no members yet; they are made when its services have published"
            ),
        }
    }

    async fn open(&self, made: &Materialisation) -> anyhow::Result<Membership> {
        let (store, number) = (&self.deployment.store, made.number);
        let until = Utc::now() + PINNED;
        if !segments::pin(store, self.tenant, self.segment, number, until).await? {
            bail!(
                "materialisation {number} of segment {} is no longer kept; take all members of the \
                 latest one, then its changes",
                self.segment
            );
        }
        let artifacts = Arc::clone(&self.deployment.artifacts);
        let files = Memberships::new(artifacts, self.deployment.places.scratch());
        Ok(files.open(&made.sha256).await?)
    }

    fn target(
        &self,
        made: &Materialisation,
        (format, compression): (Format, Compression),
    ) -> Target {
        Target { format, compression, segment: self.segment.clone(), as_of: made.as_of }
    }
}

fn written(made: &Materialisation, since: Option<u32>) -> Written {
    Written { materialisation: made.number, since, as_of: made.as_of, members: made.members }
}

fn poured(
    pieces: impl Iterator<Item = Result<Vec<u8>, ExportError>>,
    mut file: impl Write,
) -> anyhow::Result<()> {
    for piece in pieces {
        file.write_all(&piece?)?;
    }
    Ok(file.flush()?)
}
