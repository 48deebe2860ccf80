//! Where predictions come from, what a model's card says, and who changed what.

use axum::http::{Method, StatusCode, header};
use cameo_domain::DataType;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::world::{World, dependencies, request};

const GENDER: &str = "/v1/tenants/marketing/services/gender";

/// The answer once there is one: the API hears of a publication within a second.
async fn follow(world: &World, path: &str) -> serde_json::Value {
    for _ in 0..200 {
        let answer = world.get(&world.marketing, path).await;
        if answer.status == StatusCode::OK {
            return answer.json();
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{path} has no answer after ten seconds")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_leads_back_to_generation_run_release_and_the_times_it_was_served() {
    let world = World::start().await;
    world.apply_explained("marketing", "gender").await;
    let unpublished = world.get(&world.marketing, &format!("{GENDER}/predictions/3/lineage")).await;
    assert_eq!(unpublished.code(), "not_published");
    world.publish("marketing", "gender", chrono::Utc::now(), 4, 0.0).await;
    let between = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    world.publish("marketing", "gender", chrono::Utc::now(), 6, 0.0).await;

    let lineage = follow(&world, &format!("{GENDER}/predictions/5/lineage")).await;
    assert_eq!((&lineage["key"], &lineage["generation"]["rows"]), (&json!(5), &json!(6)));
    assert_eq!(lineage["generation"]["release"], lineage["release"]["release"]);
    assert_eq!(lineage["generation"]["run"], lineage["run"]["run"]);
    assert_eq!(lineage["run"]["requested_by"], "test");
    assert_eq!(
        (&lineage["run"]["attempt"], &lineage["run"]["worker"]),
        (&json!(1), &json!("test"))
    );
    assert_eq!(lineage["release"]["stage"], "production");
    assert_eq!(lineage["mirror"]["state"], "pending");
    assert_eq!(lineage["explanation"]["method"], "TREE_PATH");
    assert_eq!(lineage["served"].as_array().map(Vec::len), Some(1));
    assert!(lineage["served"][0]["until"].is_null());

    let earlier = format!("{GENDER}/predictions/3/lineage?at={between}");
    let earlier = world.get(&world.marketing, &earlier).await.json();
    assert_eq!(earlier["generation"]["rows"], 4);
    assert_eq!(earlier["served"][0]["until"], lineage["served"][0]["from"]);
    for (key, path, code) in [
        (&world.marketing, "predictions/9/lineage".to_owned(), "unknown_key"),
        (&world.marketing, format!("predictions/5/lineage?at={between}"), "unknown_key"),
        (&world.marketing, "predictions/x/lineage".to_owned(), "invalid_key"),
        (
            &world.marketing,
            "predictions/3/lineage?at=2000-01-01T00:00:00Z".to_owned(),
            "not_published",
        ),
        (&world.crm, "predictions/3/lineage".to_owned(), "not_found"),
    ] {
        let answer = world.get(key, &format!("{GENDER}/{path}")).await;
        assert_eq!(answer.code(), code, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_json_or_a_page_with_the_figures_of_what_is_served() {
    let world = World::start().await;
    world.apply_explained("marketing", "gender").await;
    let card = format!("{GENDER}/card");
    let before = world.get(&world.marketing, &card).await.json();
    assert!(before["current"].is_null() && before["card"].is_null(), "{before}");
    world.publish("marketing", "gender", chrono::Utc::now(), 4, 0.0).await;
    let json = world.get(&world.marketing, &card).await;
    assert_eq!(json.header("vary"), "accept");
    let json = json.json();
    assert_eq!((&json["stage"], &json["current"]["rows"]), (&json!("production"), &json!(4)));
    assert_eq!(json["current"]["quarantined_share"], 0.0);
    assert_eq!(json["current"]["importance"][0]["feature"], "visits");
    let mut asked = request(Method::GET, &card, Some(&world.marketing), None);
    asked.headers_mut().insert(header::ACCEPT, "text/markdown".parse().expect("a header"));
    let page = world.send(asked).await;
    assert_eq!(page.header("content-type"), "text/markdown; charset=utf-8");
    assert!(page.body.starts_with("# marketing/gender\n"), "{}", page.body);
    assert!(page.body.contains("| generation | 1, 4 rows |"), "{}", page.body);
    assert!(page.body.contains("| `visits` | 0.7500 |"), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_of_a_tenant_tells_who_acted_and_pages_do_not_overlap() {
    let world = World::start().await;
    world.apply("marketing", "gender", DataType::Int).await;
    world.apply("crm", "clv", DataType::Int).await;
    world.publish("marketing", "gender", chrono::Utc::now(), 4, 0.0).await;
    world.publish("marketing", "gender", chrono::Utc::now(), 6, 0.0).await;
    world.post(&world.marketing, &format!("{GENDER}:rollback"), "{}").await;

    let trail = "/v1/tenants/marketing/audit";
    let first = world.get(&world.marketing, &format!("{trail}?limit=1")).await.json();
    let rollback = &first["entries"][0];
    assert_eq!(
        (&rollback["action"], &rollback["subject"]),
        (&json!("generation.rolled_back"), &json!("1"))
    );
    assert_eq!(
        (&rollback["actor"], &rollback["origin"]),
        (&json!(format!("key:{}", &world.marketing[6..14])), &json!("api"))
    );
    let mut seen = vec![rollback["entry"].as_i64().expect("a number")];
    let mut next = first["next_before"].as_i64();
    while let Some(before) = next {
        let page = world.get(&world.marketing, &format!("{trail}?limit=3&before={before}")).await;
        let page = page.json();
        for entry in page["entries"].as_array().expect("entries") {
            assert!(entry["service"].is_null() || entry["service"] == "gender", "{entry}");
            seen.push(entry["entry"].as_i64().expect("a number"));
        }
        next = page["next_before"].as_i64();
    }
    assert!(seen.len() >= 13 && seen.is_sorted_by(|newer, older| newer > older), "{seen:?}");
    let none = world.get(&world.marketing, &format!("{trail}?since=2999-01-01T00:00:00Z")).await;
    assert_eq!(none.json()["entries"], json!([]));
    for wrong in ["limit=0", "limit=201", "since=yesterday", "service=CRM", "page=2"] {
        let answer = world.get(&world.marketing, &format!("{trail}?{wrong}")).await;
        assert_eq!(answer.code(), "invalid_request", "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_over_a_connection_is_from_its_address() {
    let world = World::start().await;
    world.apply("marketing", "gender", DataType::Int).await;
    let config = cameo_api::Config {
        listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
        ..cameo_api::Config::default()
    };
    let listener = cameo_api::bind(&config).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let (store, metrics) = (world.store.clone(), world.metrics.clone());
    let dependencies = dependencies(store, metrics, world.lake.path());
    let served = tokio::spawn(cameo_api::serve(listener, config, dependencies, stop.clone()));
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    let ask = format!(
        "POST {GENDER}/runs HTTP/1.1\r\nHost: cameo\r\nAuthorization: Bearer {}\r\n\
         X-Forwarded-For: 10.9.9.9\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        world.marketing
    );
    connection.write_all(ask.as_bytes()).await.expect("the request is sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let trail = world.get(&world.marketing, "/v1/tenants/marketing/audit?limit=1").await.json();
    assert_eq!(trail["entries"][0]["action"], "run.requested");
    assert_eq!(trail["entries"][0]["origin"], "api 127.0.0.1");
    stop.cancel();
    served.await.expect("the server ends");
}
