//! Traces as a collector receives them. One test only: telemetry is started once per process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use cameo_runtime::telemetry::{self, LogFormat, TelemetryConfig, TelemetryError};

const PATIENCE: Duration = Duration::from_secs(20);

/// One request that the collector received: its first line, headers and body.
struct Request {
    head: String,
    body: Vec<u8>,
}

/// A collector that accepts everything, on a free port.
fn collector() -> (String, mpsc::Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().expect("an address"));
    let (received, requests) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n")
                && reader.read_line(&mut head).is_ok_and(|read| read > 0)
            {}
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
                })
                .unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("the whole body");
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            reader.get_mut().write_all(answer).expect("the exporter reads");
            let _ = received.send(Request { head, body });
        }
    });
    (endpoint, requests)
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn the_last_spans_reach_the_collector_when_the_guard_is_dropped() {
    let (endpoint, requests) = collector();
    let config = TelemetryConfig {
        format: LogFormat::Json,
        filter: "warn".to_owned(),
        traces_endpoint: Some(endpoint),
    };
    let guard = telemetry::init("cameo-test", config.clone()).expect("telemetry starts");
    assert!(matches!(telemetry::init("cameo-test", config), Err(TelemetryError::StartedTwice)));

    let trace = [
        0x4b_u8, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e,
        0x47, 0x36,
    ];
    let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let span = tracing::info_span!("run_of_gender", tenant = "marketing");
    telemetry::continue_trace(&span, |name| (name == "traceparent").then_some(sent));
    let handed_on = span.in_scope(telemetry::traceparent).expect("traces are on");
    assert!(handed_on.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{handed_on}");
    assert_ne!(handed_on, sent, "the span has an id of its own");
    drop(span);
    drop(guard);

    let request = requests.recv_timeout(PATIENCE).expect("the collector receives a request");
    assert!(request.head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", request.head);
    assert!(
        request.head.to_ascii_lowercase().contains("content-type: application/x-protobuf"),
        "{}",
        request.head
    );
    for part in ["cameo-test", "run_of_gender", "marketing"] {
        assert!(contains(&request.body, part.as_bytes()), "{part} is in the body");
    }
    assert!(contains(&request.body, &trace), "the span belongs to the caller's trace");
}
