//! Receiving the body of a request: in bounded time, memory and, where it is compressed, size.
//!
//! A body arrives without a place among the requests in flight (see [`crate::limits`]), because its client decides
//! how long that takes. The route's limit holds for what is received and again for what comes out of
//! it, and what comes out may not be too many times as much: a bomb costs its sender more than the server.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    RequestExt,
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{StatusCode, header},
};
use futures_util::{StreamExt, stream};
use http_body_util::LengthLimitError;

use crate::{
    app::App,
    limits::{Held, Place},
    metrics::Refusal,
    problem::{Code, Problem},
};

/// Most bytes that may come out of one that was received, from [`RATIO_FREE_BYTES`] on. JSON of keys becomes a
/// tenth or less; a bomb of zeros a thousandth.
const RATIO_MAX: usize = 100;
/// What may come out of however little.
const RATIO_FREE_BYTES: usize = 64 << 10;
/// What a large body has to bring per second, after its first moments.
const STEADY_BYTES_PER_SECOND: usize = 256 << 10;
/// What is decompressed at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Largest window of zstd, as RFC 9659 has it: what a decoder must hold in memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// A body, with the memory that it takes.
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    _held: Held,
}

/// How the body of a request is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Zstd,
}

impl Coding {
    fn of(request: &Request) -> Result<Self, Problem> {
        let mut codings = request.headers().get_all(header::CONTENT_ENCODING).iter();
        let coding = match (codings.next(), codings.next()) {
            (None, _) => return Ok(Self::Identity),
            (Some(coding), None) => coding.as_bytes().trim_ascii(),
            (Some(_), Some(_)) => b"several",
        };
        let known = [("identity", Self::Identity), ("gzip", Self::Gzip), ("zstd", Self::Zstd)];
        let found =
            known.into_iter().find(|(name, _)| coding.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, coding)| coding).ok_or_else(|| {
            Problem::new(
                Code::UnsupportedEncoding,
                "expected `Content-Encoding: gzip`, `zstd` or none, and one of them only",
            )
        })
    }
}

/// Receives the body within a time limit; the route's limit of bytes is in its layers.
pub(crate) async fn receive(
    mut request: Request,
    app: &App,
    limit: Duration,
) -> Result<Received, Problem> {
    let coding = Coding::of(&request)?;
    let place = request.extensions_mut().remove::<Arc<Place>>();
    let (parts, body) = request.into_parts();
    // What comes out of a compressed body is held to the limit that the route's layers left here.
    let layers = (coding != Coding::Identity).then(|| parts.extensions.clone());
    let receiving = async {
        let mut held = Held::new(&app.limits);
        let collected = collect(Request::from_parts(parts, body), app, &mut held);
        let bytes =
            tokio::time::timeout(limit, collected).await.map_err(|_| too_slow(app, limit))??;
        Ok((bytes, held))
    };
    let (bytes, mut held) = match &place {
        Some(place) => place.receive(receiving).await?,
        None => receiving.await?,
    };
    let Some(layers) = layers else { return Ok(Received { bytes, _held: held }) };
    let is_bomb = Arc::new(AtomicBool::new(false));
    let chunks = Chunks::new(coding, bytes, Arc::clone(&is_bomb)).map_err(|_| undecodable())?;
    let mut decoded = Request::new(Body::from_stream(stream::iter(chunks)));
    *decoded.extensions_mut() = layers;
    let bytes = Bytes::from_request(decoded, &()).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE || is_bomb.load(Ordering::Relaxed) {
            return too_large(app);
        }
        undecodable()
    })?;
    held.take(bytes.len())?;
    Ok(Received { bytes, _held: held })
}

/// Receives a large body, such as a package, for as long as it keeps coming.
pub(crate) async fn receive_large(mut request: Request, app: &App) -> Result<Bytes, Problem> {
    let place = request.extensions_mut().remove::<Arc<Place>>();
    let patience = app.config.body_timeout;
    let receiving = async {
        let started = Instant::now();
        let mut frames = request.into_limited_body().into_data_stream();
        let mut bytes = Vec::new();
        loop {
            let received = u32::try_from(bytes.len() / STEADY_BYTES_PER_SECOND).unwrap_or(u32::MAX);
            let end = started + patience + Duration::from_secs(received.into());
            let next = tokio::time::timeout_at(end.into(), frames.next()).await;
            match next.map_err(|_| too_slow(app, started.elapsed()))? {
                Some(frame) => {
                    bytes.extend_from_slice(&frame.map_err(|error| cut_off(app, error))?);
                }
                None => return Ok(Bytes::from(bytes)),
            }
        }
    };
    match &place {
        Some(place) => place.receive(receiving).await,
        None => receiving.await,
    }
}

/// Gathers a body within the route's limit.
async fn collect(request: Request, app: &App, held: &mut Held) -> Result<Bytes, Problem> {
    let cut_off = |error| cut_off(app, error);
    let mut frames = request.into_limited_body().into_data_stream();
    let Some(first) = frames.next().await else { return Ok(Bytes::new()) };
    let first = first.map_err(cut_off)?;
    held.take(first.len())?;
    let mut next = frames.next().await;
    if next.is_none() {
        return Ok(first);
    }
    let mut bytes = Vec::from(first);
    while let Some(frame) = next {
        let frame = frame.map_err(cut_off)?;
        held.take(frame.len())?;
        bytes.extend_from_slice(&frame);
        next = frames.next().await;
    }
    Ok(Bytes::from(bytes))
}

fn cut_off(app: &App, error: axum::Error) -> Problem {
    let error = error.into_inner();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return too_large(app);
        }
        cause = error.source();
    }
    Problem::new(Code::InvalidRequest, "the body ended before it was complete")
}

const TOO_LARGE: &str =
    "the body exceeds this route's limit, as it is sent or once decompressed; send less at once";

fn too_large(app: &App) -> Problem {
    app.limits.refuse(Refusal::LargeBody, "", Problem::new(Code::BodyTooLarge, TOO_LARGE))
}

fn too_slow(app: &App, limit: Duration) -> Problem {
    let seconds = limit.as_secs_f64();
    let detail = format!("the body did not arrive within {seconds} seconds; send it at once");
    app.limits.refuse(Refusal::SlowBody, "", Problem::new(Code::BodyTooSlow, detail))
}

fn undecodable() -> Problem {
    Problem::new(
        Code::InvalidRequest,
        "the body is not compressed as `Content-Encoding` says, or ends too early",
    )
}

/// What comes out of a compressed body, piece by piece.
struct Chunks {
    decoder: Box<dyn Read + Send>,
    received: usize,
    given: usize,
    is_bomb: Arc<AtomicBool>,
    is_over: bool,
}

impl Chunks {
    fn new(coding: Coding, bytes: Bytes, is_bomb: Arc<AtomicBool>) -> io::Result<Self> {
        let received = bytes.len();
        let bytes = io::Cursor::new(bytes);
        let decoder: Box<dyn Read + Send> = match coding {
            Coding::Identity => Box::new(bytes),
            Coding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
            Coding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(bytes)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
        };
        Ok(Self { decoder, received, given: 0, is_bomb, is_over: false })
    }

    fn read(&mut self) -> io::Result<Option<Bytes>> {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let read = (&mut self.decoder).take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
        self.given += read;
        let allowed = self.received.saturating_mul(RATIO_MAX).max(RATIO_FREE_BYTES);
        if self.given > allowed {
            self.is_bomb.store(true, Ordering::Relaxed);
            return Err(io::Error::other("too much comes out of too little"));
        }
        Ok((read > 0).then(|| Bytes::from(chunk)))
    }
}

impl Iterator for Chunks {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let chunk = self.read().transpose();
        self.is_over = !matches!(chunk, Some(Ok(_)));
        chunk
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn compress(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Identity => bytes.to_vec(),
            Coding::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(bytes).expect("written");
                encoder.finish().expect("finished")
            }
            Coding::Zstd => zstd::encode_all(bytes, 3).expect("compressed"),
        }
    }

    fn expand(coding: Coding, bytes: Vec<u8>) -> (io::Result<Vec<u8>>, bool) {
        let is_bomb = Arc::new(AtomicBool::new(false));
        let chunks = Chunks::new(coding, bytes.into(), Arc::clone(&is_bomb)).expect("a decoder");
        let chunks: io::Result<Vec<Bytes>> = chunks.collect();
        (chunks.map(|chunks| chunks.concat()), is_bomb.load(Ordering::Relaxed))
    }

    #[test]
    fn a_bomb_is_stopped_long_before_it_goes_off() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let bomb = compress(coding, &vec![0; 64 << 20]);
            let (expanded, is_bomb) = expand(coding, bomb);
            assert!(expanded.is_err() && is_bomb, "{coding:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_was_compressed_comes_out_and_rubbish_is_an_error(
            bytes in proptest::collection::vec(any::<u8>(), 0..20_000),
            cut in 0.0..1.0,
        ) {
            for coding in [Coding::Gzip, Coding::Zstd] {
                let compressed = compress(coding, &bytes);
                let (whole, is_bomb) = expand(coding, compressed.clone());
                prop_assert_eq!(whole.expect("sound"), bytes.clone());
                prop_assert!(!is_bomb);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a length")]
                let short = compressed[..(compressed.len() as f64 * cut) as usize].to_vec();
                let is_empty = short.is_empty();
                let (part, _) = expand(coding, short);
                prop_assert!(part.is_err() || is_empty);
                let _ = expand(coding, bytes.clone());
            }
        }
    }
}
