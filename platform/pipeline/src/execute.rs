//! Letting a prepared plan flow.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arrow::array::RecordBatch;
use async_channel::{Receiver, Sender};
use cameo_batch::{ConformError, RowDigest, conform};
use cameo_crashpoint::hit;
use cameo_domain::{GenerationId, Reason};
use cameo_isolation::Ranker;
use cameo_sealing::{DataKey, Sealer, TenantKeys};
use cameo_store::{
    Store,
    erasures::{self, Suppressed},
    explanations as explained,
    generations::{self, Generation, Writer},
    quarantine::{self as stored, QuarantinedRow},
    runs::{self, ClaimedRun, Progress, RunCounts},
};
use cameo_warehouse::{BatchStream, PostProcess, ReadOptions, Warehouse, WarehouseError};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use tokio::task::JoinSet;

use crate::{
    error::{RunError, chain},
    explain::{self, Explanations},
    limits::Limits,
    plan::{ModelFiles, Plan, Scoring},
    progress::{PUBLISH, Tracker},
    quarantine::Quarantine,
    ranking::{self, RankingStep},
    rows::{self, Keyed},
};

/// Batches that wait between two stages. A few hide jitter; more would only hold memory.
const QUEUE_BATCHES: usize = 4;

/// Everything that one execution needs.
pub struct Execution {
    /// What to run.
    pub plan: Arc<Plan>,
    /// For whom: the run and the epoch under which it may write.
    pub claimed: ClaimedRun,
    /// Where predictions go.
    pub store: Store,
    /// What sensitive predictions are sealed with.
    pub tenant_keys: Arc<TenantKeys>,
    /// Where features come from.
    pub warehouse: Arc<dyn Warehouse>,
    /// Bounds and degree of parallelism of the read.
    pub read: ReadOptions,
    /// Tasks that score at the same time.
    pub scorers: usize,
    /// COPY connections.
    pub writers: usize,
    /// The instant that the predictions carry.
    pub predicted_at: DateTime<Utc>,
    /// How much it may read and write; its time is the caller's to watch over.
    pub limits: Limits,
    /// Length of the lease that the last heartbeat renews.
    pub lease_seconds: u32,
    /// Counters for whoever watches.
    pub tracker: Arc<Tracker>,
}

/// A generation that is complete and verified, and that nobody reads yet.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The generation.
    pub generation: Generation,
    /// Count and checksum of its rows.
    pub digest: RowDigest,
    counts: RunCounts,
}

/// How an execution ended well.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The generation that was written.
    pub generation: GenerationId,
    /// Whether it became current, or was older than what is.
    pub publication: generations::Outcome,
    /// Count and checksum of its rows.
    pub digest: RowDigest,
}

/// Runs the plan until its generation is sealed. `files` are those of the plan: explanations take them apart.
///
/// Dropping the future stops every stage; what was written then belongs to no published generation and is
/// dropped later.
///
/// # Errors
/// See [`RunError`]; on every error the serving generation is untouched.
pub async fn load(execution: &Execution, files: Arc<ModelFiles>) -> Result<Sealed, RunError> {
    // Threads that wait for the model would outlive this future, and a model that never answers them.
    let _stops = execution.plan.host.stops();
    let sealing = sealing_key(execution).await?;
    let explanations = prepare_explanations(execution, files).await?;
    let Execution { plan, claimed, store, tracker, predicted_at, .. } = execution;
    let generation = generations::begin(
        store,
        claimed,
        &generations::GenerationMeta {
            release: plan.manifest.id(),
            hashes: claimed.hashes,
            watermark: plan.watermark(),
            data_fingerprint: Some(plan.data_fingerprint()),
            predicted_at: *predicted_at,
            schema: plan.manifest.schema.clone(),
        },
    )
    .await?;
    hit("generation_begun");

    let quarantine = Arc::new(Quarantine::default());
    let sealer = match sealing {
        None => None,
        Some(key) => Some(Arc::new(Sealer::new(&key, &generation.path, generation.id)?)),
    };
    let into = Destination { generation: &generation, sealer };
    let written = stages(execution, &into, &quarantine, explanations.as_ref()).await?;
    hit("all_written");

    let progress = tracker.snapshot();
    let counts = reconcile(&progress, plan.manifest.schema.top_n(), written)?;
    let sample = Arc::into_inner(quarantine).unwrap_or_default().into_sample();
    stored::insert(store, claimed.run, claimed.epoch, &sample).await?;
    hit("quarantine_stored");
    if let Some(explanations) = explanations {
        let importance = tokio::task::spawn_blocking(move || explanations.finish())
            .await
            .map_err(|error| RunError::halt("stage_panicked", error.to_string()))??;
        explained::record(store, &generation, &importance).await?;
    }
    hit("explanation_stored");

    tracker.begin("seal");
    let sealed = generations::seal(store, &generation).await?;
    tracker.end("seal");
    hit("generation_sealed");
    if sealed != written {
        return Err(RunError::transient(
            "verification",
            format!("the store holds {sealed:?} where {written:?} was sent"),
        ));
    }
    Ok(Sealed { generation, digest: written, counts })
}

/// Publishes what [`load`] has sealed.
///
/// # Errors
/// See [`RunError`]; on every error the serving generation is untouched.
pub async fn publish(execution: &Execution, sealed: Sealed) -> Result<Outcome, RunError> {
    let Execution { claimed, store, tracker, lease_seconds, .. } = execution;
    let Sealed { generation, digest, counts } = sealed;
    // The last picture: a published run takes no more heartbeats.
    tracker.begin(PUBLISH);
    let (run, epoch) = (claimed.run, claimed.epoch);
    runs::heartbeat(store, run, epoch, *lease_seconds, &tracker.snapshot()).await?;
    let publication = generations::publish(store, run, epoch, &generation, digest, &counts).await?;
    tracker.end(PUBLISH);
    hit("publish_committed");
    Ok(Outcome { generation: generation.id, publication, digest })
}

/// The tenant's key, where something is to be sealed. Without one nothing is begun.
async fn sealing_key(execution: &Execution) -> Result<Option<DataKey>, RunError> {
    if !execution.plan.is_sensitive() {
        return Ok(None);
    }
    let tenant = &execution.plan.manifest.path.tenant;
    Ok(Some(execution.tenant_keys.current(tenant).await?))
}

/// Where rows go, and what seals them before.
struct Destination<'g> {
    generation: &'g Generation,
    sealer: Option<Arc<Sealer>>,
}

async fn prepare_explanations(
    execution: &Execution,
    files: Arc<ModelFiles>,
) -> Result<Option<Arc<Explanations>>, RunError> {
    let Execution { plan, store, warehouse, tracker, read, .. } = execution;
    tracker.begin("background");
    let explanations = Explanations::prepare(plan, files, store, warehouse.as_ref(), read).await?;
    tracker.end("background");
    Ok(explanations.map(Arc::new))
}

/// Counts are of customers; one has a row, or up to `top_n` of a service that ranks.
fn reconcile(
    progress: &Progress,
    top_n: Option<u32>,
    written: RowDigest,
) -> Result<RunCounts, RunError> {
    let most = progress.rows_scored.saturating_mul(top_n.map_or(1, u64::from));
    let counts = RunCounts {
        rows_read: progress.rows_read,
        rows_scored: progress.rows_scored,
        rows_quarantined: progress.rows_quarantined,
        rows_suppressed: progress.rows_suppressed,
    };
    if counts.rows_read == counts.rows_scored + counts.rows_quarantined + counts.rows_suppressed
        && (counts.rows_scored..=most).contains(&written.rows)
    {
        return Ok(counts);
    }
    Err(RunError::transient("counts", format!("{counts:?} do not add up to {written:?}")))
}

/// What a stage's task leaves behind.
enum End {
    Done,
    Wrote(RowDigest),
}

async fn stages(
    execution: &Execution,
    into: &Destination<'_>,
    quarantine: &Arc<Quarantine>,
    explanations: Option<&Arc<Explanations>>,
) -> Result<RowDigest, RunError> {
    let Execution { plan, warehouse, tracker, read, limits, .. } = execution;
    let tenant = &plan.manifest.path.tenant;
    let ranker = match plan.ranking() {
        None => None,
        Some(step) => {
            tracker.begin("items");
            let ranker = step.items(warehouse.as_ref(), tenant, read).await?;
            tracker.end("items");
            Some(Arc::new(ranker))
        }
    };
    // Before anything is read: whoever is erased from now on is taken out when the run publishes.
    let key_type = plan.manifest.schema.key().data_type;
    let path = &plan.manifest.path;
    let suppressed = erasures::suppressed(&execution.store, path, key_type).await?;
    let suppressed = Arc::new(suppressed);
    hit("suppressions_read");
    let (batch_in, batch_out) = async_channel::bounded(QUEUE_BATCHES);
    let (scored_in, scored_out) = async_channel::bounded(QUEUE_BATCHES);
    let handed_over = Arc::new(AtomicU64::new(0));
    // Leaving this function by an error drops the set, which aborts every task in it.
    let mut tasks: JoinSet<Result<End, RunError>> = JoinSet::new();

    tracker.begin("features");
    let source = warehouse.read(tenant, &plan.query, read).await?;
    hit("read_started");
    for partition in source.partitions {
        tasks.spawn(read_partition(partition, batch_in.clone(), *limits, Arc::clone(tracker)));
    }
    drop(batch_in);

    for _ in 0..execution.scorers.max(1) {
        tasks.spawn(score_batches(
            Arc::clone(plan),
            Beside {
                ranker: ranker.clone(),
                suppressed: Arc::clone(&suppressed),
                explaining: explanations.cloned().map_or(Explaining::Nothing, Explaining::Rows),
            },
            batch_out.clone(),
            scored_in.clone(),
            Arc::clone(tracker),
            Arc::clone(quarantine),
            Arc::clone(&handed_over),
        ));
    }
    drop((scored_in, batch_out));

    let results = if let Some(sql) = &plan.manifest.predictions_sql {
        let (result_in, result_out) = async_channel::bounded(QUEUE_BATCHES);
        let input: BatchStream = Box::pin(scored_out.map(Ok));
        let stream =
            PostProcess::run(sql, input, Arc::clone(&plan.scored), &plan.query.parameters, read)
                .await?;
        let handed_over = Arc::clone(&handed_over);
        let plan = Arc::clone(plan);
        tasks.spawn(forward(plan, stream, result_in, Arc::clone(tracker), handed_over));
        result_out
    } else {
        scored_out
    };

    for _ in 0..execution.writers.max(1) {
        let writer = Writer::open(&execution.store, into.generation).await?;
        tasks.spawn(write_batches(
            writer,
            into.sealer.clone(),
            Arc::clone(plan),
            results.clone(),
            *limits,
            Arc::clone(tracker),
            Arc::clone(quarantine),
        ));
    }
    drop(results);

    let mut digest = RowDigest::default();
    while let Some(end) = tasks.join_next().await {
        let end = end.map_err(|error| RunError::halt("stage_panicked", error.to_string()))?;
        if let End::Wrote(part) = end? {
            digest.merge(part);
        }
    }
    let given = handed_over.load(Ordering::Relaxed);
    if plan.ranking().is_some() && digest.rows != given {
        let lost = format!("{given} rows were ranked and {} were written", digest.rows);
        return Err(RunError::transient("counts", lost));
    }
    Ok(digest)
}

async fn read_partition(
    mut partition: BatchStream,
    batches: Sender<RecordBatch>,
    limits: Limits,
    tracker: Arc<Tracker>,
) -> Result<End, RunError> {
    while let Some(batch) = partition.next().await {
        let batch = batch?;
        limits.check_read(tracker.read(batch.num_rows()))?;
        hit("first_batch_read");
        if batches.send(batch).await.is_err() {
            // The next stage is gone; its own error says why.
            return Ok(End::Done);
        }
    }
    tracker.end("features");
    hit("all_read");
    Ok(End::Done)
}

/// What the score stage works with beside the plan: the items of a service that ranks, whom it leaves out,
/// and what takes the scores apart where they are explained.
#[derive(Clone)]
pub(crate) struct Beside {
    pub(crate) ranker: Option<Arc<Ranker>>,
    pub(crate) suppressed: Arc<Suppressed>,
    pub(crate) explaining: Explaining,
}

/// What is done to take scores apart.
#[derive(Clone)]
pub(crate) enum Explaining {
    /// Each row is explained.
    Rows(Arc<Explanations>),
    /// Nothing is explained, and no row may need it.
    Nothing,
    /// Rows that carry explanations carry an empty one: nobody will read them.
    LeftOut,
}

async fn score_batches(
    plan: Arc<Plan>,
    beside: Beside,
    batches: Receiver<RecordBatch>,
    scored: Sender<RecordBatch>,
    tracker: Arc<Tracker>,
    quarantine: Arc<Quarantine>,
    handed_over: Arc<AtomicU64>,
) -> Result<End, RunError> {
    while let Ok(batch) = batches.recv().await {
        tracker.begin("score");
        for batch in steps_of(&plan, &batch) {
            let customers = batch.num_rows();
            let (plan, own) = (Arc::clone(&plan), beside.clone());
            let work = move || score(&plan, &own, &batch);
            let Scored { outputs, rejected, suppressed } = tokio::task::spawn_blocking(work)
                .await
                .map_err(|error| RunError::halt("model_panicked", error.to_string()))??;
            tracker.quarantined(rejected.len());
            tracker.suppressed(suppressed);
            if beside.ranker.is_some() {
                // A customer is scored with all its rows or not at all; see `write_batches`.
                tracker.scored(customers - rejected.len() - suppressed);
            }
            quarantine.add(rejected);
            hit("first_batch_scored");
            handed_over.fetch_add(outputs.num_rows() as u64, Ordering::Relaxed);
            if outputs.num_rows() > 0 && scored.send(outputs).await.is_err() {
                return Ok(End::Done);
            }
        }
    }
    tracker.end("score");
    hit("all_scored");
    Ok(End::Done)
}

/// What became of one batch.
pub(crate) struct Scored {
    /// Keys, model outputs and explanations, side by side.
    pub(crate) outputs: RecordBatch,
    /// Rows that were left out, with the reason.
    pub(crate) rejected: Vec<QuarantinedRow>,
    /// How many rows were left out because their customers were erased: of them nothing is told.
    pub(crate) suppressed: usize,
}

/// Scores one batch.
pub(crate) fn score(plan: &Plan, beside: &Beside, batch: &RecordBatch) -> Result<Scored, RunError> {
    let broken = |error: arrow::error::ArrowError| RunError::halt("batch", chain(&error));
    let key = plan.manifest.schema.key();
    let (keyed, mut rejected) = rows::split(batch, plan.key_index, key).map_err(broken)?;
    let (keyed, suppressed) = keyed.without_suppressed(&beside.suppressed).map_err(broken)?;
    let outputs = score_rows(plan, beside, keyed, &mut rejected)?;
    Ok(Scored { outputs, rejected, suppressed })
}

/// Scores rows of customers who may be told of, and adds those that cannot be scored to `rejected`.
fn score_rows(
    plan: &Plan,
    beside: &Beside,
    keyed: Keyed,
    rejected: &mut Vec<QuarantinedRow>,
) -> Result<RecordBatch, RunError> {
    let broken = |error: arrow::error::ArrowError| RunError::halt("batch", chain(&error));
    let key = plan.manifest.schema.key();
    let model = match (&plan.scoring, &beside.ranker) {
        (Scoring::Rows(model), _) => model,
        (Scoring::Ranking(_), Some(ranker)) => {
            let (rows, unranked) = ranking::rank(ranker, key, &keyed)?;
            rejected.extend(unranked);
            return Ok(rows);
        }
        (Scoring::Ranking(_), None) => {
            return Err(RunError::transient("items", "the items were not read"));
        }
    };
    let scored = model.score(&keyed.features)?;
    let keyed = if scored.rejected.is_empty() {
        keyed
    } else {
        let left_out: Vec<usize> = scored.rejected.iter().map(|row| row.row).collect();
        rejected.extend(scored.rejected.into_iter().map(|row| QuarantinedRow {
            key: rows::key_text(&keyed.keys, row.row),
            column: Some(row.column),
            reason: row.reason,
        }));
        keyed.without_rows(left_out).map_err(broken)?
    };
    let joined = rows::join(key, keyed.keys, &scored.outputs).map_err(broken)?;
    let joined = match &beside.explaining {
        Explaining::Rows(explanations) => explanations.add(joined, &keyed.features)?,
        Explaining::LeftOut if plan.is_explained() => explain::with_nothing(&joined)?,
        Explaining::Nothing if plan.is_explained() && joined.num_rows() > 0 => {
            return Err(RunError::transient(
                "explanation_background",
                "there were no customers to compare with when the run began, but there are now",
            ));
        }
        Explaining::LeftOut | Explaining::Nothing => joined,
    };
    if plan.postprocessed.is_none() {
        return Ok(joined);
    }
    // A rank over a column with NaN means nothing, so predictions.sql never sees one.
    let (outputs, unusable) = rows::finite(joined).map_err(broken)?;
    rejected.extend(unusable);
    Ok(outputs)
}

async fn forward(
    plan: Arc<Plan>,
    mut stream: BatchStream,
    results: Sender<RecordBatch>,
    tracker: Arc<Tracker>,
    handed_over: Arc<AtomicU64>,
) -> Result<End, RunError> {
    tracker.begin("predictions");
    let mut given = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| postprocess_failed(&plan, error))?;
        given += batch.num_rows() as u64;
        if results.send(batch).await.is_err() {
            return Ok(End::Done);
        }
    }
    tracker.end("predictions");
    one_row_each(handed_over.load(Ordering::Relaxed), given)?;
    Ok(End::Done)
}

/// What the engine says about predictions.sql; of a service with sensitive predictions only the kind of
/// failure, for its words may repeat a value.
pub(crate) fn postprocess_failed(plan: &Plan, error: WarehouseError) -> RunError {
    let untold = |reason: Reason| {
        Reason::new(
            reason.code,
            "predictions.sql failed on a row; what the engine says is not repeated, for some predictions \
             are sensitive. Try the query without SENSITIVE on data that may be seen",
        )
    };
    match RunError::from(error) {
        RunError::Halt(reason) if plan.is_sensitive() => RunError::Halt(untold(reason)),
        RunError::Transient(reason) if plan.is_sensitive() => RunError::Transient(untold(reason)),
        told => told,
    }
}

/// A row that disappears in predictions.sql would be neither scored nor quarantined.
pub(crate) fn one_row_each(taken: u64, given: u64) -> Result<(), RunError> {
    if given == taken {
        return Ok(());
    }
    Err(RunError::halt(
        "predictions_sql_rows",
        format!(
            "predictions.sql must give exactly one row per scored row; it took {taken} rows \
             and gave {given} (look for WHERE, QUALIFY, GROUP BY or a join)"
        ),
    ))
}

/// Pieces of a batch that are scored one after the other: all of it, or as many customers as give a
/// bounded number of rows.
pub(crate) fn steps_of(plan: &Plan, batch: &RecordBatch) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    let step = plan.ranking().map_or(rows, RankingStep::customers_per_step).max(1);
    (0..rows).step_by(step).map(|from| batch.slice(from, step.min(rows - from))).collect()
}

/// A service that ranks publishes all rows of a customer or none, and the others are on their way.
fn whole_customers(unusable: &[QuarantinedRow]) -> Result<(), RunError> {
    let Some(row) = unusable.first() else { return Ok(()) };
    Err(RunError::halt(
        "prediction_value",
        format!(
            "predictions.sql gives a `{}` that is not a finite number; bound it there, as with SAFE_DIVIDE \
             or COALESCE",
            row.column.as_deref().unwrap_or("value"),
        ),
    ))
}

/// A batch as it is published, but for being sealed, and the rows that were left out.
pub(crate) fn to_publish(
    plan: &Plan,
    batch: &RecordBatch,
) -> Result<(RecordBatch, Vec<QuarantinedRow>), RunError> {
    let unfit = |error: &dyn std::error::Error| RunError::halt("prediction_value", chain(error));
    let batch = conform(batch, &plan.opened).map_err(|error| match &error {
        // Its cause repeats the value.
        ConformError::Value { column, .. } if plan.manifest.schema.is_sensitive(column) => {
            RunError::halt("prediction_value", error.to_string())
        }
        _ => unfit(&error),
    })?;
    if plan.postprocessed.is_some() && plan.is_explained() {
        explain::check_documents(&batch)?;
    }
    let (batch, unusable) = rows::finite(batch).map_err(|error| unfit(&error))?;
    if plan.ranking().is_some() {
        whole_customers(&unusable)?;
    }
    Ok((batch, unusable))
}

async fn write_batches(
    mut writer: Writer,
    sealer: Option<Arc<Sealer>>,
    plan: Arc<Plan>,
    results: Receiver<RecordBatch>,
    limits: Limits,
    tracker: Arc<Tracker>,
    quarantine: Arc<Quarantine>,
) -> Result<End, RunError> {
    while let Ok(batch) = results.recv().await {
        tracker.begin("write");
        let (batch, unusable) = to_publish(&plan, &batch)?;
        tracker.quarantined(unusable.len());
        quarantine.add(unusable);
        let rows = batch.num_rows();
        let batch = match &sealer {
            None => batch,
            Some(sealer) => sealer.seal_batch(&batch, &plan.manifest.schema)?,
        };
        writer.send(&batch).await?;
        if plan.ranking().is_none() {
            tracker.scored(rows);
        }
        limits.check_written(tracker.written(rows))?;
        hit("first_batch_written");
        hit("batch_written");
    }
    let digest = writer.finish().await?;
    tracker.end("write");
    Ok(End::Wrote(digest))
}
