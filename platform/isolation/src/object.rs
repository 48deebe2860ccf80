//! What a child has loaded, by number.

use std::{io, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
};
use cameo_scoring::Rejected;

use crate::{
    Fault,
    host::{unasked, unsound},
    message::{self, Answer, Request},
    process::Process,
};

/// The bytes of a model and of the one before it.
#[derive(Debug, Clone, Copy)]
pub struct Files<'f> {
    /// The model.
    pub model: &'f [u8],
    /// The model before it, where there is one.
    pub preprocess: Option<&'f [u8]>,
}

/// Something that a child has loaded; forgotten there when this is dropped.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) process: Arc<Process>,
    pub(crate) number: u64,
}

impl Drop for Object {
    fn drop(&mut self) {
        self.process.tell(&Request::Forget { object: self.number });
    }
}

impl Object {
    pub(crate) fn unasked(&self, answer: &Answer) -> Fault {
        unasked(&self.process, answer)
    }

    pub(crate) fn unsound(&self, problem: impl std::fmt::Display) -> Fault {
        unsound(&self.process, problem)
    }

    /// Sends a batch; the answer has one batch of the schema that was announced before anything else.
    pub(crate) fn ask(
        &self,
        request: &Request,
        batch: &RecordBatch,
        schema: &Schema,
    ) -> Result<(Answer, RecordBatch, Vec<Vec<u8>>), Fault> {
        let bytes = encoded(batch)?;
        let (answer, parts) = self.process.ask(request, &[&bytes])?;
        let mut parts = parts.into_iter();
        let first = parts.next().ok_or_else(|| self.unasked(&answer))?;
        let found = decoded(&self.process, first)?;
        if found.schema_ref().as_ref() != schema {
            return Err(self.unsound("its columns are not those that it announced"));
        }
        Ok((answer, found, parts.collect()))
    }

    /// Whether rows that were left out are rows of a batch, each once, in order.
    pub(crate) fn check(&self, rejected: &[Rejected], rows: usize) -> Result<(), Fault> {
        let ascending = rejected.windows(2).all(|pair| pair[0].row < pair[1].row);
        if ascending && rejected.last().is_none_or(|last| last.row < rows) {
            return Ok(());
        }
        Err(self.unsound(format!("it left out rows that are not among the {rows} of the batch")))
    }
}

/// The columns that a model reads, and no others: what a child does not have it cannot give away.
pub(crate) fn only(batch: &RecordBatch, columns: &[String]) -> Result<RecordBatch, Fault> {
    let schema = batch.schema_ref();
    let found: Result<Vec<usize>, ArrowError> =
        columns.iter().map(|column| schema.index_of(column)).collect();
    let mut found = found.map_err(|error| Fault::of_model(&error))?;
    found.sort_unstable();
    found.dedup();
    batch.project(&found).map_err(|error| Fault::of_model(&error))
}

pub(crate) fn encoded(batch: &RecordBatch) -> Result<Vec<u8>, Fault> {
    message::encode(batch).map_err(|error| Fault::of_model(&error))
}

pub(crate) fn encoded_schema(schema: &Schema) -> Result<Vec<u8>, Fault> {
    message::encode_schema(schema).map_err(|error| Fault::of_model(&error))
}

pub(crate) fn decoded(process: &Process, bytes: Vec<u8>) -> Result<RecordBatch, Fault> {
    message::decode(bytes).map_err(|error: io::Error| unsound(process, error))
}

/// The schema that is the only part of an answer.
pub(crate) fn schema_of(process: &Process, parts: Vec<Vec<u8>>) -> Result<SchemaRef, Fault> {
    let part = parts.into_iter().next().unwrap_or_default();
    decoded(process, part).map(|batch| batch.schema())
}
