//! When a request is sent again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cameo_client::{Client, Code, Error, Format};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const TENANTS: &str = r#"{"tenants":[{"tenant":"crm"}]}"#;
const ROLLBACK: &str = r#"{"generation":1,"previous":2,"release":null}"#;

/// A server that gives these answers one after the other, and closes the connection without one for an empty text.
async fn server(answers: Vec<String>) -> (Client, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            count.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let client = Client::builder(&url, "cameo_1a2b3c4d").deadline(Duration::from_secs(5)).build();
    (client.expect("a client"), asked)
}

fn answer(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
}

fn problem(status: u16, code: &str, retry_after: u32) -> String {
    let body = format!(
        r#"{{"status":{status},"code":"{code}","title":"t","detail":"d","request_id":"r-1"}}"#
    );
    answer(status, &format!("retry-after: {retry_after}\r\n"), &body)
}

#[tokio::test]
async fn a_refused_request_is_sent_again_after_the_time_that_the_server_says() {
    let refused = [problem(429, "rate_limited", 0), problem(503, "unavailable", 0), String::new()];
    let answers = refused.into_iter().chain([answer(200, "", TENANTS)]).collect();
    let (client, asked) = server(answers).await;
    assert_eq!(client.tenants().await.expect("the fourth answer"), ["crm"]);
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    let (client, _) = server(vec![problem(503, "overloaded", 1), answer(200, "", TENANTS)]).await;
    let began = Instant::now();
    client.tenants().await.expect("the second answer");
    assert!(began.elapsed() >= Duration::from_secs(1), "it came back too early");
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_again() {
    let refused = problem(503, "overloaded", 0);
    let (client, _) = server(vec![refused, answer(200, "", ROLLBACK)]).await;
    let clv = client.tenant("crm").service("clv");
    assert_eq!(clv.rollback(None).await.expect("refused before it began").generation, 1);
    for unclear in [problem(503, "unavailable", 0), String::new()] {
        let (client, asked) = server(vec![unclear, answer(200, "", ROLLBACK)]).await;
        let clv = client.tenant("crm").service("clv");
        clv.rollback(None).await.expect_err("nobody knows whether it was done");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn the_deadline_and_other_servers_end_the_waiting() {
    let (client, asked) = server(vec![problem(503, "overloaded", 60)]).await;
    let began = Instant::now();
    let error = client.tenants().await.expect_err("a minute is too long");
    assert_eq!(error.code(), Some(&Code::Overloaded));
    assert!(began.elapsed() < Duration::from_secs(5) && asked.load(Ordering::SeqCst) == 1);
    let (client, _) = server(vec![answer(404, "", "<html>")]).await;
    assert!(matches!(client.tenants().await, Err(Error::NotCameo { status: 404 })));
    let (client, _) = server(vec![answer(200, "", "<html>")]).await;
    assert!(matches!(client.tenants().await, Err(Error::NotUnderstood { .. })));
    for wrong in ["cameo.example", "ftp://cameo.example"] {
        let made = Client::new(wrong, "cameo_1a2b3c4d");
        assert!(matches!(made, Err(Error::Configuration(_))), "{wrong}");
    }
}

#[tokio::test]
async fn the_members_of_a_segment_arrive_in_parts() {
    let refused = problem(503, "overloaded", 0);
    let head = "cameo-materialisation: 4\r\ncameo-members: 2\r\n";
    let members = "{\"key\":17}\n{\"key\":18}\n";
    let (client, _) = server(vec![refused, answer(200, head, members)]).await;
    let export = client.tenant("crm").members("loyal", Format::Ndjson).await;
    let mut export = export.expect("the second answer");
    assert_eq!((export.materialisation, export.members), (Some(4), Some(2)));
    let mut arrived = Vec::new();
    while let Some(part) = export.chunk().await.expect("the next part") {
        arrived.extend_from_slice(&part);
    }
    assert_eq!(arrived, members.as_bytes());
    let broken = answer(200, head, members).replace(members, "{\"key\":17}\n");
    let (client, _) = server(vec![broken]).await;
    let export = client.tenant("crm").members("loyal", Format::Ndjson).await;
    let mut export = export.expect("the head");
    let mut last = export.chunk().await;
    while let Ok(Some(_)) = last {
        last = export.chunk().await;
    }
    assert!(matches!(last, Err(Error::Unreachable { .. })), "it broke off: {last:?}");
}
