//! Messages to a real receiver, whose check of the signature shares no code with what signs.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cameo_webhook::{Address, Message, Reach, Refusal, Secret, Sender};
use sha2::{Digest, Sha256};

type Received = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// HMAC-SHA-256 as RFC 2104 writes it down.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64, "longer keys are hashed first");
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

/// Whether one of the signatures was made with the secret that `text` reveals.
fn is_signed(headers: &HeaderMap, body: &[u8], text: &str) -> bool {
    let header = |name: &str| headers[name].to_str().expect("text");
    let secret = STANDARD.decode(text.strip_prefix("whsec_").expect("a scheme")).expect("base64");
    let mut signed =
        format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).into_bytes();
    signed.extend_from_slice(body);
    let expected = format!("v1,{}", STANDARD.encode(hmac(&secret, &signed)));
    header("webhook-signature").split(' ').any(|signature| signature == expected)
}

/// A receiver, and where it listens.
async fn receiver() -> (String, Received) {
    cameo_runtime::tls::install_provider();
    let received = Received::default();
    let keep = received.clone();
    let accept = move |headers: HeaderMap, body: Bytes| {
        keep.lock().expect("no panic").push((headers, body));
        async { StatusCode::NO_CONTENT }
    };
    let endless = || async {
        let chunks =
            std::iter::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 4096])));
        axum::body::Body::from_stream(futures_util::stream::iter(chunks))
    };
    let moved = || async {
        (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/accepts")]).into_response()
    };
    let router = Router::new()
        .route("/accepts", post(accept))
        .route("/endless", post(endless))
        .route("/moved", post(moved))
        .route("/gone", post(|| async { StatusCode::GONE }))
        .route("/fails", post(|| async { StatusCode::BAD_GATEWAY }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, received)
}

fn message(secrets: &[&Secret]) -> Message {
    Message {
        id: "msg_1".to_owned(),
        body: r#"{"specversion":"1.0"}"#.to_owned(),
        secrets: secrets.iter().map(|secret| (*secret).clone()).collect(),
    }
}

#[tokio::test]
async fn a_receiver_can_check_who_sent_with_either_secret_while_one_is_replaced() {
    let (address, received) = receiver().await;
    let sender = Sender::new(Reach::Anywhere).expect("a sender");
    let (old, new) = (Secret::generate().expect("a secret"), Secret::generate().expect("a secret"));
    let stranger = Secret::generate().expect("a secret");
    let message = message(&[&new, &old]);
    let status = sender.send(&format!("{address}/accepts"), &message, 1_772_332_200).await;
    assert_eq!(status.expect("accepted").as_u16(), 204);
    let received = received.lock().expect("no panic");
    let [(headers, body)] = received.as_slice() else { panic!("one message: {received:?}") };
    assert_eq!(headers["webhook-id"], "msg_1");
    assert_eq!(headers["webhook-timestamp"], "1772332200");
    assert_eq!(headers[header::CONTENT_TYPE], "application/cloudevents+json");
    assert_eq!(body.as_ref(), message.body.as_bytes());
    assert!(is_signed(headers, body, &old.reveal()) && is_signed(headers, body, &new.reveal()));
    assert!(!is_signed(headers, body, &stranger.reveal()));
    assert!(!is_signed(headers, b"another body", &new.reveal()));
}

#[tokio::test]
async fn what_a_receiver_answers_is_told_apart_and_never_followed_or_read() {
    let (address, received) = receiver().await;
    let sender = Sender::new(Reach::Anywhere).expect("a sender");
    let secret = Secret::generate().expect("a secret");
    let message = message(&[&secret]);
    let send = async |path: &str| sender.send(&format!("{address}{path}"), &message, 0).await;
    assert!(matches!(send("/gone").await, Err(Refusal::Gone)));
    let failed = send("/fails").await.expect_err("a failure");
    assert_eq!(failed.status(), Some(502));
    let moved = send("/moved").await.expect_err("no success");
    assert_eq!(moved.status(), Some(307));
    assert!(received.lock().expect("no panic").is_empty(), "the redirect was followed");
    let started = Instant::now();
    assert!(send("/endless").await.is_ok());
    assert!(started.elapsed() < Duration::from_secs(5), "the endless answer was read");
    let nobody = sender.send("http://127.0.0.1:9/", &message, 0).await;
    assert!(matches!(nobody, Err(Refusal::Connection(_))), "{nobody:?}");
}

#[tokio::test]
async fn a_name_that_leads_into_the_private_network_is_not_connected_to() {
    cameo_runtime::tls::install_provider();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let sender = Sender::new(Reach::Public).expect("a sender");
    let secret = Secret::generate().expect("a secret");
    let url = format!("https://localhost:{port}/");
    assert!(Address::parse(&url, Reach::Public).is_ok(), "a name is not resolved here");
    let refused = sender.send(&url, &message(&[&secret]), 0).await;
    assert!(matches!(refused, Err(Refusal::Unreachable(_))), "{refused:?}");
    for url in [format!("http://localhost:{port}/"), format!("https://127.0.0.1:{port}/")] {
        let refused = sender.send(&url, &message(&[&secret]), 0).await;
        assert!(matches!(refused, Err(Refusal::Address(_))), "{refused:?}");
    }
    let connected = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
    assert!(connected.is_err(), "somebody connected");
}
