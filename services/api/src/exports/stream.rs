//! The bytes of an export as the body of an answer.
//!
//! A thread encodes piece by piece into a queue that the connection empties: who reads slowly slows the
//! encoding down, and who goes away ends it. A body that ends early breaks the connection off, so a client
//! cannot take a part for the whole.

use std::io;

use axum::body::{Body, Bytes};
use cameo_segment::export::ExportError;
use tokio::{runtime::Handle, sync::mpsc, time::timeout};

use super::{Exports, Place};
use crate::problem::Problem;

/// Pieces that wait for the connection.
const PIECES_WAITING_MAX: usize = 2;

enum Piece {
    Bytes(Bytes),
    /// Everything was said.
    End,
}

impl Exports {
    /// A body of `pieces`, which holds `place` until it ends.
    pub(crate) fn body(
        &self,
        place: Place,
        pieces: impl Iterator<Item = Result<Vec<u8>, ExportError>> + Send + 'static,
    ) -> Body {
        let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
        let (turns, stall, handle) = (self.turns.clone(), self.stall, Handle::current());
        tokio::task::spawn_blocking(move || {
            let _place = place;
            let send = |piece| {
                let sent = handle.block_on(timeout(stall, sender.send(piece)));
                if sent.is_err() {
                    let seconds = stall.as_secs();
                    tracing::info!(seconds, "an export was not read; it is ended");
                }
                matches!(sent, Ok(Ok(())))
            };
            let mut pieces = pieces;
            loop {
                let turn = handle.block_on(turns.acquire());
                let piece = pieces.next();
                drop(turn);
                match piece {
                    Some(Ok(bytes)) => {
                        if !send(Piece::Bytes(bytes.into())) {
                            return;
                        }
                    }
                    Some(Err(error)) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "an export broke off"
                        );
                        return;
                    }
                    None => {
                        send(Piece::End);
                        return;
                    }
                }
            }
        });
        Body::from_stream(futures_util::stream::unfold(Some(receiver), next))
    }

    /// All of `pieces` at once, for a page.
    pub(crate) async fn whole<T: Send + 'static>(
        &self,
        place: Place,
        encode: impl FnOnce() -> Result<T, ExportError> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| Problem::internal())?;
        let encoded = tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            encode()
        });
        match encoded.await {
            Ok(encoded) => encoded.map_err(Problem::from),
            Err(_) => Err(Problem::internal()),
        }
    }
}

type Receiver = mpsc::Receiver<Piece>;

async fn next(receiver: Option<Receiver>) -> Option<(io::Result<Bytes>, Option<Receiver>)> {
    let mut receiver = receiver?;
    match receiver.recv().await {
        Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some(receiver))),
        Some(Piece::End) => None,
        None => Some((Err(io::Error::other("the export broke off")), None)),
    }
}
