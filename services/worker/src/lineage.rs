//! Tells a lineage receiver what an attempt reads and writes, where one is configured.

use std::sync::{Mutex, PoisonError};

use cameo_bundle::ReleaseManifest;
use cameo_openlineage::{Attempt, Emitter, Ending, Input, Output, Phase, event};
use cameo_pipeline::{Outcome, RunError};
use cameo_store::{generations, runs::ClaimedRun};
use cameo_warehouse::TableStats;

use crate::Dependencies;

/// The events of one attempt: exactly one start and one end.
pub(crate) struct Telling<'a> {
    emitter: &'a Emitter,
    dependencies: &'a Dependencies,
    attempt: Attempt,
    /// What it reads, once that is known; it has started then.
    inputs: Mutex<Option<Vec<Input>>>,
}

impl<'a> Telling<'a> {
    pub(crate) fn new(
        emitter: &'a Emitter,
        namespace: &str,
        dependencies: &'a Dependencies,
        claimed: &ClaimedRun,
    ) -> Self {
        // A release that cannot be read halts the run; it is told all the same.
        let manifest = serde_json::from_value::<ReleaseManifest>(claimed.manifest.clone()).ok();
        let (sql, git_commit) =
            manifest.map(|manifest| (manifest.feature_sql, manifest.git_commit)).unzip();
        let attempt = Attempt {
            namespace: namespace.to_owned(),
            path: claimed.path.clone(),
            run: claimed.run,
            epoch: claimed.epoch,
            due_at: claimed.due_at,
            sql,
            git_commit: git_commit.flatten(),
        };
        Self { emitter, dependencies, attempt, inputs: Mutex::new(None) }
    }

    /// It starts, and reads `tables`.
    pub(crate) fn started(&self, tables: &[TableStats]) {
        let inputs = tables.iter().map(|table| Input {
            name: table.name.clone(),
            rows: table.rows,
            bytes: table.bytes,
        });
        let inputs: Vec<Input> = inputs.collect();
        self.emit(&Phase::Start, &inputs);
        *self.inputs.lock().unwrap_or_else(PoisonError::into_inner) = Some(inputs);
    }

    /// It ended.
    pub(crate) async fn ended(&self, claimed: &ClaimedRun, result: Result<&Outcome, &RunError>) {
        let ending = match result {
            Ok(outcome) => Ending::Complete(Box::new(self.output(claimed, outcome).await)),
            Err(RunError::Halt(reason) | RunError::Transient(reason)) => {
                Ending::Fail(reason.to_string())
            }
            Err(RunError::Cancelled | RunError::StaleEpoch) => Ending::Abort,
        };
        let inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let inputs = inputs.unwrap_or_else(|| {
            self.emit(&Phase::Start, &[]);
            Vec::new()
        });
        self.emit(&Phase::End(ending), &inputs);
    }

    async fn output(&self, claimed: &ClaimedRun, outcome: &Outcome) -> Output {
        // Only a figure of the event: where the database does not tell now, it is left out.
        let bytes = generations::table_bytes(&self.dependencies.store, outcome.generation).await;
        Output {
            generation: outcome.generation.0,
            schema: claimed.schema.clone(),
            rows: outcome.digest.rows,
            bytes: bytes.ok().flatten(),
        }
    }

    fn emit(&self, phase: &Phase, inputs: &[Input]) {
        self.emitter.emit(event(&self.attempt, phase, inputs, self.dependencies.clock.now()));
    }
}
