//! What crosses the pipe, for tests that tamper with it. No part of the crate's interface.

use arrow::array::RecordBatch;

use crate::{
    message::{Answer, decode, encode},
    wire::{self, Frame},
};

/// An answer of a child that carries a batch.
///
/// # Panics
/// For a batch that Arrow cannot write.
#[must_use]
pub fn answer_with(batch: &RecordBatch) -> Vec<u8> {
    let mut frame = Vec::new();
    let part = encode(batch).expect("a batch of plain columns");
    wire::write(&mut frame, 1, &Answer::Scored { rejected: Vec::new() }, &[&part]).expect("memory");
    frame
}

/// Reads bytes as a parent reads what its child sends. Whether they were an answer with sound batches.
#[must_use]
pub fn is_answer(bytes: &[u8]) -> bool {
    match wire::read::<Answer>(&mut &*bytes) {
        Ok(Some(Frame { parts, .. })) => parts.into_iter().all(|part| decode(part).is_ok()),
        Ok(None) | Err(_) => false,
    }
}
