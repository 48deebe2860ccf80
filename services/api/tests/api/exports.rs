//! Exports against real files: formats, pages, a download that broke off, changes, consumers, and what is
//! said about what is gone.

use std::{fs::File, io::Read, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch},
    datatypes::{DataType as ArrowType, Field, Schema},
};
use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use cameo_api::Config;
use cameo_bundle::ArtifactStore;
use cameo_domain::{DataType, Sha256};
use cameo_segment::membership::{Label, MembershipWriter};
use cameo_store::segments::{self, Made};
use chrono::Utc;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::world::{World, request};

const LOYAL: &str = "/v1/tenants/marketing/segments/loyal";

/// A world with the segment `loyal` of marketing.
async fn world(config: Config) -> World {
    let world = World::start_with(config).await;
    world.apply("marketing", "gender", DataType::Int).await;
    world.publish("marketing", "gender", Utc::now(), 3, 0.0).await;
    let body = json!({ "condition": "gender.score >= 0", "attributes": ["gender.score"] });
    let define = request(Method::PUT, LOYAL, Some(&world.marketing), Some(&body.to_string()));
    let defined = world.send(define).await;
    assert!(defined.status.is_success(), "{defined:?}");
    world
}

/// Makes these the members, each with a score, as a worker would after a publication.
async fn materialise(world: &World, members: &[(i64, f64)]) -> u32 {
    world.publish("marketing", "gender", Utc::now(), 3, 0.0).await;
    let task = segments::claim(&world.store, 60).await.expect("a claim").expect("a due segment");
    let label = Label {
        tenant: task.tenant.clone(),
        segment: task.segment.clone(),
        number: task.number,
        as_of: task.as_of(),
        generations: task.generations(),
    };
    let schema = Arc::new(Schema::new(vec![
        Field::new("customer", ArrowType::Int64, false),
        Field::new("gender.score", ArrowType::Float64, true),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(members.iter().map(|(key, _)| Some(*key)).collect::<Int64Array>()),
        Arc::new(members.iter().map(|(_, score)| Some(*score)).collect::<Float64Array>()),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("a batch");
    let path = world.lake.path().join("members.arrow");
    let file = File::create(&path).expect("a file");
    let mut writer = MembershipWriter::new(file, &label, &schema).expect("a writer");
    writer.write(&batch).expect("written");
    writer.finish().expect("a whole file");
    let bytes = std::fs::read(&path).expect("the file");
    let artifacts = world.lake.path().join("artifacts");
    let artifacts = ArtifactStore::open(&artifacts.display().to_string()).expect("a folder");
    let sha256 = Sha256::of(&bytes);
    artifacts.put_file(&path, &sha256).await.expect("stored");
    let members = members.len() as u64;
    let made = Made { members, profiles: members, sha256, bytes: bytes.len() as u64 };
    segments::complete(&world.store, &task, made).await.expect("recorded");
    task.number
}

fn rows(body: &str) -> Vec<Value> {
    body.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_whole_in_pages_and_after_any_row_as_of_one_materialisation() {
    let world = world(Config::default()).await;
    let key = &world.marketing;
    let early = world.get(key, &format!("{LOYAL}/members")).await;
    assert_eq!(early.code(), "not_materialised");
    let members: Vec<(i64, f64)> =
        (1..=7_i32).map(|key| (i64::from(key), f64::from(key))).collect();
    let number = materialise(&world, &members).await;

    let whole = world.get(key, &format!("{LOYAL}/members")).await;
    assert_eq!(whole.header("content-type"), "application/x-ndjson");
    assert_eq!(whole.header("cameo-materialisation"), number.to_string());
    assert_eq!(whole.header("cameo-members"), "7");
    assert_eq!(
        whole.header("content-disposition"),
        format!("attachment; filename=\"marketing-loyal-{number}.ndjson\"")
    );
    let all = rows(&whole.body);
    assert_eq!(all[0], json!({"key": 1, "gender.score": 1.0}));
    assert_eq!(all.len(), 7);

    let mut pages = Vec::new();
    let mut path = format!("{LOYAL}/members?limit=3");
    loop {
        let page = world.get(key, &path).await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        pages.extend(rows(&page.body));
        // What is materialised meanwhile changes nothing.
        materialise(&world, &members[..2]).await;
        match page.header("cameo-next-cursor") {
            "" => break,
            next => path = format!("{LOYAL}/members?limit=3&cursor={next}"),
        }
    }
    assert_eq!(pages, all);

    let rest = format!("{LOYAL}/members?materialisation={number}&after_key=5");
    assert_eq!(rows(&world.get(key, &rest).await.body), all[5..]);
    for (wrong, code) in [
        ("after_key=5", "invalid_request"),
        ("materialisation=1&after_key=five", "invalid_key"),
        ("materialisation=99", "not_found"),
        ("limit=0", "invalid_request"),
        ("limit=100001", "invalid_request"),
        ("format=xlsx", "invalid_request"),
        ("cursor=AAAA", "invalid_cursor"),
        ("colour=red", "invalid_request"),
    ] {
        let refused = world.get(key, &format!("{LOYAL}/members?{wrong}")).await;
        assert_eq!(refused.code(), code, "{wrong}");
    }
    let unknown = world.get(key, "/v1/tenants/marketing/segments/nobody/members").await;
    assert_eq!(unknown.code(), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_gets_the_format_and_compression_that_it_asks_for() {
    let world = world(Config::default()).await;
    materialise(&world, &[(1, 0.5), (2, 0.25)]).await;
    let mut asked = request(Method::GET, &format!("{LOYAL}/members"), Some(&world.marketing), None);
    asked.headers_mut().insert(header::ACCEPT, "text/csv".parse().expect("a header"));
    asked.headers_mut().insert(header::ACCEPT_ENCODING, "gzip".parse().expect("a header"));
    let answer = world.api.clone().oneshot(asked).await.expect("the router never fails");
    assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
    let packed = answer.into_body().collect().await.expect("a whole body").to_bytes();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).expect("gzip");
    assert_eq!(text, "key,gender.score\r\n1,0.5\r\n2,0.25\r\n");

    let braze = world.get(&world.marketing, &format!("{LOYAL}/members?format=braze")).await;
    let row = &rows(&braze.body)[0];
    assert_eq!(row["external_id"], "1");
    assert_eq!(row["segment_loyal"], true);
    let mut pdf = request(Method::GET, &format!("{LOYAL}/members"), Some(&world.marketing), None);
    pdf.headers_mut().insert(header::ACCEPT, "application/pdf".parse().expect("a header"));
    assert_eq!(world.send(pdf).await.code(), "not_acceptable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_gets_what_changed_since_what_it_acknowledged() {
    let world = world(Config::default()).await;
    let key = &world.marketing;
    let first = materialise(&world, &[(1, 0.1), (2, 0.2), (3, 0.3)]).await;
    let of_braze = format!("{LOYAL}/changes?consumer=braze");
    let everybody = world.get(key, &of_braze).await;
    assert_eq!(everybody.header("cameo-since"), "0");
    let changes: Vec<Value> =
        rows(&everybody.body).iter().map(|row| row["change"].clone()).collect();
    assert_eq!(changes, ["entered", "entered", "entered"]);
    let acknowledge = async |number: u32| {
        let body = json!({ "consumer": "braze", "materialisation": number }).to_string();
        world.post(key, &format!("{LOYAL}/changes:acknowledge"), &body).await
    };
    assert_eq!(acknowledge(first).await.json()["materialisation"], first);
    assert_eq!(acknowledge(99).await.code(), "not_found");
    assert!(rows(&world.get(key, &of_braze).await.body).is_empty());

    let second = materialise(&world, &[(2, 0.2), (3, 0.9), (4, 0.4)]).await;
    let changed = world.get(key, &format!("{of_braze}&attributes=true")).await;
    assert_eq!(changed.header("cameo-materialisation"), second.to_string());
    assert_eq!(
        rows(&changed.body),
        [
            json!({"key": 1, "change": "left", "gender.score": null}),
            json!({"key": 3, "change": "changed", "gender.score": 0.9}),
            json!({"key": 4, "change": "entered", "gender.score": 0.4}),
        ]
    );
    // A page, and the one after it, of the changes as they were asked for.
    let page = world.get(key, &format!("{of_braze}&attributes=true&limit=2")).await;
    let cursor = page.header("cameo-next-cursor");
    let next = world.get(key, &format!("{LOYAL}/changes?limit=2&cursor={cursor}")).await;
    assert_eq!(page.body.clone() + &next.body, changed.body);
    assert_eq!(next.header("cameo-next-cursor"), "");
    let elsewhere = world.get(key, &format!("{LOYAL}/members?cursor={cursor}")).await;
    assert_eq!(elsewhere.code(), "invalid_cursor");
    let crossed = world.get(key, &format!("{LOYAL}/changes?since=1&cursor={cursor}")).await;
    assert_eq!(crossed.code(), "invalid_request");
    assert_eq!(world.get(key, &format!("{LOYAL}/changes")).await.code(), "invalid_request");
    let ahead = world.get(key, &format!("{LOYAL}/changes?since=77")).await;
    assert_eq!(ahead.code(), "invalid_request");

    acknowledge(second).await;
    let listed = world.get(key, &format!("{LOYAL}/consumers")).await.json();
    assert_eq!(listed["consumers"][0]["consumer"], "braze");
    assert_eq!(listed["consumers"][0]["materialisation"], second);
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_have_places_of_their_own_which_are_free_again_when_they_end() {
    let export_stall = Duration::from_millis(300);
    let config = Config { exports_per_tenant_max: 1, export_stall, ..Config::default() };
    let world = world(config).await;
    let members: Vec<(i64, f64)> = (0..60_000_i32).map(|key| (i64::from(key), 0.5)).collect();
    materialise(&world, &members).await;
    let ask = || request(Method::GET, &format!("{LOYAL}/members"), Some(&world.marketing), None);
    // Nobody reads this one: it holds its place, and loses it after the time for a piece.
    let unread = world.api.clone().oneshot(ask()).await.expect("the router never fails");
    assert_eq!(world.send(ask()).await.code(), "overloaded");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let broken = unread.into_body().collect().await;
    assert!(broken.is_err(), "a part must not look like the whole");
    assert_eq!(rows(&world.send(ask()).await.body).len(), members.len());
    // Who goes away frees the place as well.
    let gone: Body = world.api.clone().oneshot(ask()).await.expect("an answer").into_body();
    drop(gone);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while world.send(ask()).await.status != StatusCode::OK {
        assert!(tokio::time::Instant::now() < deadline, "the place is still taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
