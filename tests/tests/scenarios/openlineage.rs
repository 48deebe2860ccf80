//! What a lineage receiver is told of each attempt, and that runs do not wait for it.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use cameo_domain::RunState;
use cameo_tests::{Bundle, World};
use cameo_worker::{Config, Receiver};
use serde_json::Value;
use tokio::net::TcpListener;

type Events = Arc<Mutex<Vec<Value>>>;

async fn take(State(events): State<Events>, Json(event): Json<Value>) -> StatusCode {
    events.lock().expect("no panic").push(event);
    StatusCode::CREATED
}

async fn catalogue() -> (String, Events) {
    let events = Events::default();
    let router = Router::new().route("/lineage", post(take)).with_state(Arc::clone(&events));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}/lineage"), events)
}

fn telling(world: &World, url: &str) -> Config {
    cameo_runtime::tls::install_provider();
    let receiver = Receiver::new(url, None, "cameo").expect("a receiver");
    Config { openlineage: Some(receiver), ..world.worker_config() }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_starts_and_ends_with_what_it_reads_and_writes() {
    let world = World::start().await;
    world.customers("marketing", 50, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let (url, events) = catalogue().await;
    let worker = world.worker(telling(&world, &url)).await;
    let published = gender.request("2024-03-01T18:00:00Z").await;
    world.idle().await;
    let broken = Bundle::new("marketing", "gender").features("SELECT user_id FROM shop.customers");
    world.apply(&broken).await;
    let halted = gender.request("2024-03-02T18:00:00Z").await;
    world.idle().await;
    worker.stop().await;

    let events = events.lock().expect("no panic").clone();
    let kinds: Vec<_> = events.iter().map(|event| event["eventType"].clone()).collect();
    assert_eq!(kinds, ["START", "COMPLETE", "START", "FAIL"], "{events:#?}");
    assert_eq!(events[0]["run"]["runId"], events[1]["run"]["runId"]);
    assert_ne!(events[1]["run"]["runId"], events[2]["run"]["runId"]);
    let input = &events[0]["inputs"][0];
    assert_eq!(input["name"], "marketing.shop.customers");
    assert_eq!(input["inputFacets"]["inputStatistics"]["rowCount"], 50);
    let output = &events[1]["outputs"][0];
    assert_eq!(output["name"], "tenant_marketing.gender");
    let generation = gender.run(published).await.generation.expect("a generation");
    assert_eq!(output["facets"]["version"]["datasetVersion"], generation.to_string());
    assert_eq!(output["outputFacets"]["outputStatistics"]["rowCount"], 50);
    assert!(output["outputFacets"]["outputStatistics"]["size"].as_u64() > Some(0), "{output}");
    assert_eq!(output["facets"]["schema"]["fields"][0]["name"], "user_id");
    let reason = gender.run(halted).await.reason.expect("a reason").to_string();
    assert_eq!(events[3]["run"]["facets"]["errorMessage"]["message"], reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_dead_neither_fails_a_run_nor_delays_it() {
    let world = World::start().await;
    world.customers("marketing", 50, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    // It accepts connections and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let worker = world.worker(telling(&world, &url)).await;
    for due_at in ["2024-03-01T18:00:00Z", "2024-03-02T18:00:00Z"] {
        let run = gender.request(due_at).await;
        let run = gender.run_when("published", run, |run| run.state.is_finished()).await;
        assert_eq!(run.state, RunState::Published);
        let took = run.finished_at.zip(run.started_at).map(|(end, start)| end - start);
        let timeout = cameo_worker::RECEIVER_TIMEOUT.as_secs_f64();
        assert!(took.is_some_and(|took| took.as_seconds_f64() < timeout), "{took:?}");
    }
    drop(listener);
    worker.stop().await;
    world.assert_sound().await;
}
