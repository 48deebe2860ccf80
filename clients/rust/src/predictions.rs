//! Looking predictions up.

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, header::HeaderMap};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    client::ServiceClient,
    error::{Code, Error, Problem},
    http::{Ask, parse},
    key::Key,
};

/// Most keys of one request.
const PART_KEYS_MAX: usize = 10_000;
/// Most rows of one request, of a service that ranks.
const PART_ROWS_MAX: usize = 100_000;
/// From how many keys on a service that ranks could need several requests: it gives 1,000 rows per key at most.
const RANKED_KEYS_SAFE: usize = 100;
/// How many parts of a batch are asked at once.
const PARTS_AT_ONCE: usize = 4;
/// How often parts are asked anew because the service published in between.
const ROUNDS_MAX: usize = 4;

/// Columns of predictions by name.
pub type Columns = serde_json::Map<String, serde_json::Value>;

/// What was predicted: one row, or the rows of a service that ranks, the best first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Predictions {
    /// One row.
    Row(Columns),
    /// One row per item, in ascending order of `rank`.
    Ranked(Vec<Columns>),
}

impl Predictions {
    /// The row, or the best of those of a service that ranks.
    ///
    /// # Panics
    /// A service that ranks gave an empty list, which it does not.
    #[must_use]
    pub fn row(&self) -> &Columns {
        match self {
            Self::Row(row) => row,
            Self::Ranked(rows) => &rows[0],
        }
    }

    /// All rows: one, unless the service ranks.
    #[must_use]
    pub fn rows(&self) -> &[Columns] {
        match self {
            Self::Row(row) => std::slice::from_ref(row),
            Self::Ranked(rows) => rows,
        }
    }
}

/// What a service says about one key. `P` is what the prediction columns are read as.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Prediction<P = Predictions> {
    /// Whose service it is.
    pub tenant: String,
    /// Which service.
    pub service: String,
    /// Whom the prediction is about.
    pub key: Key,
    /// The prediction columns.
    pub predictions: P,
    /// The publication that says so; two answers with the same generation belong together.
    pub generation: i64,
    /// The immutable version of the bundle that made it.
    pub release: String,
    /// The version that the team gave it.
    pub version: String,
    /// When it was predicted.
    pub predicted_at: DateTime<Utc>,
    /// The newest modification of the data that was read, where the warehouse tells.
    pub watermark: Option<DateTime<Utc>>,
    /// Seconds since `predicted_at`.
    pub age_seconds: i64,
    /// Whether it is older than the service allows.
    pub stale: bool,
    /// The predictions that are sensitive, and null in this answer: the key has not the scope `sensitive`.
    #[serde(default)]
    pub withheld: Vec<String>,
}

/// What a service says about many keys, all from one generation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
#[serde(bound = "P: DeserializeOwned")]
pub struct Batch<P = Predictions> {
    /// One result for each key, in the order asked.
    pub results: Vec<KeyResult<P>>,
    /// The publication from which all results are.
    pub generation: i64,
    /// The immutable version of the bundle that made it.
    pub release: String,
    /// The version that the team gave it.
    pub version: String,
    /// When it was predicted.
    pub predicted_at: DateTime<Utc>,
    /// The newest modification of the data that was read, where the warehouse tells.
    pub watermark: Option<DateTime<Utc>>,
    /// Seconds since `predicted_at`.
    pub age_seconds: i64,
    /// Whether it is older than the service allows.
    pub stale: bool,
    /// The predictions that are sensitive, and null in this answer: the key has not the scope `sensitive`.
    #[serde(default)]
    pub withheld: Vec<String>,
}

/// What a service says about one of many keys.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct KeyResult<P = Predictions> {
    /// The key as asked.
    pub key: Key,
    /// What was found.
    pub status: Status,
    /// The prediction columns, where one was found.
    #[serde(default = "Option::default")]
    pub predictions: Option<P>,
    /// Why the key is invalid, where it is.
    pub detail: Option<String>,
}

impl<P> KeyResult<P> {
    /// Whether there is a prediction.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.status == Status::Found
    }
}

/// What was found for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A prediction.
    Found,
    /// No prediction.
    NotFound,
    /// The key is not of the declared type.
    Invalid,
}

impl ServiceClient {
    /// Looks one key up.
    ///
    /// # Errors
    /// [`Code::UnknownKey`] where the service has no prediction for it.
    pub async fn prediction(&self, key: impl Into<Key>) -> Result<Prediction, Error> {
        self.prediction_as(key).await
    }

    /// Looks one key up and reads its columns as a type of the caller's.
    ///
    /// # Errors
    /// As with [`ServiceClient::prediction`]; [`Error::NotUnderstood`] where the columns are not of the type.
    pub async fn prediction_as<P: DeserializeOwned>(
        &self,
        key: impl Into<Key>,
    ) -> Result<Prediction<P>, Error> {
        let key = key.into();
        let text = key.to_string();
        // No URL can carry these: `..` as a segment is the way up.
        if matches!(text.as_str(), "." | "..") {
            return self.one_of_batch(key).await;
        }
        let ask = Ask::get(self.path(&["predictions", &text]));
        let answer = self.http.kept(ask).await?;
        let mut prediction: Prediction<P> = parse(&answer.body)?;
        // An answer that was kept is older by now.
        if let Some(age_seconds) = number(&answer.headers, "cameo-age-seconds") {
            prediction.age_seconds = age_seconds;
        }
        Ok(prediction)
    }

    /// Looks any number of keys up. They are asked in parts, and asked anew where the service publishes in between,
    /// so that all answers are of one generation.
    ///
    /// # Errors
    /// A key that is unknown or invalid is a result, not an error.
    pub async fn predictions<K: Into<Key>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Batch, Error> {
        self.predictions_as(keys).await
    }

    /// Looks any number of keys up and reads their columns as a type of the caller's.
    ///
    /// # Errors
    /// As with [`ServiceClient::predictions`].
    pub async fn predictions_as<P: DeserializeOwned>(
        &self,
        keys: impl IntoIterator<Item = impl Into<Key>>,
    ) -> Result<Batch<P>, Error> {
        let keys: Vec<Key> = keys.into_iter().map(Into::into).collect();
        if keys.is_empty() {
            return Err(Error::Configuration("expected at least one key, found none".into()));
        }
        let part_keys = self.part_keys(keys.len()).await?;
        let parts: Vec<&[Key]> = keys.chunks(part_keys).collect();
        let mut answers: Vec<Option<Batch<P>>> = parts.iter().map(|_| None).collect();
        for _ in 0..ROUNDS_MAX {
            let asked = outdated(&answers);
            let found: Vec<(usize, Batch<P>)> = stream::iter(asked)
                .map(|at| {
                    let part = parts[at];
                    async move { Ok::<_, Error>((at, self.part(part).await?)) }
                })
                .buffer_unordered(PARTS_AT_ONCE)
                .try_collect()
                .await?;
            for (at, answer) in found {
                answers[at] = Some(answer);
            }
            if outdated(&answers).is_empty() {
                return joined(answers);
            }
        }
        Err(Error::Moving)
    }

    async fn part<P: DeserializeOwned>(&self, keys: &[Key]) -> Result<Batch<P>, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            keys: &'a [Key],
        }
        let ask = Ask::change(Method::POST, self.path(&["predictions:batchGet"])).harmless();
        self.http.json(ask.json(&Body { keys })?).await
    }

    /// How many keys one request takes: fewer, where the service ranks.
    async fn part_keys(&self, keys: usize) -> Result<usize, Error> {
        if keys <= RANKED_KEYS_SAFE {
            return Ok(PART_KEYS_MAX);
        }
        let top_n = self.get().await?.top_n.unwrap_or(1).max(1);
        Ok((PART_ROWS_MAX / top_n as usize).clamp(1, PART_KEYS_MAX))
    }

    async fn one_of_batch<P: DeserializeOwned>(&self, key: Key) -> Result<Prediction<P>, Error> {
        let batch: Batch<P> = self.part(std::slice::from_ref(&key)).await?;
        let result = batch.results.into_iter().next();
        let predictions = result.and_then(|result| result.predictions).ok_or_else(|| {
            let detail =
                format!("{}/{} has no prediction for key `{key}`", self.tenant, self.service);
            Error::Problem(Box::new(Problem {
                status: 404,
                code: Code::UnknownKey,
                title: "No prediction for this key".to_owned(),
                detail,
                request_id: String::new(),
                position: None,
                findings: Vec::new(),
            }))
        })?;
        Ok(Prediction {
            tenant: self.tenant.clone(),
            service: self.service.clone(),
            key,
            predictions,
            generation: batch.generation,
            release: batch.release,
            version: batch.version,
            predicted_at: batch.predicted_at,
            watermark: batch.watermark,
            age_seconds: batch.age_seconds,
            stale: batch.stale,
            withheld: batch.withheld,
        })
    }
}

/// The parts that are not of the newest generation that any part is of.
fn outdated<P>(answers: &[Option<Batch<P>>]) -> Vec<usize> {
    let newest = answers.iter().flatten().map(|answer| answer.generation).max();
    let is_old = |answer: &Option<Batch<P>>| {
        answer.as_ref().is_none_or(|answer| Some(answer.generation) != newest)
    };
    answers.iter().enumerate().filter(|(_, answer)| is_old(answer)).map(|(at, _)| at).collect()
}

/// The parts of one generation as one answer.
fn joined<P>(parts: Vec<Option<Batch<P>>>) -> Result<Batch<P>, Error> {
    let joined = parts.into_iter().flatten().reduce(|mut whole, part| {
        whole.results.extend(part.results);
        whole
    });
    joined.ok_or(Error::Moving)
}

pub(crate) fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(generation: i64, key: i64) -> Batch {
        let text = format!(
            r#"{{"results":[{{"key":{key},"status":"found","predictions":{{"score":1.5}}}},
                {{"key":"c/{key}","status":"not_found"}}],
                "generation":{generation},"release":"9f86","version":"0.0.1",
                "predicted_at":"2026-03-01T00:00:00Z","watermark":null,"age_seconds":1,"stale":false}}"#
        );
        parse(text.as_bytes()).expect("an answer")
    }

    #[test]
    fn parts_of_an_older_generation_are_asked_again() {
        let answers = vec![Some(part(7, 1)), None, Some(part(8, 3))];
        assert_eq!(outdated(&answers), [0, 1]);
        let answers = vec![Some(part(8, 1)), Some(part(8, 2))];
        assert_eq!(outdated(&answers), [0_usize; 0]);
        let whole = joined(answers).expect("a batch");
        let keys: Vec<String> = whole.results.iter().map(|one| one.key.to_string()).collect();
        assert_eq!(keys, ["1", "c/1", "2", "c/2"]);
        let first = whole.results[0].predictions.as_ref().expect("found");
        assert_eq!(first.row()["score"], 1.5);
        assert!(!whole.results[1].is_found());
    }

    #[test]
    fn rows_of_a_service_that_ranks_are_a_list() {
        let ranked: Predictions =
            parse(br#"[{"rank":1,"offer_id":7},{"rank":2,"offer_id":9}]"#).expect("rows");
        assert_eq!(ranked.rows().len(), 2);
        assert_eq!(ranked.row()["offer_id"], 7);
    }
}
