//! Runs, the document, and how the process starts, serves slow clients, and ends.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use cameo_api::Config;
use cameo_domain::DataType;
use cameo_runtime::metrics::Metrics;
use futures_util::FutureExt as _;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::world::{World, dependencies, request};

const RUNS: &str = "/v1/tenants/marketing/services/gender/runs";

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_with_the_same_idempotency_key_starts_no_second_run() {
    let world = World::start().await;
    world.apply("marketing", "gender", DataType::Int).await;
    let ask = |name: &'static str| {
        let mut ask = request(Method::POST, RUNS, Some(&world.marketing), None);
        ask.headers_mut().insert("idempotency-key", name.parse().expect("a header"));
        world.send(ask)
    };
    let first = ask("nightly-1").await;
    assert_eq!(first.status, StatusCode::ACCEPTED, "{first:?}");
    let again = ask("nightly-1").await;
    assert_eq!(first.json(), again.json());
    let location = first.header("location").to_owned();
    let run = world.get(&world.marketing, &location).await.json();
    assert_eq!((&run["state"], &run["trigger"]), (&json!("queued"), &json!("manual")));
    let prefix = &world.marketing[6..14];
    assert_eq!(run["requested_by"], format!("key:{prefix}"), "one key of several");
    ask("nightly-2").await;
    world.post(&world.marketing, RUNS, "").await;

    let page = world.get(&world.marketing, &format!("{RUNS}?limit=2&state=queued")).await.json();
    assert_eq!(page["runs"].as_array().map(Vec::len), Some(2));
    let cursor = page["next_cursor"].as_str().expect("another page");
    let rest = world.get(&world.marketing, &format!("{RUNS}?limit=2&cursor={cursor}")).await.json();
    assert_eq!(rest["runs"][0]["run"], run["run"]);
    assert!(rest["next_cursor"].is_null());
    let all = world.get(&world.marketing, "/v1/tenants/marketing/runs").await.json();
    assert_eq!(all["runs"].as_array().map(Vec::len), Some(3));
    let service = world.get(&world.marketing, "/v1/tenants/marketing/services").await.json();
    assert!(service["services"][0]["generation"].is_null());
    assert_eq!(service["services"][0]["columns"][0], json!({"name": "customer", "type": "INT"}));
}

#[test]
fn the_document_describes_every_route_with_its_answers() {
    let document = serde_json::to_value(cameo_api::document()).expect("a document");
    assert_eq!(document["openapi"], "3.1.0");
    let mut described = serde_json::Map::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let answers = operation["responses"].as_object().expect("responses");
            let statuses: Vec<&String> = answers.keys().collect();
            described.insert(format!("{} {path}", method.to_uppercase()), json!(statuses));
            assert!(operation["operationId"].is_string() && operation["summary"].is_string());
            for (status, answer) in answers.iter().filter(|(status, _)| status.as_str() >= "400") {
                let media = &answer["content"]["application/problem+json"];
                assert!(media["examples"].is_object(), "{path} {status} has no example");
            }
        }
    }
    insta::assert_json_snapshot!(described);
    let text = document.to_string();
    for (at, _) in text.match_indices("#/components/") {
        let pointer = text[at + 1..].split('"').next().unwrap_or_default();
        assert!(document.pointer(pointer).is_some(), "nothing is at {pointer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_page_needs_nothing_from_elsewhere() {
    let world = World::start().await;
    let page = world.get("", "/docs").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert!(!page.body.contains("http://") && !page.body.contains("https://"));
    let metrics = world.get("", "/metrics").await;
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    assert!(
        metrics.body.contains("route=\"/docs\",method=\"GET\",status=\"2xx\""),
        "{}",
        metrics.body
    );
    let mut named = request(Method::GET, "/livez", None, None);
    named.headers_mut().insert("x-request-id", "a-caller's id".parse().expect("a header"));
    assert_ne!(world.send(named).await.header("x-request-id"), "a-caller's id");
    let mut named = request(Method::GET, "/livez", None, None);
    named.headers_mut().insert("x-request-id", "caller-1".parse().expect("a header"));
    assert_eq!(world.send(named).await.header("x-request-id"), "caller-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_client_leaves_is_no_longer_counted_as_in_flight() {
    let world = World::start().await;
    let left = world.get(&world.marketing, "/v1/tenants/marketing/runs").now_or_never();
    assert!(left.is_none(), "it waits for the database");
    let metrics = world.get("", "/metrics").await;
    let alone = metrics.body.contains("\ncameo_api_requests_in_flight 1\n");
    assert!(alone, "the one that asks: {}", metrics.body);
}

/// Reads until the server closes the connection.
async fn rest_of(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end as well.
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut text))
        .await
        .expect("the server closes the connection");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_cuts_slow_clients_and_drains_before_it_ends() {
    let world = World::start().await;
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        header_timeout: Duration::from_millis(300),
        drain_notice: Duration::from_millis(400),
        ..Config::default()
    };
    let dependencies = dependencies(world.store.clone(), Metrics::new(), world.lake.path());
    let shutdown = CancellationToken::new();
    let listener = cameo_api::bind(&config).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let served = tokio::spawn(cameo_api::serve(listener, config, dependencies, shutdown.clone()));
    let get = |path: &'static str| async move {
        let mut stream = TcpStream::connect(address).await.expect("the server accepts");
        let head = format!("GET {path} HTTP/1.1\r\nhost: cameo\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("a request");
        rest_of(&mut stream).await
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while !get("/readyz").await.starts_with("HTTP/1.1 200") {
        assert!(tokio::time::Instant::now() < deadline, "the server never became ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let mut slow = TcpStream::connect(address).await.expect("the server accepts");
    slow.write_all(b"GET /livez HTTP/1.1\r\nho").await.expect("half a head");
    rest_of(&mut slow).await;
    let mut silent = TcpStream::connect(address).await.expect("the server accepts");
    assert_eq!(rest_of(&mut silent).await, "", "a client that says nothing is cut as well");

    shutdown.cancel();
    let mut seen_draining = false;
    while !seen_draining {
        let answer = get("/readyz").await;
        seen_draining = answer.starts_with("HTTP/1.1 503") && answer.contains("about to end");
        assert!(!served.is_finished(), "the server ended without notice");
    }
    tokio::time::timeout(Duration::from_secs(5), served).await.expect("it ends").expect("no panic");
    assert!(TcpStream::connect(address).await.is_err(), "the port is free again");
}
