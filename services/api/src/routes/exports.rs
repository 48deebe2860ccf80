//! Getting the members of a segment out, and what changed among them.

use std::sync::Arc;

use arrow::{
    datatypes::{DataType as ArrowType, SchemaRef},
    record_batch::RecordBatch,
};
use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use cameo_domain::{ConsumerName, DataType, Key, SegmentName, TenantName};
use cameo_segment::{
    changes::{Changes, ChangesError},
    cursor::{Cursor, CursorError, Listing},
    export::{Export, ExportError, Target},
    members::{Members, Page, PositionError},
    membership::{Membership, MembershipError},
};
use cameo_store::{
    exports::{self, ConsumerRecord},
    segments::{self, Materialisation},
};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    acting::Acting,
    app::App,
    exports::{Place, Wanted, wanted},
    extract::{JsonBytes, PathParams, QueryParams},
    openapi::example,
    problem::{Code, Problem, ProblemBody},
};

/// Most rows of a page. Without a limit there is no bound.
const PAGE_ROWS_MAX: u32 = 100_000;
/// How long a materialisation stays at least after an export of it began, or went on.
const PINNED: TimeDelta = TimeDelta::hours(24);

const MATERIALISATION: HeaderName = HeaderName::from_static("cameo-materialisation");
const SINCE: HeaderName = HeaderName::from_static("cameo-since");
const AS_OF: HeaderName = HeaderName::from_static("cameo-as-of");
const MEMBERS: HeaderName = HeaderName::from_static("cameo-members");
const NEXT_CURSOR: HeaderName = HeaderName::from_static("cameo-next-cursor");

/// Which members to list, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MembersQuery {
    /// `ndjson`, `csv`, `parquet`, `arrow`, `braze` or `braze_csv`; else what `Accept` says.
    #[param(example = "ndjson")]
    format: Option<String>,
    /// Compress the file itself: `gzip`, `zstd` or `none`; else the transfer as `Accept-Encoding` says.
    #[param(example = "gzip")]
    compression: Option<String>,
    /// Rows of a page, up to 100,000; all rows in one stream unless given.
    #[param(minimum = 1, maximum = 100_000, example = 10_000)]
    limit: Option<u32>,
    /// Go on where the page before ended: its `cameo-next-cursor`.
    #[param(max_length = 768, example = "AAECAwQFBgcICQ")]
    cursor: Option<String>,
    /// Which materialisation; the latest unless given.
    #[param(example = 4)]
    materialisation: Option<u32>,
    /// Go on after this key, the last one that arrived of a download that broke off; together with
    /// `materialisation`.
    #[param(example = "17")]
    after_key: Option<String>,
}

/// Which changes to list, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChangesQuery {
    /// `ndjson`, `csv`, `parquet`, `arrow`, `braze` or `braze_csv`; else what `Accept` says.
    #[param(example = "ndjson")]
    format: Option<String>,
    /// Compress the file itself: `gzip`, `zstd` or `none`; else the transfer as `Accept-Encoding` says.
    #[param(example = "gzip")]
    compression: Option<String>,
    /// Rows of a page, up to 100,000; all rows in one stream unless given.
    #[param(minimum = 1, maximum = 100_000, example = 10_000)]
    limit: Option<u32>,
    /// Go on where the page before ended: its `cameo-next-cursor`.
    #[param(max_length = 768, example = "AAECAwQFBgcICQ")]
    cursor: Option<String>,
    /// The materialisation that the caller has: the `cameo-materialisation` of its last answer; 0 for none,
    /// then everybody entered.
    #[param(example = 3)]
    since: Option<u32>,
    /// What this consumer acknowledged last, instead of `since`.
    #[param(value_type = Option<String>, example = "braze")]
    consumer: Option<ConsumerName>,
    /// Up to which materialisation; the latest unless given.
    #[param(example = 4)]
    materialisation: Option<u32>,
    /// Whether members whose attributes differ are listed as `changed`.
    #[param(example = true)]
    attributes: Option<bool>,
    /// Go on after this key, the last one that arrived of a download that broke off; together with `since`
    /// and `materialisation`.
    #[param(example = "17")]
    after_key: Option<String>,
}

/// A tenant's segment.
struct Segment {
    tenant: TenantName,
    name: SegmentName,
}

impl Segment {
    fn of(path: &PathParams) -> Result<Self, Problem> {
        let name = path.text("segment").parse().map_err(|_| Problem::not_found())?;
        Ok(Self { tenant: path.tenant()?, name })
    }

    /// The materialisation with this number, or the latest one.
    async fn materialisation(
        &self,
        app: &App,
        number: Option<u32>,
    ) -> Result<Materialisation, Problem> {
        let found = match number {
            Some(number) => exports::materialisation(&app.store, &self.tenant, &self.name, number),
            None => return self.latest(app).await,
        };
        found.await?.ok_or_else(Problem::not_found)
    }

    async fn latest(&self, app: &App) -> Result<Materialisation, Problem> {
        let (tenant, name) = (&self.tenant, &self.name);
        if let Some(latest) = exports::latest(&app.store, tenant, name).await? {
            return Ok(latest);
        }
        let defined = segments::find(&app.store, tenant, name).await?;
        let defined = defined.ok_or_else(Problem::not_found)?;
        let why = defined.reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let detail = format!("segment {name} has not been materialised yet{why}; try again later");
        Err(Problem::new(Code::NotMaterialised, detail))
    }

    /// The members of a materialisation, which stay for a while.
    async fn open(&self, app: &App, of: &Materialisation) -> Result<Membership, Problem> {
        let until = Utc::now() + PINNED;
        let kept = segments::pin(&app.store, &self.tenant, &self.name, of.number, until).await?;
        if !kept {
            let detail = format!(
                "materialisation {} of segment {} is no longer kept; take all members of the latest \
                 one, then its changes",
                of.number, self.name
            );
            return Err(Problem::new(Code::MaterialisationGone, detail));
        }
        app.exports.open(&of.sha256).await
    }

    async fn opened_cursor(&self, app: &App, text: &str) -> Result<Cursor, Problem> {
        let key = app.exports.cursor_key(&app.store).await?;
        key.open(&self.tenant, &self.name, text).map_err(Problem::from)
    }
}

/// Which rows an answer has, with what its head says.
struct Answer {
    segment: Segment,
    wanted: Wanted,
    limit: Option<u32>,
    listing: Listing,
    materialisation: Materialisation,
    since: Option<u32>,
    place: Place,
}

/// Export the members of a segment
///
/// All members with their attributes, sorted by key, as of one materialisation whatever is materialised
/// meanwhile. Without `limit` it is one stream without a bound; one that broke off goes on with
/// `materialisation` and `after_key`. With `limit` it is a page, and `cameo-next-cursor` leads to the next
/// one until it is missing.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/segments/{segment}/members",
    operation_id = "exportMembers", tag = "segments",
    params(
        ("tenant" = String, Path, description = "The team.", example = "crm"),
        ("segment" = String, Path, description = "The team's segment.", example = "loyal"),
        MembersQuery,
    ),
    responses(
        (status = 200, description = "The members", content(
            (String = "application/x-ndjson", example = "{\"key\":17,\"clv.score\":0.5}\n"),
            (String = "text/csv", example = "key,clv.score\r\n17,0.5\r\n"),
            (Vec<u8> = "application/vnd.apache.parquet"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"),
            (Vec<u8> = "application/gzip"),
            (Vec<u8> = "application/zstd"),
        ), headers(
            ("cameo-materialisation" = i64, description = "Which materialisation."),
            ("cameo-as-of" = String, description = "As of when the members are members."),
            ("cameo-members" = i64, description = "How many members the materialisation has."),
            ("cameo-next-cursor" = String, description = "Where the next page begins; missing on the last one."))),
        (status = 400, description = "The cursor is none (`invalid_cursor`), or the request is not well formed", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::InvalidCursor))),
        (status = 409, description = "The segment has no members yet", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::NotMaterialised))),
        (status = 406, description = "No such format", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::NotAcceptable))),
        (status = 410, description = "The materialisation is no longer kept", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::MaterialisationGone)))))]
pub(crate) async fn export_members(
    State(app): State<App>,
    path: PathParams,
    headers: HeaderMap,
    QueryParams(query): QueryParams<MembersQuery>,
) -> Result<Response, Problem> {
    let segment = Segment::of(&path)?;
    let wanted = wanted(&headers, query.format.as_deref(), query.compression.as_deref())?;
    let limit = page_limit(query.limit)?;
    let (number, position) = match (&query.cursor, query.materialisation, query.after_key) {
        (Some(cursor), None, None) => match segment.opened_cursor(&app, cursor).await? {
            Cursor { listing: Listing::Members { materialisation }, after } => {
                (Some(materialisation), Position::After(after))
            }
            _ => return Err(another_listing()),
        },
        (Some(_), _, _) => return Err(alone()),
        (None, None, Some(_)) => {
            let detail = "expected `materialisation` beside `after_key`: it is in the header \
                          `cameo-materialisation` of the download that broke off";
            return Err(Problem::new(Code::InvalidRequest, detail));
        }
        (None, number, after) => (number, Position::of(after)),
    };
    let materialisation = segment.materialisation(&app, number).await?;
    let place = app.exports.begin(&segment.tenant)?;
    let file = segment.open(&app, &materialisation).await?;
    let members = position.members(file).await?;
    let listing = Listing::Members { materialisation: materialisation.number };
    let answer = Answer { segment, wanted, limit, listing, materialisation, since: None, place };
    let schema = members.schema();
    answer.give(&app, members, schema).await
}

/// Export what changed in a segment
///
/// Who entered and who left between two materialisations, sorted by key, and with `attributes` also whose
/// attributes changed; the attributes of those who left are null. The next changes are those since this
/// answer's `cameo-materialisation`. A `consumer` need not remember that: it acknowledges what it took.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/segments/{segment}/changes",
    operation_id = "exportChanges", tag = "segments",
    params(
        ("tenant" = String, Path, description = "The team.", example = "crm"),
        ("segment" = String, Path, description = "The team's segment.", example = "loyal"),
        ChangesQuery,
    ),
    responses(
        (status = 200, description = "The changes", content(
            (String = "application/x-ndjson", example = "{\"key\":17,\"change\":\"entered\",\"clv.score\":0.5}\n"),
            (String = "text/csv", example = "key,change,clv.score\r\n17,entered,0.5\r\n"),
            (Vec<u8> = "application/vnd.apache.parquet"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"),
            (Vec<u8> = "application/gzip"),
            (Vec<u8> = "application/zstd"),
        ), headers(
            ("cameo-materialisation" = i64, description = "Up to which materialisation: ask for the next changes since it."),
            ("cameo-since" = i64, description = "Since which materialisation."),
            ("cameo-as-of" = String, description = "As of when the members are members."),
            ("cameo-members" = i64, description = "How many members the newer materialisation has."),
            ("cameo-next-cursor" = String, description = "Where the next page begins; missing on the last one."))),
        (status = 400, description = "The cursor is none (`invalid_cursor`), or the request is not well formed", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::InvalidCursor))),
        (status = 409, description = "The segment has no members yet", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::NotMaterialised))),
        (status = 406, description = "No such format", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::NotAcceptable))),
        (status = 410, description = "A materialisation is no longer kept: take all members, then go on from there", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::MaterialisationGone)))))]
pub(crate) async fn export_changes(
    State(app): State<App>,
    path: PathParams,
    headers: HeaderMap,
    QueryParams(query): QueryParams<ChangesQuery>,
) -> Result<Response, Problem> {
    let segment = Segment::of(&path)?;
    let wanted = wanted(&headers, query.format.as_deref(), query.compression.as_deref())?;
    let limit = page_limit(query.limit)?;
    let asked = asked_changes(&app, &segment, query).await?;
    let Asked { since, materialisation, attributes, position } = asked;
    if since > materialisation.number {
        let detail =
            format!("expected a `since` of at most {}, found {since}", materialisation.number);
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let place = app.exports.begin(&segment.tenant)?;
    let new = segment.open(&app, &materialisation).await?;
    let old = match since {
        0 => None,
        since => {
            let older = segment.materialisation(&app, Some(since)).await?;
            Some(segment.open(&app, &older).await?)
        }
    };
    let old = match old {
        Some(old) => Some(position.clone().members(old).await?),
        None => None,
    };
    let new = position.members(new).await?;
    let new_schema = new.schema();
    let old_schema = old.as_ref().map_or_else(|| Arc::clone(&new_schema), Members::schema);
    let changes =
        Changes::new((old.into_iter().flatten(), &*old_schema), (new, &*new_schema), attributes)
            .map_err(ExportError::from)?;
    let number = materialisation.number;
    let listing = Listing::Changes { since, materialisation: number, attributes };
    let answer =
        Answer { segment, wanted, limit, listing, materialisation, since: Some(since), place };
    let schema = changes.schema();
    answer.give(&app, changes, schema).await
}

/// What of the changes was asked for.
struct Asked {
    since: u32,
    materialisation: Materialisation,
    attributes: bool,
    position: Position,
}

async fn asked_changes(
    app: &App,
    segment: &Segment,
    query: ChangesQuery,
) -> Result<Asked, Problem> {
    if let Some(cursor) = &query.cursor {
        if query.since.is_some()
            || query.consumer.is_some()
            || query.materialisation.is_some()
            || query.attributes.is_some()
            || query.after_key.is_some()
        {
            return Err(alone());
        }
        let cursor = segment.opened_cursor(app, cursor).await?;
        let Listing::Changes { since, materialisation, attributes } = cursor.listing else {
            return Err(another_listing());
        };
        let materialisation = segment.materialisation(app, Some(materialisation)).await?;
        let position = Position::After(cursor.after);
        return Ok(Asked { since, materialisation, attributes, position });
    }
    if query.after_key.is_some() && (query.since.is_none() || query.materialisation.is_none()) {
        let detail = "expected `since` and `materialisation` beside `after_key`: they are in the \
                      headers `cameo-since` and `cameo-materialisation` of the download that broke off";
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let since = match (query.since, &query.consumer) {
        (Some(since), None) => since,
        (None, Some(consumer)) => {
            let (tenant, name) = (&segment.tenant, &segment.name);
            let known = exports::consumer(&app.store, tenant, name, consumer).await?;
            // One that never acknowledged anything has nobody yet.
            known.map_or(0, |record| record.materialisation)
        }
        _ => {
            let detail = "expected one of `since`, `consumer` and `cursor`";
            return Err(Problem::new(Code::InvalidRequest, detail));
        }
    };
    let materialisation = segment.materialisation(app, query.materialisation).await?;
    let attributes = query.attributes.unwrap_or_default();
    Ok(Asked { since, materialisation, attributes, position: Position::of(query.after_key) })
}

/// Where rows begin.
#[derive(Clone)]
enum Position {
    Start,
    After(Key),
    /// As a client writes it; the file says of which type it is.
    AfterText(String),
}

impl Position {
    fn of(after: Option<String>) -> Self {
        after.map_or(Self::Start, Self::AfterText)
    }

    async fn members(self, file: Membership) -> Result<Members, Problem> {
        let key = match self {
            Self::Start => return Ok(Members::all(file)),
            Self::After(key) => key,
            Self::AfterText(text) => {
                let declared = match file.schema().field(0).data_type() {
                    ArrowType::Int64 => DataType::Int,
                    _ => DataType::String,
                };
                Key::parse(&text, declared)
                    .map_err(|error| Problem::new(Code::InvalidKey, error.to_string()))?
            }
        };
        // It reads some batches to find the place.
        let found = tokio::task::spawn_blocking(move || Members::after(file, &key)).await;
        match found {
            Ok(members) => members.map_err(Problem::from),
            Err(_) => Err(Problem::internal()),
        }
    }
}

impl Answer {
    async fn give<E>(
        self,
        app: &App,
        rows: impl Iterator<Item = Result<RecordBatch, E>> + Send + 'static,
        schema: SchemaRef,
    ) -> Result<Response, Problem>
    where
        ExportError: From<E>,
        E: Send + 'static,
    {
        let Self { segment, wanted, limit, listing, materialisation, since, place } = self;
        let target = Target {
            format: wanted.format,
            compression: wanted.compression,
            segment: segment.name.clone(),
            as_of: materialisation.as_of,
        };
        let (body, next) = match limit {
            None => {
                let pieces = Export::begin(rows, &schema, &target)?;
                (app.exports.body(place, pieces), None)
            }
            Some(limit) => {
                let encode = move || page(rows, limit, &schema, &target);
                let (bytes, next) = app.exports.whole(place, encode).await?;
                (Body::from(bytes), next)
            }
        };
        let Segment { tenant, name } = &segment;
        let since_text = since.map_or_else(String::new, |since| format!("-since-{since}"));
        let file = format!("{tenant}-{name}-{}{since_text}", materialisation.number);
        let mut response = body.into_response();
        let head = response.headers_mut();
        head.remove(header::CONTENT_TYPE);
        head.extend(wanted.headers(&file));
        head.insert(MATERIALISATION, HeaderValue::from(materialisation.number));
        head.insert(MEMBERS, HeaderValue::from(materialisation.members));
        if let Some(since) = since {
            head.insert(SINCE, HeaderValue::from(since));
        }
        let as_of = materialisation.as_of.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let mut insert = |name, text| {
            if let Ok(value) = HeaderValue::try_from(text) {
                head.insert(name, value);
            }
        };
        insert(AS_OF, as_of);
        if let Some(after) = next {
            let key = app.exports.cursor_key(&app.store).await?;
            insert(NEXT_CURSOR, key.seal(tenant, name, &Cursor { listing, after }));
        }
        Ok(response)
    }
}

fn page<E>(
    rows: impl Iterator<Item = Result<RecordBatch, E>>,
    limit: u32,
    schema: &SchemaRef,
    target: &Target,
) -> Result<(Vec<u8>, Option<Key>), ExportError>
where
    ExportError: From<E>,
{
    let page = Page::read(rows, limit as usize)?;
    Ok((encoded(page.batches, schema, target)?, page.next))
}

fn encoded(
    batches: Vec<RecordBatch>,
    schema: &SchemaRef,
    target: &Target,
) -> Result<Vec<u8>, ExportError> {
    let rows = batches.into_iter().map(Ok::<_, MembershipError>);
    let mut bytes = Vec::new();
    for piece in Export::begin(rows, schema, target)? {
        bytes.append(&mut piece?);
    }
    Ok(bytes)
}

fn page_limit(limit: Option<u32>) -> Result<Option<u32>, Problem> {
    match limit {
        Some(limit) if !(1..=PAGE_ROWS_MAX).contains(&limit) => Err(Problem::new(
            Code::InvalidRequest,
            format!(
                "expected a `limit` of 1 to {PAGE_ROWS_MAX}, or none for all rows; found {limit}"
            ),
        )),
        limit => Ok(limit),
    }
}

fn alone() -> Problem {
    let detail = "expected `cursor` alone: it says which materialisations, what and from where";
    Problem::new(Code::InvalidRequest, detail)
}

fn another_listing() -> Problem {
    let detail = "the cursor is of another listing: one of members leads to members, one of changes \
                  to changes";
    Problem::new(Code::InvalidCursor, detail)
}

/// How far a consumer has come.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "a member is named as in every other answer")]
pub(crate) struct Consumer {
    /// Who.
    #[schema(example = "braze")]
    consumer: String,
    /// Up to which materialisation it has taken the changes.
    #[schema(example = 4)]
    materialisation: u32,
    /// Who said so.
    #[schema(example = "key:1a2b3c4d")]
    acknowledged_by: String,
    /// When.
    acknowledged_at: DateTime<Utc>,
}

/// Those who follow a segment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConsumerList {
    /// By name.
    consumers: Vec<Consumer>,
}

/// What a consumer has taken.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acknowledgement {
    /// Who; a new name begins to be followed.
    #[schema(value_type = String, example = "braze")]
    consumer: ConsumerName,
    /// The `cameo-materialisation` of the changes, or members, that it has taken whole.
    #[schema(example = 4)]
    materialisation: u32,
}

/// List a segment's consumers
///
/// Who takes the changes, and up to which materialisation each has acknowledged them.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/segments/{segment}/consumers",
    operation_id = "listConsumers", tag = "segments",
    params(
        ("tenant" = String, Path, description = "The team.", example = "crm"),
        ("segment" = String, Path, description = "The team's segment.", example = "loyal"),
    ),
    responses((status = 200, description = "The consumers", body = ConsumerList)))]
pub(crate) async fn list_consumers(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<ConsumerList>, Problem> {
    let Segment { tenant, name } = Segment::of(&path)?;
    let consumers = exports::consumers(&app.store, &tenant, &name).await?;
    Ok(Json(ConsumerList { consumers: consumers.into_iter().map(Consumer::from).collect() }))
}

/// Acknowledge changes
///
/// Notes that a consumer has taken everything up to a materialisation: its next changes are those since
/// then. Say it once they are safe on the consumer's side; what was not acknowledged is given again.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/segments/{segment}/changes:acknowledge",
    operation_id = "acknowledgeChanges", tag = "segments",
    params(
        ("tenant" = String, Path, description = "The team.", example = "crm"),
        ("segment" = String, Path, description = "The team's segment.", example = "loyal"),
    ),
    request_body(content = Acknowledgement, example = json!({"consumer": "braze", "materialisation": 4})),
    responses((status = 200, description = "How far the consumer has come", body = Consumer)))]
pub(crate) async fn acknowledge_changes(
    State(app): State<App>,
    acting: Acting,
    path: PathParams,
    body: JsonBytes,
) -> Result<Json<Consumer>, Problem> {
    let Segment { tenant, name } = Segment::of(&path)?;
    let Acknowledgement { consumer, materialisation } = body.read()?;
    let noted =
        exports::acknowledge(&app.store, &tenant, &name, &consumer, materialisation, &acting.by);
    Ok(Json(noted.await?.into()))
}

impl From<ConsumerRecord> for Consumer {
    fn from(record: ConsumerRecord) -> Self {
        Self {
            consumer: record.consumer.to_string(),
            materialisation: record.materialisation,
            acknowledged_by: record.acknowledged_by,
            acknowledged_at: record.acknowledged_at,
        }
    }
}

impl From<CursorError> for Problem {
    fn from(error: CursorError) -> Self {
        Self::new(Code::InvalidCursor, format!("{error}; begin without one"))
    }
}

impl From<PositionError> for Problem {
    fn from(error: PositionError) -> Self {
        match error {
            PositionError::Key { .. } => Self::new(Code::InvalidKey, error.to_string()),
            PositionError::Membership(error) => ExportError::from(error).into(),
        }
    }
}

impl From<ExportError> for Problem {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Braze(why) => Self::new(Code::InvalidRequest, why.to_string()),
            ExportError::Changes(why @ ChangesError::Keys { .. }) => {
                Self::new(Code::InvalidRequest, why.to_string())
            }
            error => {
                tracing::error!(error = &error as &dyn std::error::Error, "an export failed");
                Self::internal()
            }
        }
    }
}
