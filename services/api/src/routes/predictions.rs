//! Look-ups: one key, many keys.

use std::{borrow::Cow, fmt, sync::Arc};

use axum::{
    Extension,
    extract::{FromRequest, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cameo_access::Caller;
use cameo_domain::{
    DataType, Key, KeyRef,
    key::{KEY_BYTES_MAX, KeyError},
};
use cameo_serving::{Current, Found, LookupError, Repeated};
use chrono::{DateTime, Utc};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::json;
use utoipa::{
    ToSchema,
    openapi::schema::{Array, ArrayBuilder, Object, ObjectBuilder, SchemaType, Type},
};

use crate::{
    app::App,
    envelope::flatten,
    extract::{JsonBytes, PathParams, whole},
    freshness,
    limits::KEYS_PER_REQUEST,
    openapi::example,
    problem::{Code, Problem, ProblemBody},
    sensitive,
};

/// Most keys of one batch look-up.
pub(crate) const BATCH_KEYS_MAX: usize = 10_000;
/// Largest body of a batch look-up: as many keys as allowed, each as long as allowed, with quotes and
/// comma, and the member around them. (Keys written in JSON escapes may reach it earlier.)
pub(crate) const BATCH_BODY_BYTES_MAX: usize = BATCH_KEYS_MAX * (KEY_BYTES_MAX + 3) + 1_024;
/// Room for a row's JSON, so that most answers are written without growing the buffer.
const ROW_BYTES_GUESS: usize = 192;

/// What a service says about one key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prediction {
    /// Whose service it is.
    #[schema(example = "marketing")]
    tenant: String,
    /// Which service.
    #[schema(example = "gender")]
    service: String,
    /// Whom the prediction is about.
    key: KeyView,
    /// The declared prediction columns by name. `null` where the model said nothing; a number that is
    /// not finite is `null` as well. Where the service stores explanations, `explanation` lists the
    /// greatest contributions: `[{"feature": …, "value": …, "contribution": …}, …]`.
    predictions: Predictions,
    /// The publication that says so; two answers with the same generation belong together.
    #[schema(example = 42)]
    generation: i64,
    /// The immutable version of the bundle that made it.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    release: String,
    /// The version that the team gave it.
    #[schema(example = "0.0.1")]
    version: String,
    /// When it was predicted.
    predicted_at: DateTime<Utc>,
    /// The newest modification of the data that was read, where the warehouse tells.
    #[schema(required = true)]
    watermark: Option<DateTime<Utc>>,
    /// Seconds since `predicted_at`.
    #[schema(example = 5040)]
    age_seconds: i64,
    /// Whether it is older than the service allows.
    stale: bool,
    /// The columns that are sensitive and therefore `null` here: the caller lacks the scope `sensitive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    withheld: Option<Vec<String>>,
}

/// Columns of predictions by name.
type Columns = serde_json::Map<String, serde_json::Value>;

/// What was predicted: one row of columns, or the rows of a service that ranks.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Predictions {
    /// The declared columns by name.
    #[schema(value_type = Object, example = json!({"male_percentile": 0.31, "female_percentile": 0.69}))]
    Row(Columns),
    /// Of a service that ranks: one row per item in ascending order of `rank`, from 1.
    #[schema(value_type = Vec<Object>, example = json!([
        {"rank": 1, "offer_id": 4711, "score": 0.83}, {"rank": 2, "offer_id": 12, "score": 0.79}]))]
    Ranked(Vec<Columns>),
}

/// A key: an integer or a text, as the service declares it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum KeyView {
    /// Declared `INT`.
    #[schema(example = 17)]
    Int(i64),
    /// Declared `STRING`.
    #[schema(example = "c-17")]
    Text(String),
}

impl<'de> Deserialize<'de> for KeyView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match AskedKey::deserialize(deserializer)? {
            AskedKey::Int(key) => Ok(Self::Int(key)),
            AskedKey::Text(key) => Ok(Self::Text(key.into_owned())),
            AskedKey::Other(found) => {
                let expected = format_args!("expected an integer or a text, found {found}");
                Err(D::Error::custom(expected))
            }
        }
    }
}

impl From<Key> for KeyView {
    fn from(key: Key) -> Self {
        match key {
            Key::Int(key) => Self::Int(key),
            Key::String(key) => Self::Text(key),
        }
    }
}

/// Look one key up
///
/// The answer may be reused for a few seconds (`Cache-Control`) and asked for again with its `ETag` in
/// `If-None-Match`, which is answered 304 without a body while nothing new was published.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/services/{service}/predictions/{key}",
    operation_id = "getPrediction", tag = "predictions",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
        ("key" = String, Path, description = "Whom to look up, percent-encoded where it needs to be.", example = "17"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the answer that the caller has."),
    ),
    responses(
        (status = 200, description = "The prediction", body = Prediction, headers(
            ("etag" = String, description = "Names generation and key."),
            ("cache-control" = String, description = "How long the answer may be reused."),
            ("cameo-generation" = i64, description = "As in the body."),
            ("cameo-release" = String, description = "As in the body."),
            ("cameo-version" = String, description = "As in the body."),
            ("cameo-predicted-at" = String, description = "As in the body."),
            ("cameo-age-seconds" = i64, description = "As in the body."),
            ("cameo-stale" = bool, description = "As in the body."))),
        (status = 304, description = "The caller has it already"),
        (status = 400, description = "The key is not of the declared type", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::InvalidKey))),
        (status = 404, description = "No such service, or no prediction for this key (`unknown_key`)", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::UnknownKey))),
        (status = 409, description = "Nothing was published yet", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::NotPublished)))))]
pub(crate) async fn get_prediction(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    path: PathParams,
    // As a whole: taking the headers alone would copy them.
    request: Request,
) -> Result<Response, Problem> {
    let current = app.predictions.current(path.text("tenant"), path.text("service")).await?;
    let key = current.key(path.text("key")).map_err(|error| {
        app.metrics.lookups_invalid.inc();
        LookupError::from(error)
    })?;
    let now = Utc::now();
    if !current.is_sensitive && request.headers().contains_key(header::IF_NONE_MATCH) {
        let repeated = current.repeated(now);
        let tag = freshness::entity_tag(&current, &key, repeated.freshness.stale);
        if freshness::is_known(request.headers(), tag.as_ref()) {
            // The tag names generation and key, so the caller had this very answer: no look-up is needed.
            let headers = headers_of(&app, &current, &repeated, tag);
            return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
        }
    }
    app.metrics.count_source(current.snapshot().is_some(), 1);
    let mut found = app.predictions.one(current, key).await.inspect_err(|error| {
        if matches!(error, LookupError::UnknownKey { .. }) {
            app.metrics.lookups_missing.inc();
        }
    })?;
    app.metrics.lookups_found.inc();
    let withheld = sensitive::show_one(&app, &caller, &mut found).await?;
    let Found { current, key, rows } = &found;
    let repeated = current.repeated(now);
    let mut body = Vec::with_capacity(ROW_BYTES_GUESS + repeated.members.len());
    body.extend_from_slice(b"{");
    body.extend_from_slice(&current.path_members);
    body.extend_from_slice(b",\"key\":");
    write_json(&mut body, key)?;
    body.extend_from_slice(b",\"predictions\":");
    rows.write(&mut body, current);
    body.push(b',');
    body.extend_from_slice(&repeated.members);
    body.extend_from_slice(&withheld);
    body.push(b'}');
    let tag = freshness::entity_tag(current, key, repeated.freshness.stale);
    Ok(answer_with(headers_of(&app, current, &repeated, tag), body))
}

/// Keys to look up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchRequest<'a> {
    /// Up to 10,000 keys: integers, or texts.
    #[serde(borrow, deserialize_with = "bounded_keys")]
    #[schema(schema_with = asked_keys)]
    keys: Vec<AskedKey<'a>>,
}

/// A key as a body may write it: a number that is no key of the service is told in its result.
fn asked_key() -> Object {
    let types = SchemaType::from_iter([Type::Number, Type::String]);
    ObjectBuilder::new()
        .schema_type(types)
        .description(Some("The key as asked: an integer or a text."))
        .examples([json!(17)])
        .build()
}

fn asked_keys() -> Array {
    ArrayBuilder::new()
        .items(asked_key())
        .min_items(Some(1))
        .max_items(Some(BATCH_KEYS_MAX))
        .description(Some("Up to 10,000 keys: integers, or texts."))
        .examples([json!([17, 18, "x"])])
        .build()
}

/// What a service says about many keys.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchResult {
    /// Whose service it is.
    #[schema(example = "marketing")]
    tenant: String,
    /// Which service.
    #[schema(example = "gender")]
    service: String,
    /// One result for each key, in the order asked.
    results: Vec<KeyResult>,
    /// The publication from which all results are.
    #[schema(example = 42)]
    generation: i64,
    /// The immutable version of the bundle that made it.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    release: String,
    /// The version that the team gave it.
    #[schema(example = "0.0.1")]
    version: String,
    /// When it was predicted.
    predicted_at: DateTime<Utc>,
    /// The newest modification of the data that was read, where the warehouse tells.
    #[schema(required = true)]
    watermark: Option<DateTime<Utc>>,
    /// Seconds since `predicted_at`.
    #[schema(example = 5040)]
    age_seconds: i64,
    /// Whether it is older than the service allows.
    stale: bool,
    /// The columns that are sensitive and therefore `null` here: the caller lacks the scope `sensitive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    withheld: Option<Vec<String>>,
}

/// What a service says about one of many keys.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyResult {
    /// The key as asked.
    #[schema(schema_with = asked_key)]
    key: serde_json::Value,
    /// What was found.
    status: KeyStatus,
    /// The prediction columns by name, where one was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    predictions: Option<Predictions>,
    /// Why the key is invalid, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// What was found for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyStatus {
    /// A prediction.
    Found,
    /// No prediction.
    NotFound,
    /// The key is not of the declared type.
    Invalid,
}

/// Look up to 10,000 keys up
///
/// One result for each key in the order asked; a key that is unknown or invalid does not fail the
/// others. All results are of one generation. Every 50 keys count as one request of the key's rate limit. A service that ranks N items per key takes at most 100,000 / N
/// keys at once.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/services/{service}/predictions:batchGet",
    operation_id = "batchGetPredictions", tag = "predictions",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
    ),
    request_body(content = BatchRequest, example = json!({"keys": [17, 18]})),
    responses(
        (status = 200, description = "A result for each key", body = BatchResult, headers(
            ("cameo-generation" = i64, description = "As in the body."),
            ("cameo-release" = String, description = "As in the body."),
            ("cameo-version" = String, description = "As in the body."),
            ("cameo-predicted-at" = String, description = "As in the body."),
            ("cameo-age-seconds" = i64, description = "As in the body."),
            ("cameo-stale" = bool, description = "As in the body."))),
        (status = 409, description = "Nothing was published yet", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::NotPublished)))))]
pub(crate) async fn batch_get_predictions(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    path: PathParams,
    request: Request,
) -> Result<Response, Problem> {
    let current = app.predictions.current(path.text("tenant"), path.text("service")).await?;
    // The body first: a client that sends it slowly must not keep the place from others. The wait is bounded by
    // the time limit of the request, and the number of those that wait by the requests in flight.
    let body = JsonBytes::from_request(request, &app).await?;
    let _place = app.batches.acquire().await.map_err(|_| Problem::internal())?;
    let asked: BatchRequest = body.read()?;
    let keys_max = current.served.keys_max();
    if asked.keys.len() > keys_max {
        return Err(Problem::new(
            Code::InvalidBody,
            format!(
                "expected at most {keys_max} keys, found {}: this service gives several rows per key; ask in parts",
                asked.keys.len()
            ),
        ));
    }
    app.limits.charge(&caller, path.text("tenant"), beyond_one_request(asked.keys.len()))?;
    let declared = current.served.schema.key().data_type;
    let parsed: Vec<Result<KeyRef<'_>, KeyError>> =
        asked.keys.iter().map(|asked| asked.key(declared)).collect();
    let keys: Vec<KeyRef<'_>> =
        parsed.iter().filter_map(|key| key.as_ref().ok().copied()).collect();
    let found = app.predictions.many(current, &keys).await?;
    app.metrics.count_source(found.is_from_snapshot(), keys.len() as u64);
    let (found, withheld) = sensitive::show_many(&app, &caller, found, &keys).await?;

    let repeated = found.current.repeated(Utc::now());
    let row_bytes = ROW_BYTES_GUESS.min(64 + 48 * found.current.served.schema.predictions().len());
    let mut body = Vec::with_capacity(1_024 + row_bytes * asked.keys.len());
    body.push(b'{');
    body.extend_from_slice(&found.current.path_members);
    body.extend_from_slice(b",\"results\":[");
    let (mut count_found, mut count_missing, mut count_invalid) = (0, 0, 0);
    // Invalid keys were not looked for: the others' places count.
    let mut place = 0;
    for (at, (asked, parsed)) in asked.keys.iter().zip(&parsed).enumerate() {
        body.extend_from_slice(if at == 0 { b"{\"key\":" } else { b",{\"key\":" });
        write_json(&mut body, asked)?;
        if let Err(error) = parsed {
            count_invalid += 1;
            body.extend_from_slice(b",\"status\":\"invalid\",\"detail\":");
            write_json(&mut body, &error.to_string())?;
        } else {
            if found.write(place, b",\"status\":\"found\",\"predictions\":", &mut body) {
                count_found += 1;
            } else {
                count_missing += 1;
                body.extend_from_slice(b",\"status\":\"not_found\"");
            }
            place += 1;
        }
        body.push(b'}');
    }
    body.extend_from_slice(b"],");
    body.extend_from_slice(&repeated.members);
    body.extend_from_slice(&withheld);
    body.push(b'}');
    app.metrics.lookups_found.inc_by(count_found);
    app.metrics.lookups_missing.inc_by(count_missing);
    app.metrics.lookups_invalid.inc_by(count_invalid);
    Ok(answer_with(headers_of(&app, &found.current, &repeated, None), body))
}

/// How many requests a batch of so many keys costs, beside the one that it is.
fn beyond_one_request(keys: usize) -> u32 {
    u32::try_from(keys.div_ceil(KEYS_PER_REQUEST)).unwrap_or(u32::MAX).saturating_sub(1)
}

/// A key as the body writes it.
#[derive(Debug)]
enum AskedKey<'a> {
    Int(i64),
    Text(Cow<'a, str>),
    /// Neither integer nor text, or an integer out of range.
    Other(serde_json::Value),
}

impl AskedKey<'_> {
    fn key(&self, declared: DataType) -> Result<KeyRef<'_>, KeyError> {
        match (self, declared) {
            (Self::Int(key), DataType::Int) => Ok(KeyRef::Int(*key)),
            (Self::Text(text), _) => KeyRef::parse(text, declared),
            // A number is not the text of its digits: "017" and 17 are different keys.
            (Self::Int(_) | Self::Other(_), DataType::String) => Err(KeyError::NotAString(0)),
            (Self::Int(_), other) => Err(KeyError::NotAKeyType(other)),
            (Self::Other(value), _) => Err(KeyError::NotAnInteger(value.to_string())),
        }
    }
}

impl Serialize for AskedKey<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(key) => serializer.serialize_i64(*key),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Other(value) => value.serialize(serializer),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for AskedKey<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneKey;
        impl<'de> Visitor<'de> for OneKey {
            type Value = AskedKey<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or a text")
            }

            fn visit_i64<E>(self, key: i64) -> Result<AskedKey<'de>, E> {
                Ok(AskedKey::Int(key))
            }

            fn visit_u64<E>(self, key: u64) -> Result<AskedKey<'de>, E> {
                Ok(i64::try_from(key).map_or_else(|_| AskedKey::Other(key.into()), AskedKey::Int))
            }

            fn visit_f64<E>(self, key: f64) -> Result<AskedKey<'de>, E> {
                Ok(whole(key).map_or_else(|| AskedKey::Other(key.into()), AskedKey::Int))
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<AskedKey<'de>, E> {
                Ok(AskedKey::Text(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<AskedKey<'de>, E> {
                Ok(AskedKey::Text(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_any(OneKey)
    }
}

/// Reads the keys and stops at one too many, so that a body of commas cannot grow a list of millions.
fn bounded_keys<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<AskedKey<'de>>, D::Error> {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = Vec<AskedKey<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of 1 to {BATCH_KEYS_MAX} keys")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut keys = Vec::new();
            while let Some(key) = list.next_element()? {
                if keys.len() == BATCH_KEYS_MAX {
                    return Err(A::Error::invalid_length(keys.len() + 1, &self));
                }
                keys.push(key);
            }
            if keys.is_empty() {
                return Err(A::Error::invalid_length(0, &self));
            }
            Ok(keys)
        }
    }
    deserializer.deserialize_seq(Keys)
}

pub(super) fn write_json(body: &mut Vec<u8>, value: &impl Serialize) -> Result<(), Problem> {
    serde_json::to_writer(body, value).map_err(|error| {
        tracing::error!(%error, "a value cannot be written as JSON");
        Problem::internal()
    })
}

/// An answer in JSON.
pub(super) fn answer(body: Vec<u8>) -> Response {
    answer_with(HeaderMap::new(), body)
}

fn answer_with(mut headers: HeaderMap, body: Vec<u8>) -> Response {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut response = Response::new(body.into());
    *response.headers_mut() = headers;
    response
}

/// What every answer with predictions says in its headers; one that is stale is counted.
fn headers_of(
    app: &App,
    current: &Current,
    repeated: &Repeated,
    tag: Option<HeaderValue>,
) -> HeaderMap {
    if repeated.freshness.stale {
        app.metrics.served_stale.inc();
    }
    let mut headers = freshness::headers(current, repeated);
    if current.is_sensitive {
        sensitive::not_to_be_kept(&mut headers);
    } else if let Some(tag) = tag {
        headers.insert(header::ETAG, tag);
    }
    headers
}

impl From<LookupError> for Problem {
    fn from(error: LookupError) -> Self {
        match &error {
            LookupError::NotFound(_) => Self::not_found(),
            LookupError::NotPublished(_) => Self::new(Code::NotPublished, error.to_string()),
            LookupError::BadKey(_) => Self::new(Code::InvalidKey, error.to_string()),
            LookupError::UnknownKey { current, .. } => {
                let repeated = current.repeated(Utc::now());
                Self::new(Code::UnknownKey, error.to_string())
                    .with_headers(flatten(freshness::headers(current, &repeated)))
            }
            LookupError::TooManyServices { .. } => {
                Self::new(Code::InvalidRequest, error.to_string())
            }
            LookupError::Overloaded { .. } => Self::new(Code::Overloaded, error.to_string()),
            LookupError::Unavailable(source) => {
                tracing::warn!(error = %source, "a look-up failed");
                Self::new(Code::Unavailable, "the database cannot be asked now; try again")
            }
        }
    }
}
