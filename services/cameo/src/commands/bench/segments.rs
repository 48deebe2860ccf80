//! Counting and materialising a segment over several services, beside Postgres on the same rows.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, bail};
use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use cameo_domain::{Column, DataType, GenerationId, PredictionSchema, ServiceName};
use cameo_segment::{
    Catalog, ColumnRef, Condition, EvaluateError, Members, Selection, Source, count,
    membership::{Label, MembershipError, MembershipWriter},
};
use chrono::Utc;
use serde::Serialize;

use super::{median, setting::Setting};
use crate::{
    cli::BenchSegments,
    output::{Output, grouped, table},
};

/// Rows of a batch, as snapshots have them.
const BATCH_ROWS: u64 = 16_384;

#[derive(Debug, Serialize)]
struct Measured {
    what: String,
    profiles: u64,
    members: u64,
    milliseconds: f64,
    profiles_per_second: f64,
}

/// What is asked: the condition here, and the same in Postgres' words.
struct Question {
    what: &'static str,
    condition: &'static str,
    postgres: &'static str,
}

const QUESTIONS: [Question; 3] = [
    Question {
        what: "one service",
        condition: "gender.female >= 0.8",
        postgres: "select count(*) from gender where female >= 0.8",
    },
    Question {
        what: "two services",
        condition: "gender.female >= 0.8 AND clv.tier = 'High'",
        postgres: "select count(*) from gender full join clv using (id)
                   where female >= 0.8 and tier = 'High'",
    },
    Question {
        what: "three services",
        condition: "gender.female >= 0.8 AND clv.tier = 'High' AND NOT COALESCE(churn.churned, FALSE)",
        postgres: "select count(*) from gender full join clv using (id) full join churn using (id)
                   where female >= 0.8 and tier = 'High' and not coalesce(churned, false)",
    },
];

/// A service with its predictions.
struct Service {
    name: ServiceName,
    schema: PredictionSchema,
    batches: Vec<RecordBatch>,
}

pub(super) async fn run(wanted: BenchSegments, output: Output) -> anyhow::Result<ExitCode> {
    let services = services(wanted.profiles)?;
    let catalog =
        services.iter().map(|service| (service.name.clone(), service.schema.clone())).collect();
    let catalog = Catalog::new(catalog);
    let sources: Vec<Source<'_>> = services
        .iter()
        .map(|Service { name, schema, batches }| Source { service: name, schema, batches })
        .collect();
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut measured = Vec::new();
    for question in &QUESTIONS {
        let condition = Condition::parse(question.condition, &catalog)?;
        let what = format!("count over {}, {threads} threads", question.what);
        measured.push(timed(&wanted, &what, || {
            let selection = Selection { condition: &condition, sample: None, hold_out: None };
            Ok(count(&selection, &sources, threads)?.members)
        })?);
    }
    let condition = Condition::parse(QUESTIONS[2].condition, &catalog)?;
    measured.push(timed(&wanted, "materialise those, to a file", || {
        materialise(&condition, &sources)
    })?);
    let everybody = Condition::parse("gender.female >= 0", &catalog)?;
    measured.push(timed(&wanted, "materialise everybody, to a file", || {
        materialise(&everybody, &sources)
    })?);
    if let Some(psql) = find_psql() {
        let setting = Setting::new().await?;
        let peers = peer(&setting, &psql, &wanted)?;
        setting.close().await?;
        for (own, peer) in measured.iter().zip(&peers) {
            if own.members != peer.members {
                bail!("{}: found {}, Postgres {}", own.what, own.members, peer.members);
            }
        }
        measured.extend(peers);
    } else {
        output.line("psql was not found; install Debian's package postgresql");
    }
    output.show(&measured, |measured| {
        table(
            &["segments", "profiles", "members", "ms", "profiles/s"],
            measured.iter().map(|one| {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a rate"
                )]
                let rate = one.profiles_per_second as u64;
                vec![
                    one.what.clone(),
                    grouped(one.profiles),
                    grouped(one.members),
                    format!("{:.1}", one.milliseconds),
                    grouped(rate),
                ]
            }),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The middle of several measurements.
fn timed(
    wanted: &BenchSegments,
    what: &str,
    mut work: impl FnMut() -> anyhow::Result<u64>,
) -> anyhow::Result<Measured> {
    let (mut times, mut members) = (Vec::new(), 0);
    for _ in 0..wanted.repeats {
        let started = Instant::now();
        members = work()?;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(of_time(what, wanted.profiles, members, median(times)))
}

fn of_time(what: &str, profiles: u64, members: u64, milliseconds: f64) -> Measured {
    let profiles_per_second = profiles as f64 * 1000.0 / milliseconds;
    Measured { what: what.to_owned(), profiles, members, milliseconds, profiles_per_second }
}

#[derive(Debug, thiserror::Error)]
enum MaterialiseError {
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error(transparent)]
    Membership(#[from] MembershipError),
}

/// Writes members with two attributes to a file.
fn materialise(condition: &Condition, sources: &[Source<'_>]) -> anyhow::Result<u64> {
    let attributes = ["gender.female", "clv.tier"].map(|name| ColumnRef::try_from(name.to_owned()));
    let attributes: Vec<ColumnRef> = attributes.into_iter().collect::<Result<_, _>>()?;
    let selection = Selection { condition, sample: None, hold_out: None };
    let members = Members::prepare(&selection, &attributes, sources)?;
    let generations = sources.iter().map(|source| (source.service.clone(), GenerationId(1)));
    let label = Label {
        tenant: "bench".parse()?,
        segment: "bench".parse()?,
        number: 1,
        as_of: Utc::now(),
        generations: generations.collect::<BTreeMap<_, _>>(),
    };
    let mut writer = MembershipWriter::new(tempfile::tempfile()?, &label, members.schema())?;
    members.each_batch(|batch| writer.write(&batch).map_err(MaterialiseError::from))?;
    Ok(writer.finish()?)
}

/// Three services: everybody has a gender and a value, one in a hundred is unknown to `churn`.
fn services(profiles: u64) -> anyhow::Result<[Service; 3]> {
    let last = i64::try_from(profiles)?;
    let female = |key: i64| (key * 7_919 % 1_000) as f64 / 1_000.0;
    let tier = |key: i64| match key % 10 {
        0 => "High",
        1..=3 => "Middle",
        _ => "Low",
    };
    let known = |key: &i64| key % 100 != 99;
    Ok([
        service(
            "gender",
            ("female", DataType::Float64),
            last,
            |_| true,
            |keys| Arc::new(keys.iter().map(|key| Some(female(*key))).collect::<Float64Array>()),
        )?,
        service(
            "clv",
            ("tier", DataType::String),
            last,
            |_| true,
            |keys| Arc::new(keys.iter().map(|key| Some(tier(*key))).collect::<StringArray>()),
        )?,
        service("churn", ("churned", DataType::Bool), last, known, |keys| {
            Arc::new(keys.iter().map(|key| Some(key % 7 == 0)).collect::<BooleanArray>())
        })?,
    ])
}

fn service(
    name: &str,
    (column, data_type): (&str, DataType),
    last: i64,
    known: impl Fn(&i64) -> bool,
    values: impl Fn(&[i64]) -> ArrayRef,
) -> anyhow::Result<Service> {
    let schema = PredictionSchema::new(vec![
        Column { name: "id".parse()?, data_type: DataType::Int },
        Column { name: column.parse()?, data_type },
    ])?;
    let keys: Vec<i64> = (1..=last).filter(known).collect();
    let batch = |keys: &[i64]| {
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(keys.to_vec())), values(keys)];
        RecordBatch::try_new(cameo_batch::arrow_schema(&schema), columns)
    };
    let rows = usize::try_from(BATCH_ROWS)?;
    let batches = keys.chunks(rows).map(batch).collect::<Result<_, _>>()?;
    Ok(Service { name: name.parse()?, schema, batches })
}

fn find_psql() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let places = versions.map(|version| version.path().join("bin/psql"));
    places.filter(|place| place.is_file()).max()
}

/// The same rows in Postgres' tables, and the same questions with its default settings.
fn peer(setting: &Setting, psql: &Path, wanted: &BenchSegments) -> anyhow::Result<Vec<Measured>> {
    let last = wanted.profiles;
    let ask = |sql: &str| -> anyhow::Result<String> {
        let connection = setting.postgres.connection();
        let result = Command::new(psql)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, "-h"])
            .arg(&connection.socket_dir)
            .args(["-p", &connection.port.to_string(), "-U", &connection.user])
            .arg(&connection.database)
            .output()
            .context("could not start psql")?;
        if !result.status.success() {
            bail!("psql failed: {}", String::from_utf8_lossy(&result.stderr));
        }
        Ok(String::from_utf8_lossy(&result.stdout).trim().to_owned())
    };
    let tables = [
        ("gender", "(k * 7919 % 1000) / 1000.0::float8 as female", "true"),
        (
            "clv",
            "case when k % 10 = 0 then 'High' when k % 10 <= 3 then 'Middle' else 'Low' end as tier",
            "true",
        ),
        ("churn", "k % 7 = 0 as churned", "k % 100 <> 99"),
    ];
    for (name, column, known) in tables {
        ask(&format!(
            "create table {name} as select k as id, {column}
             from generate_series(1::bigint, {last}) k where {known}"
        ))?;
        ask(&format!("create unique index on {name} (id)"))?;
        ask(&format!("vacuum analyze {name}"))?;
    }
    let mut measured = Vec::new();
    for question in &QUESTIONS {
        let started = Instant::now();
        let members = ask(question.postgres)?.parse()?;
        let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
        let what = format!("Postgres over {}", question.what);
        measured.push(of_time(&what, last, members, milliseconds));
    }
    Ok(measured)
}
