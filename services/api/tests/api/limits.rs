//! What callers may use: rates, places, bodies, and the patience that the server has with slow clients.

use std::{io::Write, net::SocketAddr, time::Duration};

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use cameo_api::{Config, RateLimit, TenantLimits};
use cameo_domain::DataType;
use cameo_runtime::metrics::Metrics;
use cameo_store::limits::{self, RequestLimits};
use chrono::Utc;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

use crate::world::{Answer, World, dependencies, request};

const GENDER: &str = "/v1/tenants/marketing/services/gender";
/// How long anything here may take before a test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn limited(requests_per_second: u32, burst: u32) -> Config {
    let limits = Config::default().tenant_limits;
    let rate = RateLimit { requests_per_second, burst };
    Config { tenant_limits: TenantLimits { rate, ..limits }, ..Config::default() }
}

async fn published(config: Config) -> World {
    let world = World::start_with(config).await;
    world.apply("marketing", "gender", DataType::Int).await;
    world.publish("marketing", "gender", Utc::now(), 500, 0.5).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_asks_too_often_is_told_when_to_come_back_and_others_are_not_concerned() {
    let world = published(limited(1, 3)).await;
    let path = format!("{GENDER}/predictions/7");
    let first = world.get(&world.marketing, &path).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    assert_eq!(first.header("ratelimit-policy"), "\"key\";q=3;w=3");
    assert_eq!(first.header("ratelimit"), "\"key\";r=2;t=1");
    for _ in 0..2 {
        assert_eq!(world.get(&world.marketing, &path).await.status, StatusCode::OK);
    }
    let refused = world.get(&world.marketing, &path).await;
    assert_eq!(refused.code(), "rate_limited");
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.header("retry-after"), "1");
    assert!(refused.header("ratelimit").starts_with("\"key\";r=0;"), "{refused:?}");
    let other = world.scoped_key("marketing", &["read"]).await;
    assert_eq!(world.get(&other, &path).await.status, StatusCode::OK, "each key has its own");
    let metrics = world.metrics.encode();
    let counted = r#"cameo_api_requests_refused_total{reason="rate",tenant="marketing"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(world.get(&world.marketing, &path).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenant_or_a_key_is_granted_holds_within_seconds() {
    let world = published(limited(1_000, 2_000)).await;
    let marketing = "marketing".parse().expect("a name");
    let granted = RequestLimits { requests_per_second: Some(5), ..RequestLimits::default() };
    limits::grant(&world.store, &marketing, granted).await.expect("granted");
    let policy_becomes = async |key: &str, wanted: &str| {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = world.get(key, GENDER).await;
            if answer.header("ratelimit-policy") == wanted {
                return;
            }
            assert!(Instant::now() < end, "{answer:?}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    policy_becomes(&world.marketing, "\"key\";q=10;w=2").await;
    limits::limit_key(&world.store, &world.marketing[6..14], Some(2)).await.expect("limited");
    policy_becomes(&world.marketing, "\"key\";q=4;w=2").await;
    // More than the tenant's keys may make is not what a key's own limit can give.
    limits::limit_key(&world.store, &world.marketing[6..14], Some(900)).await.expect("limited");
    policy_becomes(&world.marketing, "\"key\";q=10;w=2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_look_up_costs_a_request_for_every_fifty_keys() {
    let world = published(limited(1, 10)).await;
    let batch = format!("{GENDER}/predictions:batchGet");
    let keys = |count: usize| json!({"keys": (1..=count).collect::<Vec<_>>()}).to_string();
    let answer = world.post(&world.marketing, &batch, &keys(250)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let refused = world.post(&world.marketing, &batch, &keys(450)).await;
    assert_eq!(refused.code(), "rate_limited", "5 of 10 are left, and it costs 9");
    let other = world.scoped_key("marketing", &["read"]).await;
    let never = world.post(&other, &batch, &keys(600)).await;
    assert_eq!(never.code(), "rate_limited", "12 are more than the key ever has");
    assert!(never.json()["detail"].as_str().expect("a detail").contains("at once"), "{never:?}");
}

/// A batch look-up of some keys, compressed.
fn compressed(world: &World, coding: &str, body: Vec<u8>) -> Request<Body> {
    let path = format!("{GENDER}/predictions:batchGet");
    let mut sent = request(Method::POST, &path, Some(&world.marketing), Some(""));
    sent.headers_mut().insert(header::CONTENT_ENCODING, coding.parse().expect("a coding"));
    *sent.body_mut() = Body::from(body);
    sent
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("finished")
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_read_and_bombs_are_not() {
    let world = published(Config::default()).await;
    let plain = br#"{"keys": [1, 2, 3]}"#;
    let batch = format!("{GENDER}/predictions:batchGet");
    let expected = world.post(&world.marketing, &batch, r#"{"keys": [1, 2, 3]}"#).await;
    let expected = expected.json()["results"].clone();
    assert_eq!(expected[0]["status"], "found");
    for (coding, body) in
        [("gzip", gzip(plain)), ("zstd", zstd::encode_all(plain.as_slice(), 3).expect("zstd"))]
    {
        let answer = world.send(compressed(&world, coding, body.clone())).await;
        assert_eq!(answer.json()["results"], expected, "{coding}");
        let cut = body[..body.len() - 4].to_vec();
        let cut = world.send(compressed(&world, coding, cut)).await;
        assert_eq!((cut.status, cut.code().as_str()), (StatusCode::BAD_REQUEST, "invalid_request"));
    }
    let spaces = vec![b' '; 32 << 20];
    for (coding, bomb) in [
        ("gzip", gzip(&spaces)),
        ("zstd", zstd::encode_all(spaces.as_slice(), 19).expect("zstd")),
        // More than the route takes, at an honest ratio.
        ("gzip", gzip(json!({"keys": (0..2_000_000).collect::<Vec<_>>()}).to_string().as_bytes())),
    ] {
        let answer = world.send(compressed(&world, coding, bomb)).await;
        assert_eq!(answer.code(), "body_too_large", "{coding}");
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
    let unknown = world.send(compressed(&world, "br", plain.to_vec())).await;
    assert_eq!(unknown.code(), "unsupported_encoding");
    assert_eq!(unknown.header("accept-encoding"), "gzip, zstd");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_compressed_for_those_who_take_that_and_look_ups_never() {
    let world = published(Config::default()).await;
    let ask = async |method, path: &str, body: Option<&str>| {
        let mut asked = request(method, path, Some(&world.marketing), body);
        let codings = "gzip;q=0.5, zstd".parse().expect("codings");
        asked.headers_mut().insert(header::ACCEPT_ENCODING, codings);
        let answer = world.api.clone().oneshot(asked).await.expect("the router never fails");
        let (head, body) = answer.into_parts();
        (head, body.collect().await.expect("a body").to_bytes())
    };
    let keys = json!({"keys": (1..=400).collect::<Vec<_>>()}).to_string();
    let batch = format!("{GENDER}/predictions:batchGet");
    let plain = world.post(&world.marketing, &batch, &keys).await;
    assert_eq!(plain.header("content-encoding"), "", "nobody asked for it");
    let (head, body) = ask(Method::POST, &batch, Some(&keys)).await;
    assert_eq!(head.headers["content-encoding"], "zstd");
    assert_eq!(head.headers["vary"], "accept-encoding");
    let body = zstd::decode_all(body.as_ref()).expect("zstd");
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["results"], plain.json()["results"]);
    let (head, _) = ask(Method::GET, &format!("{GENDER}/predictions/7"), None).await;
    assert!(!head.headers.contains_key("content-encoding"));
}

/// A server on a port of its own.
struct Served {
    address: SocketAddr,
    metrics: Metrics,
    _stop: DropGuard,
}

async fn serve(world: &World, config: Config) -> Served {
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..config };
    let metrics = Metrics::new();
    let dependencies = dependencies(world.store.clone(), metrics.clone(), world.lake.path());
    let stop = CancellationToken::new();
    let listener = cameo_api::bind(&config).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(cameo_api::serve(listener, config, dependencies, stop.clone()));
    Served { address, metrics, _stop: stop.drop_guard() }
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("the server accepts")
}

/// Everything until the server closes the connection.
async fn rest_of(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _reset_is_an_end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text))
        .await
        .expect("the server closes the connection");
    String::from_utf8_lossy(&text).into_owned()
}

fn head(method: &str, path: &str, key: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: cameo\r\nauthorization: Bearer {key}\r\n{more}\r\n")
}

/// Asks on a connection of its own, and how long that took.
async fn timed_get(address: SocketAddr, path: &str, key: &str) -> (String, Duration) {
    let started = Instant::now();
    let mut stream = connect(address).await;
    let asked = head("GET", path, key, "connection: close\r\n");
    stream.write_all(asked.as_bytes()).await.expect("sent");
    (rest_of(&mut stream).await, started.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_bodies_and_readers_are_cut_and_nobody_else_notices() {
    let world = published(Config::default()).await;
    let config = Config {
        // Fewer places than slow clients: none of them may hold one.
        requests_in_flight_max: 16,
        header_timeout: Duration::from_secs(3),
        body_timeout: Duration::from_secs(3),
        write_timeout: Duration::from_secs(3),
        ..Config::default()
    };
    let served = serve(&world, config).await;
    let (address, key) = (served.address, world.marketing.clone());
    let look_up = format!("{GENDER}/predictions/7");
    let batch = format!("{GENDER}/predictions:batchGet");
    let ready = Instant::now() + PATIENCE;
    while !timed_get(address, "/readyz", &key).await.0.starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < ready, "the server never became ready");
    }
    // From here on the key is known, and nobody waits for the database to be let in.
    timed_get(address, &look_up, &key).await;

    let mut slow = Vec::new();
    for client in 0..100 {
        let mut stream = connect(address).await;
        stream.write_all(format!("GET /v1/{client} HT").as_bytes()).await.expect("half a head");
        slow.push(stream);
        let mut stream = connect(address).await;
        let more = "content-type: application/json\r\ncontent-length: 1000\r\n";
        let asked = head("POST", &batch, &key, more);
        stream.write_all(asked.as_bytes()).await.expect("a head");
        stream.write_all(b"{\"keys\"").await.expect("a part of the body");
        slow.push(stream);
    }
    // Each asks for more than the system keeps for it, and reads nothing.
    let keys = json!({"keys": (1..=10_000).collect::<Vec<_>>()}).to_string();
    let more = format!("content-type: application/json\r\ncontent-length: {}\r\n", keys.len());
    for _ in 0..4 {
        let mut stream = connect(address).await;
        let asked = head("POST", &batch, &key, &more) + &keys;
        for _ in 0..8 {
            if stream.write_all(asked.as_bytes()).await.is_err() {
                break;
            }
        }
        slow.push(stream);
    }
    for _ in 0..50 {
        let (answer, took) = timed_get(address, &look_up, &key).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    let mut bodies_refused = 0;
    for stream in &mut slow {
        let answer = rest_of(stream).await;
        if answer.starts_with("HTTP/1.1 408") {
            assert!(answer.contains("\"code\":\"body_too_slow\""), "{answer}");
            bodies_refused += 1;
        }
    }
    assert_eq!(bodies_refused, 100, "each slow body is told so");
    let metrics = served.metrics.encode();
    let refused = r#"cameo_api_requests_refused_total{reason="slow_body",tenant=""} 100"#;
    assert!(metrics.contains(refused), "{metrics}");
    // A reader is cut as one that is slow, or as one that asks for nothing more where the system has kept its
    // answers after all.
    let cuts = metrics.lines().filter_map(|line| {
        let (name, count) = line.split_once("} ")?;
        name.starts_with("cameo_api_connections_cut_total{").then(|| count.parse::<u32>())
    });
    let cuts: u32 = cuts.map(|count| count.expect("a number")).sum();
    assert_eq!(cuts, 104, "every slow head and reader is cut: {metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_may_be_held_to_so_many_connections() {
    let world = World::start().await;
    let config = Config { connections_per_address_max: Some(2), ..Config::default() };
    let served = serve(&world, config).await;
    let kept = [connect(served.address).await, connect(served.address).await];
    let mut third = connect(served.address).await;
    assert_eq!(rest_of(&mut third).await, "");
    let counted = r#"cameo_api_connections_cut_total{reason="address"} 1"#;
    assert!(served.metrics.encode().contains(counted));
    drop(kept);
    let end = Instant::now() + PATIENCE;
    while !timed_get(served.address, "/livez", "").await.0.starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < end, "a connection that ended counts no more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_holds_no_more_places_than_it_may() {
    let limits = TenantLimits { requests_in_flight_max: 0, ..Config::default().tenant_limits };
    let world = published(Config { tenant_limits: limits, ..Config::default() }).await;
    let refused: Answer = world.get(&world.marketing, &format!("{GENDER}/predictions/7")).await;
    assert_eq!(refused.code(), "too_many_at_once");
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (StatusCode::TOO_MANY_REQUESTS, "1")
    );
    assert_eq!(world.get("", "/metrics").await.status, StatusCode::OK);
}
