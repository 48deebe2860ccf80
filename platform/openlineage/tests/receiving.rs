//! Events as a receiver gets them, over HTTP.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use cameo_domain::{Column, DataType, Epoch, PredictionSchema, RunId};
use cameo_openlineage::{
    Attempt, Counters, Emitter, Ending, Input, Output, Phase, Receiver, RunEvent,
    emitter::QUEUE_EVENTS_MAX, event, event::PRODUCER,
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc};

/// A receiver that answers the first requests with an error.
#[derive(Clone)]
struct Catalogue {
    failures: Arc<AtomicU32>,
    status: StatusCode,
    received: mpsc::UnboundedSender<(HeaderMap, Value)>,
}

async fn take(State(catalogue): State<Catalogue>, headers: HeaderMap, body: String) -> StatusCode {
    let fails = |left: u32| left.checked_sub(1);
    if catalogue.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
        return catalogue.status;
    }
    let event = serde_json::from_str(&body).expect("an event is JSON");
    catalogue.received.send((headers, event)).expect("the test listens");
    StatusCode::CREATED
}

/// Listens; gives its URL and what it receives.
async fn catalogue(
    failures: u32,
    status: StatusCode,
) -> (String, mpsc::UnboundedReceiver<(HeaderMap, Value)>) {
    let (received, events) = mpsc::unbounded_channel();
    let state = Catalogue { failures: Arc::new(AtomicU32::new(failures)), status, received };
    let router = Router::new().route("/api/v1/lineage", post(take)).with_state(state);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}/api/v1/lineage"), events)
}

fn start(url: &str) -> (Emitter, cameo_openlineage::Sending, Counters) {
    cameo_runtime::tls::install_provider();
    let receiver = Receiver::new(url, Some("token".to_owned()), "cameo").expect("a receiver");
    let counters = Counters::default();
    let (emitter, sending) = Emitter::start(receiver, counters.clone()).expect("a client");
    (emitter, sending, counters)
}

fn attempt() -> Attempt {
    Attempt {
        namespace: "cameo".to_owned(),
        path: "crm/clv".parse().expect("a path"),
        run: RunId(12),
        epoch: Epoch(1),
        due_at: "2026-03-01T18:00:00Z".parse().expect("an instant"),
        sql: Some("SELECT customer_id FROM cdnow.orders".to_owned()),
        git_commit: Some("0a1b2c3".to_owned()),
    }
}

fn of(phase: &Phase) -> RunEvent {
    let input =
        Input { name: "cdnow.orders".to_owned(), rows: Some(69_659), bytes: Some(1_000_000) };
    event(&attempt(), phase, &[input], "2026-03-01T18:00:01Z".parse().expect("an instant"))
}

fn complete() -> Phase {
    let column = |name: &str, data_type| Column { name: name.parse().expect("a name"), data_type };
    let columns = vec![column("customer_id", DataType::Int), column("clv", DataType::Float64)];
    let schema = PredictionSchema::new(columns).expect("a schema");
    Phase::End(Ending::Complete(Box::new(Output {
        generation: 7,
        schema,
        rows: 23_570,
        bytes: Some(2_000_000),
    })))
}

/// What every event of the specification has, and what each of its facets has.
fn assert_is_a_run_event(event: &Value) {
    for member in ["eventType", "eventTime", "producer", "schemaURL"] {
        assert!(event[member].is_string(), "{member}: {event}");
    }
    let id = event["run"]["runId"].as_str().expect("an id");
    assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
    assert!(event["job"]["namespace"].is_string() && event["job"]["name"].is_string());
    let datasets = ["inputs", "outputs"].map(|side| event[side].as_array().expect("a list"));
    let mut facets = vec![&event["run"]["facets"], &event["job"]["facets"]];
    for dataset in datasets.into_iter().flatten() {
        assert!(dataset["namespace"].is_string() && dataset["name"].is_string(), "{dataset}");
        let kinds = ["facets", "inputFacets", "outputFacets"];
        facets.extend(kinds.iter().filter_map(|kind| dataset.get(kind)));
    }
    for facet in facets.iter().flat_map(|facets| facets.as_object().expect("facets").values()) {
        assert!(facet["_producer"].as_str().is_some_and(|producer| producer.contains(':')));
        let schema = facet["_schemaURL"].as_str().expect("a schema");
        assert!(schema.starts_with("https://openlineage.io/spec/facets/"), "{schema}");
    }
}

#[tokio::test]
async fn start_and_end_arrive_in_order_and_in_the_published_shape() {
    let (url, mut received) = catalogue(0, StatusCode::CREATED).await;
    let (emitter, sending, counters) = start(&url);
    for phase in [
        Phase::Start,
        complete(),
        Phase::Start,
        Phase::End(Ending::Fail("CAM0301: no such column".to_owned())),
        Phase::End(Ending::Abort),
    ] {
        emitter.emit(of(&phase));
    }
    drop(emitter);
    sending.flush().await;
    assert_eq!((counters.sent.get(), counters.dropped.get()), (5, 0));
    let mut events = Vec::new();
    while let Ok((headers, mut event)) = received.try_recv() {
        assert_eq!(headers["authorization"], "Bearer token");
        assert_eq!(headers["content-type"], "application/json");
        assert_is_a_run_event(&event);
        event["run"]["runId"] = "[id]".into();
        event["run"]["facets"]["parent"]["run"]["runId"] = "[id]".into();
        events.push(event);
    }
    let shown = serde_json::to_string_pretty(&events[..2]).expect("JSON");
    insta::assert_snapshot!("start-and-complete", shown.replace(PRODUCER, "[producer]"));
    let kinds: Vec<_> = events.iter().map(|event| event["eventType"].clone()).collect();
    assert_eq!(kinds, ["START", "COMPLETE", "START", "FAIL", "ABORT"]);
    let error = &events[3]["run"]["facets"]["errorMessage"];
    assert_eq!(error["message"], "CAM0301: no such column");
}

#[tokio::test]
async fn an_event_is_sent_again_while_that_may_help() {
    let (url, mut received) = catalogue(2, StatusCode::SERVICE_UNAVAILABLE).await;
    let (emitter, sending, counters) = start(&url);
    emitter.emit(of(&Phase::Start));
    drop(emitter);
    sending.flush().await;
    assert_eq!((counters.sent.get(), counters.dropped.get()), (1, 0));
    assert!(received.try_recv().is_ok());
}

#[tokio::test]
async fn what_the_receiver_refuses_is_dropped_and_the_next_event_sent() {
    let (url, mut received) = catalogue(1, StatusCode::UNPROCESSABLE_ENTITY).await;
    let (emitter, sending, counters) = start(&url);
    emitter.emit(of(&Phase::Start));
    emitter.emit(of(&complete()));
    drop(emitter);
    sending.flush().await;
    assert_eq!((counters.sent.get(), counters.dropped.get()), (1, 1));
    assert_eq!(received.try_recv().expect("one event").1["eventType"], "COMPLETE");
}

#[tokio::test]
async fn a_receiver_that_never_answers_delays_nobody_and_what_does_not_fit_is_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let (emitter, sending, counters) = start(&url);
    let started = Instant::now();
    for _ in 0..QUEUE_EVENTS_MAX + 50 {
        emitter.emit(of(&Phase::Start));
    }
    assert!(started.elapsed() < Duration::from_secs(1), "emitting took {:?}", started.elapsed());
    // One may have left the queue already, to be sent.
    assert!((49..=50).contains(&counters.dropped.get()), "{}", counters.dropped.get());
    assert_eq!(counters.sent.get(), 0);
    // Whoever stops does not wait for the receiver either; here not at all.
    drop((emitter, sending));
}
