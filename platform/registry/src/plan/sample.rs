//! A release on its first customers, beside what is served to them now.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType as ArrowType, Float64Type, Int64Type, TimestampMicrosecondType},
    util::display::array_value_to_string,
};
use cameo_domain::{Column, DataType, GenerationId, Key, PredictionSchema, Reason};
use cameo_pipeline::{LeftOut, Plan, RunError, sample};
use cameo_store::{
    Store, StoreError,
    lookup::{self, Prediction, ServedGeneration, Value},
};
use cameo_warehouse::{ReadOptions, Warehouse};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::distribution::{Distribution, Range, Values, range_of, stability_index};

/// Customers of a sample where nobody says how many.
pub const SAMPLE_CUSTOMERS: u32 = 10_000;
/// Most customers of a sample.
pub const SAMPLE_CUSTOMERS_MAX: u32 = 100_000;
/// Longest sample.
const TIME_LIMIT: Duration = Duration::from_mins(10);

/// How a sample ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum SampleRun {
    /// It gave predictions.
    Ran(Sampled),
    /// A run would halt as it did.
    Halted {
        /// Why.
        reason: Reason,
    },
}

/// What the first customers would be published with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// Customers that were read.
    pub customers: u64,
    /// Whether those are all that there are.
    pub complete: bool,
    /// Rows that would be published: more than customers for a service that ranks.
    pub rows: u64,
    /// Customers that would go to quarantine, by reason.
    pub quarantined: Vec<LeftOut>,
    /// Keys that occur more than once: a run would halt.
    pub keys_repeated: u64,
    /// Whether `predictions.sql` looks at all rows, which here are those of the sample alone.
    pub over_sample_alone: bool,
    /// What it is compared with; none where nothing is served that could be compared.
    pub compared_with: Option<ComparedGeneration>,
    /// Each prediction, in declared order.
    pub predictions: Vec<PredictionSample>,
}

/// The generation that a sample is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedGeneration {
    /// Which.
    pub generation: GenerationId,
    /// Rows of the same customers; none where it has none of them, and its first rows were taken.
    pub rows_matched: Option<u64>,
}

/// One prediction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictionSample {
    /// Its column.
    #[serde(flatten)]
    pub column: Column,
    /// What it would be like.
    pub sampled: Distribution,
    /// What it is like now, over the same customers.
    pub current: Option<Distribution>,
    /// The range of both histograms.
    pub range: Option<Range>,
    /// Population stability index against now, in nats.
    pub stability_index: Option<f64>,
    /// Share of the rows whose value is another one now, where they are of the same customers.
    pub share_changed: Option<f64>,
}

/// Runs `plan` on its first `customers` and puts what is served now beside it.
pub(crate) async fn run(
    plan: &Arc<Plan>,
    schema: &PredictionSchema,
    predictions_sql: Option<&str>,
    (warehouse, customers, read): (&dyn Warehouse, u32, &ReadOptions),
    (store, served): (&Store, Option<&ServedGeneration>),
) -> Result<SampleRun, StoreError> {
    let customers = customers.min(SAMPLE_CUSTOMERS_MAX);
    let ran =
        tokio::time::timeout(TIME_LIMIT, sample(plan, store, warehouse, customers, read)).await;
    let sample = match ran {
        Ok(Ok(sample)) => sample,
        Ok(Err(error)) => return Ok(SampleRun::Halted { reason: reason_of(error) }),
        Err(_) => {
            let minutes = TIME_LIMIT.as_secs() / 60;
            let message = format!("it took longer than {minutes} min; `--sample 0` leaves it out");
            return Ok(SampleRun::Halted { reason: Reason::new("time_limit", message) });
        }
    };
    let complete = sample.customers < u64::from(customers);
    let new = Rows::sampled(&sample.rows, schema);
    let served = served.filter(|served| served.schema.key() == schema.key());
    let old = match served {
        Some(served) => Some((served, current(store, served, &new).await?)),
        None => None,
    };
    let compared_with = old.as_ref().map(|(served, current)| ComparedGeneration {
        generation: served.generation,
        rows_matched: current.matched.as_ref().map(|matched| matched.len() as u64),
    });
    let beside = old.as_ref().map(|(served, current)| (&served.schema, current));
    Ok(SampleRun::Ran(Sampled {
        customers: sample.customers,
        complete,
        rows: new.keys.len() as u64,
        quarantined: sample.quarantined,
        keys_repeated: new.repeated(schema.top_n().is_some()),
        over_sample_alone: !complete && predictions_sql.is_some_and(looks_at_all_rows),
        compared_with,
        predictions: predictions(schema, &new, beside),
    }))
}

fn reason_of(error: RunError) -> Reason {
    match error {
        RunError::Halt(reason) | RunError::Transient(reason) => reason,
        other => Reason::new("stopped", other.to_string()),
    }
}

/// The rows of a sample or of a generation.
struct Rows {
    keys: Vec<Key>,
    /// By prediction, in declared order.
    values: Vec<Values>,
}

/// What is served now.
struct Current {
    rows: Rows,
    /// For each of its rows the row of the sample that is about the same; none where it has none of
    /// the customers of the sample.
    matched: Option<Vec<usize>>,
}

impl Rows {
    fn sampled(batches: &[RecordBatch], schema: &PredictionSchema) -> Self {
        let keys = batches.iter().flat_map(|batch| keys_of(batch.column(0))).collect();
        let values = schema.predictions().iter().enumerate().map(|(at, column)| {
            let arrays = batches.iter().map(|batch| batch.column(at + 1));
            if is_number(column.data_type) {
                Values::Numbers(arrays.flat_map(numbers_of).collect())
            } else {
                Values::Words(arrays.flat_map(words_of).collect())
            }
        });
        Self { values: values.collect(), keys }
    }

    fn served(found: &[Prediction], schema: &PredictionSchema) -> Self {
        let width = schema.predictions().len();
        let (mut keys, mut rows): (Vec<Key>, Vec<&[Value]>) = (vec![], vec![]);
        for prediction in found {
            for row in prediction.values.chunks(width) {
                keys.push(prediction.key.clone());
                rows.push(row);
            }
        }
        let values = schema.predictions().iter().enumerate().map(|(at, column)| {
            let values = rows.iter().map(|row| &row[at]);
            if is_number(column.data_type) {
                Values::Numbers(values.map(number).collect())
            } else {
                Values::Words(values.map(word).collect())
            }
        });
        Self { values: values.collect(), keys }
    }

    /// Each row by its key and its place among the rows of that key.
    fn places(&self) -> Vec<(&Key, u32)> {
        let mut seen: HashMap<&Key, u32> = HashMap::new();
        let place = |key| {
            let count: &mut u32 = seen.entry(key).or_default();
            *count += 1;
            (key, *count)
        };
        self.keys.iter().map(place).collect()
    }

    /// Rows whose key came before; a service that ranks has several of each.
    fn repeated(&self, ranks: bool) -> u64 {
        if ranks {
            return 0;
        }
        let different: HashSet<&Key> = self.keys.iter().collect();
        (self.keys.len() - different.len()) as u64
    }

    fn picked(&self, prediction: usize, rows: &[usize]) -> Values {
        match &self.values[prediction] {
            Values::Numbers(values) => {
                Values::Numbers(rows.iter().map(|row| values[*row]).collect())
            }
            Values::Words(values) => {
                Values::Words(rows.iter().map(|row| values[*row].clone()).collect())
            }
        }
    }
}

/// The rows of the same customers, or as many rows from the start of the generation.
async fn current(
    store: &Store,
    served: &ServedGeneration,
    new: &Rows,
) -> Result<Current, StoreError> {
    let mut seen = HashSet::new();
    let keys: Vec<Key> = new.keys.iter().filter(|key| seen.insert(*key)).cloned().collect();
    let mut found = Vec::new();
    for keys in keys.chunks(served.keys_max()) {
        found.extend(lookup::many(store, served, keys).await?.into_iter().flatten());
    }
    if found.is_empty() {
        let limit = u32::try_from(new.keys.len()).unwrap_or(u32::MAX);
        let first = lookup::first(store, served, limit).await?;
        return Ok(Current { rows: Rows::served(&first, &served.schema), matched: None });
    }
    let old = Rows::served(&found, &served.schema);
    let places: HashMap<(&Key, u32), usize> =
        new.places().into_iter().enumerate().map(|(row, place)| (place, row)).collect();
    let pairs: Vec<(usize, usize)> = old
        .places()
        .into_iter()
        .enumerate()
        .filter_map(|(row, place)| Some((row, *places.get(&place)?)))
        .collect();
    let (kept, matched): (Vec<usize>, Vec<usize>) = pairs.into_iter().unzip();
    let values = (0..old.values.len()).map(|prediction| old.picked(prediction, &kept)).collect();
    let keys = kept.iter().map(|row| old.keys[*row].clone()).collect();
    Ok(Current { rows: Rows { keys, values }, matched: Some(matched) })
}

fn predictions(
    schema: &PredictionSchema,
    new: &Rows,
    current: Option<(&PredictionSchema, &Current)>,
) -> Vec<PredictionSample> {
    let drawn = schema.predictions().iter().enumerate();
    drawn
        .filter(|(_, column)| column.data_type != DataType::Json)
        .map(|(at, column)| {
            let sampled = &new.values[at];
            let before = current.and_then(|(old, current)| {
                // Neither clear values beside a mask, nor sealed ones beside anything.
                let name = column.name.as_str();
                if schema.is_sensitive(name) || old.is_sensitive(name) {
                    return None;
                }
                let same = |other: &Column| other.name == column.name;
                let at = old.predictions().iter().position(same)?;
                Some((&current.rows.values[at], current.matched.as_deref()))
            });
            let old = before.map(|(old, _)| old);
            let same = before.and_then(|(_, matched)| matched).map(|rows| new.picked(at, rows));
            let range = range_of([Some(sampled), old].into_iter().flatten());
            PredictionSample {
                column: column.clone(),
                sampled: sampled.distribution(range),
                current: old.map(|old| old.distribution(range)),
                range,
                stability_index: old
                    .and_then(|old| stability_index(old, same.as_ref().unwrap_or(sampled))),
                share_changed: same.zip(old).and_then(|(same, old)| same.share_changed(old)),
            }
        })
        .collect()
}

fn is_number(data_type: DataType) -> bool {
    matches!(data_type, DataType::Int | DataType::Float64)
}

fn keys_of(keys: &ArrayRef) -> Vec<Key> {
    if let Some(texts) = keys.as_string_opt::<i32>() {
        return texts.iter().flatten().map(|text| Key::String(text.to_owned())).collect();
    }
    let keys = keys.as_primitive::<Int64Type>();
    keys.iter().flatten().map(Key::Int).collect()
}

fn numbers_of(array: &ArrayRef) -> Vec<Option<f64>> {
    match cast(array, &ArrowType::Float64) {
        Ok(numbers) => numbers.as_primitive::<Float64Type>().iter().collect(),
        Err(_) => vec![None; array.len()],
    }
}

fn words_of(array: &ArrayRef) -> Vec<Option<String>> {
    // Arrow cannot write an instant whose zone has a name.
    if let Some(instants) = array.as_primitive_opt::<TimestampMicrosecondType>() {
        let at = |micros| DateTime::from_timestamp_micros(micros).map(instant);
        return instants.iter().map(|micros| micros.and_then(at)).collect();
    }
    let word = |row| {
        let word = array_value_to_string(array, row);
        array.is_valid(row).then(|| word.ok()).flatten()
    };
    (0..array.len()).map(word).collect()
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    }
}

/// As Arrow writes the same value.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Date(day) => Some(day.to_string()),
        Value::Timestamp(at) => Some(instant(*at)),
        Value::Null | Value::Int(_) | Value::Float(_) | Value::Json(_) => None,
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Whether a query over `model_outputs` has a window, or reads the table a second time to compare each
/// row with all.
fn looks_at_all_rows(sql: &str) -> bool {
    let mut words: BTreeMap<String, usize> = BTreeMap::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let word = &rest[..end.unwrap_or(rest.len())];
            *words.entry(word.to_ascii_lowercase()).or_default() += 1;
            word.len()
        } else if rest.starts_with("--") || first == '#' {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if matches!(first, '\'' | '"') {
            rest[1..].find(first).map_or(rest.len(), |end| end + 2)
        } else {
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    words.contains_key("over") || words.get("model_outputs").is_some_and(|times| *times > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_looks_at_all_rows_is_told_from_one_that_looks_at_each() {
        for (sql, expected) in [
            ("SELECT id, clv FROM model_outputs", false),
            ("SELECT id, NTILE(10) OVER (ORDER BY clv) AS decile FROM model_outputs", true),
            ("SELECT id, RANK() over w FROM model_outputs WINDOW w AS (ORDER BY clv)", true),
            ("SELECT id, 'over' AS x -- over all\n, clv AS overall FROM model_outputs", false),
            ("SELECT id, clv / (SELECT MAX(clv) FROM model_outputs) AS x FROM model_outputs", true),
            ("SELECT id /* over */ FROM model_outputs # over", false),
        ] {
            assert_eq!(looks_at_all_rows(sql), expected, "{sql}");
        }
    }
}
