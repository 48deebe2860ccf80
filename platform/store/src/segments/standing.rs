//! How far the making of members is, for metrics.

use cameo_domain::TenantName;
use sqlx::{FromRow, Row, postgres::PgRow};

use crate::{Store, StoreError, row::Columns};

/// How far the segments of a tenant are.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Whose.
    pub tenant: TenantName,
    /// Seconds since the newest members of any of its segments were made; none before the first.
    pub newest_age_seconds: Option<f64>,
    /// For how many seconds the segment that waits longest has been due for other members; 0 where none is.
    pub wait_seconds: f64,
    /// How many segments say why no members can be made of them now.
    pub refused: u64,
}

impl FromRow<'_, PgRow> for Standing {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            tenant: row.parsed("tenant")?,
            newest_age_seconds: row.try_get("newest_age_seconds")?,
            wait_seconds: row.try_get("wait_seconds")?,
            refused: row.count("refused")?.unwrap_or_default(),
        })
    }
}

/// How far the segments of each tenant are that has any.
pub async fn standing(store: &Store) -> Result<Vec<Standing>, StoreError> {
    let standing = sqlx::query_as(
        "with shown as (
             select s.tenant, s.segment, count(*) as services,
                    jsonb_object_agg(v.service, v.current_generation) as generations,
                    max(p.at) as since
             from cameo.segments s
             join cameo.services v on v.tenant = s.tenant and v.service = any (s.services)
             join lateral (
                 select at from cameo.publications p
                 where (p.tenant, p.service) = (v.tenant, v.service)
                 order by p.publication desc limit 1) p on true
             where s.definition is not null and v.current_generation is not null
             group by s.tenant, s.segment),
         due as (
             select s.tenant, min(greatest(shown.since, l.at)) as since
             from cameo.segments s join shown using (tenant, segment)
             join cameo.segment_versions l using (tenant, segment, version)
             where shown.services = cardinality(s.services)
               and (s.seen_version is distinct from s.version
                    or s.seen_generations is distinct from shown.generations)
             group by s.tenant)
         select s.tenant,
                extract(epoch from clock_timestamp() - (
                    select max(m.created_at) from cameo.segment_materialisations m
                    where m.tenant = s.tenant))::float8 as newest_age_seconds,
                coalesce(extract(epoch from clock_timestamp() - min(due.since)), 0)::float8
                    as wait_seconds,
                count(*) filter (where s.reason is not null) as refused
         from cameo.segments s left join due using (tenant)
         where s.definition is not null
         group by s.tenant order by s.tenant",
    )
    .fetch_all(store.control())
    .await?;
    Ok(standing)
}
