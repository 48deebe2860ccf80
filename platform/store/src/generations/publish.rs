//! Publishing: one transaction that moves the pointer.

use std::ops::RangeInclusive;

use cameo_batch::RowDigest;
use cameo_domain::{Epoch, GenerationId, PredictionSchema, RunId, RunState, Sha256};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, Row};

use super::Generation;
use crate::{
    Store, StoreError,
    erasures::erase_open,
    row::{Columns, get, signed},
    runs::{RunCounts, hold},
};

/// How often the outcome of a commit that broke off is asked for.
const OUTCOME_ATTEMPTS_MAX: u32 = 5;
/// Pause between two of these questions.
const OUTCOME_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// What publishing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// Readers now get this generation.
    Published,
    /// A generation of a newer due instant is being served; this one is retired.
    Superseded {
        /// The newer generation.
        by: GenerationId,
    },
    /// The run ran beside production: this one is kept to be compared, and never served.
    Shadowed,
}

/// Publishes a sealed generation: in one transaction the service's pointer moves, the run ends, the
/// ledger gets its entry and the mirror its task, and customers who are being erased go. Nothing of it happens when the claim is stale,
/// when what the table holds is not `expected`, or when the counts do not reconcile. Of a run beside
/// production only the run and the generation end.
///
/// When the connection breaks during the commit, the outcome is read back, so an answer is always
/// what happened.
pub async fn publish(
    store: &Store,
    run: RunId,
    epoch: Epoch,
    generation: &Generation,
    expected: RowDigest,
    counts: &RunCounts,
) -> Result<Outcome, StoreError> {
    let (generation, counts, task_store) = (generation.clone(), *counts, store.clone());
    crate::connect::spawned(async move {
        let store = task_store;
        let attempt = Attempt { run, epoch, generation, expected, counts };
        let id = attempt.generation.id;
        let answer = store
            .transaction(move |connection| {
                Box::pin(async move { attempt.publish(connection).await })
            })
            .await;
        match answer {
            Err(error) if error.is_transient() => read_back(&store, run, id, error).await,
            decided => decided,
        }
    })
    .await
}

/// How many rows a generation may have that was scored for so many keys.
fn rows_per_key(schema: &PredictionSchema, scored: u64) -> RangeInclusive<u64> {
    let most = schema.top_n().map_or(1, u64::from);
    scored..=scored.saturating_mul(most)
}

struct Attempt {
    run: RunId,
    epoch: Epoch,
    generation: Generation,
    expected: RowDigest,
    counts: RunCounts,
}

struct Current {
    generation: Option<i64>,
    due_at: Option<DateTime<Utc>>,
}

impl Attempt {
    async fn publish(self, connection: &mut PgConnection) -> Result<Outcome, StoreError> {
        let current = self.lock_service(connection).await?;
        if let Err(stale) = hold(connection, self.run, self.epoch).await {
            let ended = outcome(connection, self.run, self.generation.id).await?;
            return ended.ok_or(stale);
        }
        cameo_crashpoint::hit("publish_locked");
        let due_at = self.check_sealed(connection).await?;
        self.erase(connection).await?;
        if self.runs_beside(connection).await? {
            self.end(connection, "shadowed", RunState::Shadowed).await?;
            cameo_crashpoint::hit("publish_before_commit");
            return Ok(Outcome::Shadowed);
        }
        match (current.generation, current.due_at) {
            // Equal instants belong to one run, and a run publishes once.
            (Some(newer), Some(newer_due_at)) if newer_due_at >= due_at => {
                self.end(connection, "retired", RunState::Superseded).await?;
                Ok(Outcome::Superseded { by: GenerationId(newer) })
            }
            (previous, _) => {
                self.end(connection, "published", RunState::Published).await?;
                self.flip(connection, previous).await?;
                cameo_crashpoint::hit("publish_before_commit");
                Ok(Outcome::Published)
            }
        }
    }

    /// Takes out whom somebody asked to erase after the run had read the suppressions: the pointer never
    /// refers to a table with such a customer. What is sealed stays recorded as it was.
    async fn erase(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let Generation { id, table, path, schema, .. } = &self.generation;
        let rows = erase_open(connection, path, *id, table, schema).await?;
        if rows > 0 {
            tracing::info!(generation = %id, rows, "took out who was erased while the run ran");
        }
        Ok(())
    }

    /// Whether the run is one beside production. The database refuses to publish such a run.
    async fn runs_beside(&self, connection: &mut PgConnection) -> Result<bool, StoreError> {
        let beside = sqlx::query_scalar("select purpose = 'shadow' from cameo.runs where run = $1")
            .bind(self.run.0)
            .fetch_one(connection)
            .await?;
        Ok(beside)
    }

    /// Locks the pointer. Publications and rollbacks of a service happen one after the other.
    async fn lock_service(&self, connection: &mut PgConnection) -> Result<Current, StoreError> {
        let row = sqlx::query(
            "select s.current_generation, g.due_at
             from cameo.services s
             left join cameo.generations g on g.generation = s.current_generation
             where s.tenant = $1 and s.service = $2 for no key update of s",
        )
        .bind(self.generation.path.tenant.as_str())
        .bind(self.generation.path.service.as_str())
        .fetch_optional(&mut *connection)
        .await?
        .ok_or_else(|| StoreError::NotFound(format!("service {}", self.generation.path)))?;
        let generation: Option<i64> = row.try_get("current_generation")?;
        // After a wait for the lock the joined row may be of the pointer's old value.
        let due_at = match generation {
            None => None,
            Some(generation) => {
                sqlx::query_scalar("select due_at from cameo.generations where generation = $1")
                    .bind(generation)
                    .fetch_one(connection)
                    .await?
            }
        };
        Ok(Current { generation, due_at })
    }

    async fn check_sealed(
        &self,
        connection: &mut PgConnection,
    ) -> Result<DateTime<Utc>, StoreError> {
        let row = sqlx::query(
            "select due_at, rows, checksum from cameo.generations
             where generation = $1 and run = $2 and epoch = $3 and state = 'loading'
               and sealed_at is not null for no key update",
        )
        .bind(self.generation.id.0)
        .bind(self.run.0)
        .bind(self.epoch.0)
        .fetch_optional(connection)
        .await?
        .ok_or_else(|| {
            StoreError::NotFound(format!("sealed generation {} of this claim", self.generation.id))
        })?;
        let found = RowDigest {
            rows: row.count("rows")?.unwrap_or_default(),
            checksum: get(&row, "checksum", i64::cast_unsigned)?,
        };
        if found != self.expected {
            return Err(StoreError::DigestMismatch { expected: self.expected, found });
        }
        let RunCounts {
            rows_read: read,
            rows_scored: scored,
            rows_quarantined: quarantined,
            rows_suppressed: suppressed,
        } = self.counts;
        let fits = rows_per_key(&self.generation.schema, scored).contains(&found.rows);
        if read != scored + quarantined + suppressed || !fits {
            let written = found.rows;
            return Err(StoreError::Counts { read, scored, quarantined, suppressed, written });
        }
        Ok(row.try_get("due_at")?)
    }

    /// Ends the generation and the run.
    async fn end(
        &self,
        connection: &mut PgConnection,
        generation_state: &str,
        run_state: RunState,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "update cameo.generations
             set state = $2, published_at = case when $2 = 'published' then clock_timestamp() end
             where generation = $1",
        )
        .bind(self.generation.id.0)
        .bind(generation_state)
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "update cameo.runs
             set state = $2, generation = $3, rows_read = $4, rows_scored = $5,
                 rows_quarantined = $6, rows_suppressed = $7, lease_expires_at = null, reason = null,
                 finished_at = clock_timestamp()
             where run = $1",
        )
        .bind(self.run.0)
        .bind(run_state.as_str())
        .bind(self.generation.id.0)
        .bind(signed(self.counts.rows_read))
        .bind(signed(self.counts.rows_scored))
        .bind(signed(self.counts.rows_quarantined))
        .bind(signed(self.counts.rows_suppressed))
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Compares and swaps the pointer, writes the ledger and the outbox, and tells the readers.
    async fn flip(
        &self,
        connection: &mut PgConnection,
        previous: Option<i64>,
    ) -> Result<(), StoreError> {
        let (tenant, service) =
            (self.generation.path.tenant.as_str(), self.generation.path.service.as_str());
        let swapped = sqlx::query(
            "update cameo.services set current_generation = $3
             where tenant = $1 and service = $2 and current_generation is not distinct from $4",
        )
        .bind(tenant)
        .bind(service)
        .bind(self.generation.id.0)
        .bind(previous)
        .execute(&mut *connection)
        .await?
        .rows_affected();
        if swapped != 1 {
            return Err(StoreError::StaleEpoch { run: self.run, epoch: self.epoch });
        }
        cameo_crashpoint::hit("pointer_moved");
        sqlx::query(
            "insert into cameo.publications (tenant, service, action, generation, previous, actor)
             select $1, $2, 'publish', $3, $4, coalesce(worker, 'unknown')
             from cameo.runs where run = $5",
        )
        .bind(tenant)
        .bind(service)
        .bind(self.generation.id.0)
        .bind(previous)
        .bind(self.run.0)
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "insert into cameo.outbox (generation, tenant, service, load_id)
             values ($1, $2, $3, $4)",
        )
        .bind(self.generation.id.0)
        .bind(tenant)
        .bind(service)
        .bind(load_id(&self.generation).to_string())
        .execute(&mut *connection)
        .await?;
        sqlx::query("select pg_notify('cameo_publications', $1), pg_notify('cameo_outbox', $1)")
            .bind(self.generation.path.to_string())
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// The identity of the generation's load into the warehouse: the same for every repetition.
fn load_id(generation: &Generation) -> Sha256 {
    let (path, id) = (generation.path.to_string(), generation.id.to_string());
    Sha256::of_parts([("path", path.as_bytes()), ("generation", id.as_bytes())])
}

/// What became of the run with this generation, when it has ended with it.
async fn outcome(
    connection: &mut PgConnection,
    run: RunId,
    generation: GenerationId,
) -> Result<Option<Outcome>, StoreError> {
    let row = sqlx::query(
        "select r.state, s.current_generation
         from cameo.runs r join cameo.services s using (tenant, service)
         where r.run = $1 and r.generation = $2",
    )
    .bind(run.0)
    .bind(generation.0)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let current: Option<i64> = row.try_get("current_generation")?;
    Ok(match row.parsed("state")? {
        RunState::Published => Some(Outcome::Published),
        RunState::Shadowed => Some(Outcome::Shadowed),
        RunState::Superseded => current.map(|by| Outcome::Superseded { by: GenerationId(by) }),
        _ => None,
    })
}

/// After a broken commit: asks by key what happened. The first error stands when nothing did.
async fn read_back(
    store: &Store,
    run: RunId,
    generation: GenerationId,
    broken: StoreError,
) -> Result<Outcome, StoreError> {
    for _ in 0..OUTCOME_ATTEMPTS_MAX {
        let asked = async {
            let mut connection = store.control().acquire().await?;
            outcome(&mut connection, run, generation).await
        };
        match asked.await {
            Ok(Some(outcome)) => return Ok(outcome),
            Ok(None) => return Err(broken),
            Err(_) => tokio::time::sleep(OUTCOME_PAUSE).await,
        }
    }
    Err(broken)
}
