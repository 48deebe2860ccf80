//! Compressing answers, where the caller takes it and it is worth its time: lists and batch look-ups of some size.
//! A single look-up never is: it fits one packet as it is.

use std::io::{self, Write};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::StreamExt;

/// Smallest answer that is compressed.
const BYTES_MIN: u64 = 4 << 10;
/// Largest answer that is compressed in one piece; what is larger is a stream, which compresses by itself.
const BYTES_MAX: u64 = 64 << 20;
/// From here on compressing takes milliseconds, in which the thread would serve nobody else.
const BLOCKING_BYTES: u64 = 256 << 10;
/// Fast before small.
const ZSTD_LEVEL: i32 = 1;

/// How an answer may be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    Gzip,
    Zstd,
}

impl Accepted {
    /// What the caller takes; zstd is the faster one, where it takes both.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut accepted = None;
        for value in headers.get_all(header::ACCEPT_ENCODING) {
            for coding in value.to_str().ok()?.split(',') {
                let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
                let weight = weight.trim().trim_start_matches("q=").trim();
                let is_refused = weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0);
                match name.trim() {
                    "zstd" if !is_refused => accepted = Some(Self::Zstd),
                    "gzip" if !is_refused => accepted = accepted.or(Some(Self::Gzip)),
                    _ => {}
                }
            }
        }
        accepted
    }

    fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }

    fn compress(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL),
            Self::Gzip => {
                let room = Vec::with_capacity(bytes.len() / 4);
                let mut encoder = flate2::write::GzEncoder::new(room, flate2::Compression::fast());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
        }
    }
}

/// Compresses the answer where that is worth it.
pub(crate) async fn compress(accepted: Accepted, response: Response) -> Response {
    let Some(bytes) = worthwhile(&response) else { return response };
    let (mut parts, body) = response.into_parts();
    let Some(body) = whole(body).await else {
        // The body of such an answer is in memory: there is nothing that could fail.
        tracing::error!("an answer ended before it was complete");
        parts.status = StatusCode::INTERNAL_SERVER_ERROR;
        return Response::from_parts(parts, Body::empty());
    };
    let (body, compressed) = if bytes < BLOCKING_BYTES {
        let compressed = accepted.compress(&body);
        (body, compressed.ok())
    } else {
        let kept = body.clone();
        let compressing = tokio::task::spawn_blocking(move || accepted.compress(&body));
        (kept, compressing.await.ok().and_then(Result::ok))
    };
    parts.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let Some(compressed) = compressed.filter(|compressed| compressed.len() < body.len()) else {
        return Response::from_parts(parts, Body::from(body));
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, accepted.name());
    Response::from_parts(parts, Body::from(compressed))
}

/// The size of an answer that is worth compressing.
fn worthwhile(response: &Response) -> Option<u64> {
    let headers = response.headers();
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let bytes = response.body().size_hint().exact()?;
    // An answer that can be asked for by its tag is a single look-up, or small.
    (response.status() == StatusCode::OK
        && is_json
        && (BYTES_MIN..=BYTES_MAX).contains(&bytes)
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::ETAG))
    .then_some(bytes)
}

async fn whole(body: Body) -> Option<axum::body::Bytes> {
    let mut frames = body.into_data_stream();
    let first = frames.next().await?.ok()?;
    let mut next = frames.next().await;
    if next.is_none() {
        return Some(first);
    }
    let mut bytes = Vec::from(first);
    while let Some(frame) = next {
        bytes.extend_from_slice(&frame.ok()?);
        next = frames.next().await;
    }
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(text: &'static str) -> Option<Accepted> {
        let headers = [(header::ACCEPT_ENCODING, HeaderValue::from_static(text))];
        Accepted::of(&HeaderMap::from_iter(headers))
    }

    #[test]
    fn what_the_caller_takes_is_read_with_its_weights() {
        assert_eq!(accepted("gzip, deflate, br, zstd"), Some(Accepted::Zstd));
        assert_eq!(accepted("zstd;q=0, gzip;q=0.5"), Some(Accepted::Gzip));
        assert_eq!(accepted("identity, *;q=0"), None);
        assert_eq!(accepted("br"), None);
    }
}
