//! Run events after the OpenLineage specification 2-0-2.

use cameo_domain::{Epoch, PredictionSchema, RunId, ServicePath, Sha256};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Who says so: facets and events name it.
pub const PRODUCER: &str = concat!("urn:cameo:", env!("CARGO_PKG_VERSION"));
/// The shape of an event.
pub const EVENT_SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
/// The namespace of tables that feature queries read and predictions are mirrored to.
const WAREHOUSE: &str = "cameo-warehouse";
/// The namespace of the tables that SQL users read.
const SERVING: &str = "cameo-postgres";

/// One attempt of a run.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The namespace of all jobs of the installation.
    pub namespace: String,
    /// Whose.
    pub path: ServicePath,
    /// The run.
    pub run: RunId,
    /// The claim under which it was attempted: the number of the attempt, counting also those that were
    /// handed back.
    pub epoch: Epoch,
    /// For which instant.
    pub due_at: DateTime<Utc>,
    /// The feature query; none where the release cannot be read.
    pub sql: Option<String>,
    /// The commit that the bundle came from.
    pub git_commit: Option<String>,
}

/// A table that the attempt reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// `dataset.table`.
    pub name: String,
    /// Rows, where the format carries the count.
    pub rows: Option<u64>,
    /// Stored bytes.
    pub bytes: Option<u64>,
}

/// What the attempt wrote.
#[derive(Debug, Clone)]
pub struct Output {
    /// The generation.
    pub generation: i64,
    /// Its columns.
    pub schema: PredictionSchema,
    /// Its rows.
    pub rows: u64,
    /// Bytes of its table and indexes, where the database told.
    pub bytes: Option<u64>,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// Complete.
    Complete(Box<Output>),
    /// Failed, with the reason.
    Fail(String),
    /// Ended by others: the worker stopped, or another one took the run over.
    Abort,
}

/// Which of an attempt's events it is.
#[derive(Debug, Clone)]
pub enum Phase {
    /// It begins.
    Start,
    /// It ended.
    End(Ending),
}

/// An event, ready to be sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEvent {
    event_type: &'static str,
    event_time: String,
    producer: &'static str,
    #[serde(rename = "schemaURL")]
    schema_url: &'static str,
    run: Value,
    job: Value,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
}

/// The event of an attempt that read, or will read, `inputs`.
#[must_use]
pub fn event(attempt: &Attempt, phase: &Phase, inputs: &[Input], at: DateTime<Utc>) -> RunEvent {
    let (event_type, outputs) = match phase {
        Phase::Start => ("START", Vec::new()),
        Phase::End(Ending::Complete(output)) => ("COMPLETE", attempt.outputs(output)),
        Phase::End(Ending::Fail(_)) => ("FAIL", Vec::new()),
        Phase::End(Ending::Abort) => ("ABORT", Vec::new()),
    };
    RunEvent {
        event_type,
        event_time: instant(at),
        producer: PRODUCER,
        schema_url: EVENT_SCHEMA,
        run: json!({
            "runId": attempt.id(Some(attempt.epoch)),
            "facets": attempt.run_facets(phase),
        }),
        job: json!({
            "namespace": attempt.namespace,
            "name": attempt.path.to_string(),
            "facets": attempt.job_facets(),
        }),
        inputs: inputs.iter().map(|input| attempt.input(input)).collect(),
        outputs,
    }
}

impl Attempt {
    /// The same attempt has the same id, whoever tells of it and however often. Without an epoch, the
    /// id of the run of which all attempts are parts.
    #[must_use]
    pub fn id(&self, epoch: Option<Epoch>) -> Uuid {
        let (path, run, due_at) =
            (self.path.to_string(), self.run.to_string(), instant(self.due_at));
        let epoch = epoch.map_or(String::new(), |epoch| epoch.to_string());
        let digest = Sha256::of_parts([
            ("namespace", self.namespace.as_bytes()),
            ("path", path.as_bytes()),
            ("run", run.as_bytes()),
            // Run numbers begin anew with a new database; with the instant they do not repeat.
            ("due_at", due_at.as_bytes()),
            ("epoch", epoch.as_bytes()),
        ]);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.as_bytes()[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    fn run_facets(&self, phase: &Phase) -> Value {
        let mut facets = Map::new();
        let due_at = json!({ "nominalStartTime": instant(self.due_at) });
        add(&mut facets, "nominalTime", "1-0-1/NominalTimeRunFacet", due_at);
        let parent = json!({
            "run": { "runId": self.id(None) },
            "job": { "namespace": self.namespace, "name": self.path.to_string() },
        });
        add(&mut facets, "parent", "1-1-0/ParentRunFacet", parent);
        if let Phase::End(Ending::Fail(reason)) = phase {
            let error = json!({ "message": reason, "programmingLanguage": "SQL" });
            add(&mut facets, "errorMessage", "1-0-1/ErrorMessageRunFacet", error);
        }
        facets.into()
    }

    fn job_facets(&self) -> Value {
        let mut facets = Map::new();
        let kind =
            json!({ "processingType": "BATCH", "integration": "CAMEO", "jobType": "PREDICTION" });
        add(&mut facets, "jobType", "2-0-3/JobTypeJobFacet", kind);
        if let Some(sql) = &self.sql {
            add(&mut facets, "sql", "1-0-1/SQLJobFacet", json!({ "query": sql }));
        }
        if let Some(commit) = &self.git_commit {
            let place = json!({
                "type": "git",
                "url": format!("urn:cameo:bundle:{}", self.path),
                "version": commit,
            });
            let kind = "1-0-1/SourceCodeLocationJobFacet";
            add(&mut facets, "sourceCodeLocation", kind, place);
        }
        facets.into()
    }

    fn input(&self, input: &Input) -> Value {
        let mut statistics = Map::new();
        statistics.extend(input.rows.map(|rows| ("rowCount".to_owned(), rows.into())));
        statistics.extend(input.bytes.map(|bytes| ("size".to_owned(), bytes.into())));
        let mut facets = Map::new();
        if !statistics.is_empty() {
            let kind = "1-0-0/InputStatisticsInputDatasetFacet";
            add(&mut facets, "inputStatistics", kind, statistics.into());
        }
        json!({
            "namespace": WAREHOUSE,
            "name": format!("{}.{}", self.path.tenant, input.name),
            "inputFacets": facets,
        })
    }

    /// The table that SQL users read and its copy in the warehouse. Both keep their names from one
    /// generation to the next, which is their version.
    fn outputs(&self, output: &Output) -> Vec<Value> {
        let columns: Vec<Value> = output
            .schema
            .columns()
            .map(|column| {
                json!({ "name": column.name.as_str(), "type": column.data_type.to_string() })
            })
            .collect();
        let mut facets = Map::new();
        add(&mut facets, "schema", "1-1-1/SchemaDatasetFacet", json!({ "fields": columns }));
        let version = json!({ "datasetVersion": output.generation.to_string() });
        add(&mut facets, "version", "1-0-1/DatasetVersionDatasetFacet", version);
        let mut statistics = Map::from_iter([("rowCount".to_owned(), output.rows.into())]);
        statistics.extend(output.bytes.map(|bytes| ("size".to_owned(), bytes.into())));
        let mut written = Map::new();
        let kind = "1-0-2/OutputStatisticsOutputDatasetFacet";
        add(&mut written, "outputStatistics", kind, statistics.into());
        let (tenant, service) = (&self.path.tenant, &self.path.service);
        vec![
            json!({
                "namespace": SERVING,
                "name": format!("tenant_{tenant}.{service}"),
                "facets": facets,
                "outputFacets": written,
            }),
            json!({
                "namespace": WAREHOUSE,
                "name": format!("{tenant}.predictions.{service}"),
                "facets": facets,
            }),
        ]
    }
}

/// Adds a facet, with what every facet carries.
fn add(facets: &mut Map<String, Value>, name: &str, kind: &str, mut content: Value) {
    let file = kind.rsplit('/').next().unwrap_or(kind);
    content["_producer"] = PRODUCER.into();
    content["_schemaURL"] =
        format!("https://openlineage.io/spec/facets/{kind}.json#/$defs/{file}").into();
    facets.insert(name.to_owned(), content);
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(run: i64) -> Attempt {
        Attempt {
            namespace: "cameo".to_owned(),
            path: "crm/clv".parse().expect("a path"),
            run: RunId(run),
            epoch: Epoch(1),
            due_at: "2026-03-01T18:00:00Z".parse().expect("an instant"),
            sql: None,
            git_commit: None,
        }
    }

    #[test]
    fn an_attempt_has_one_id_of_its_own_below_that_of_its_run() {
        let first = attempt(1);
        assert_eq!(first.id(Some(Epoch(1))), attempt(1).id(Some(Epoch(1))));
        let ids = [
            first.id(Some(Epoch(1))),
            first.id(Some(Epoch(2))),
            first.id(None),
            attempt(2).id(Some(Epoch(1))),
        ];
        let different: std::collections::BTreeSet<_> = ids.into_iter().collect();
        assert_eq!(different.len(), ids.len());
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let at = "2026-03-01T18:00:01Z".parse().expect("an instant");
        let input = Input { name: "demo.customers".to_owned(), rows: None, bytes: None };
        let event = event(&attempt(1), &Phase::End(Ending::Abort), &[input], at);
        let event = serde_json::to_value(event).expect("JSON");
        assert_eq!(event["eventType"], "ABORT");
        assert_eq!(event["inputs"][0]["inputFacets"], json!({}));
        assert_eq!(event["job"]["facets"].as_object().map(Map::len), Some(1));
    }
}
