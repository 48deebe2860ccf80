//! Loading a generation's table by binary COPY.

use arrow::array::RecordBatch;
use cameo_batch::{RowDigest, arrow_schema};
use sqlx::{Executor, PgConnection};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    Generation,
    encode::{HEADER, Rows, TRAILER},
};
use crate::{Store, StoreError, row::quoted_list};

/// Bytes that are sent at once.
const BUFFER_BYTES: usize = 256 * 1024;
/// Room for the row that goes over [`BUFFER_BYTES`].
const BUFFER_SLACK_BYTES: usize = 16 * 1024;
/// Full buffers that wait for the connection; one more is being filled.
const BUFFERS_WAITING_MAX: usize = 3;

enum Message {
    Data(Vec<u8>),
    Finish,
}

/// One connection that loads a generation. Several may load the same generation at once.
///
/// The connection is the writer's own and lives on a task of its own, so a dropped `send` or a
/// dropped writer can harm no other user: the COPY is aborted and the connection closed, and kept for the next
/// user only once Postgres has taken every row. The load
/// commits asynchronously; that is safe because the publishing transaction commits synchronously
/// and Postgres' log is flushed in order, so whatever it publishes is on disk with it.
#[derive(Debug)]
pub struct Writer {
    generation: Generation,
    digest: RowDigest,
    buffer: Vec<u8>,
    full: mpsc::Sender<Message>,
    empty: mpsc::Receiver<Vec<u8>>,
    copy: JoinHandle<Result<u64, StoreError>>,
    interrupted: bool,
}

impl Writer {
    /// Connects and starts a COPY into the generation's table.
    pub async fn open(store: &Store, generation: &Generation) -> Result<Self, StoreError> {
        let connection = store.dedicated().await?;
        let (full, received) = mpsc::channel(BUFFERS_WAITING_MAX);
        let (recycled, empty) = mpsc::channel(BUFFERS_WAITING_MAX + 1);
        let columns = quoted_list(generation.schema.columns().map(|column| column.name.as_str()));
        let statement =
            format!("copy {} ({columns}) from stdin (format binary)", generation.table.sql());
        let copy = tokio::spawn(copy(store.clone(), connection, statement, received, recycled));
        let mut buffer = Vec::with_capacity(BUFFER_BYTES + BUFFER_SLACK_BYTES);
        buffer.extend_from_slice(HEADER);
        let (generation, digest) = (generation.clone(), RowDigest::default());
        Ok(Self { generation, digest, buffer, full, empty, copy, interrupted: false })
    }

    /// Sends the rows of a batch of the generation's schema (see [`cameo_batch::conform`]).
    ///
    /// After an error or a dropped future the writer is of no further use.
    pub async fn send(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        if self.interrupted {
            return Err(StoreError::WriterInterrupted);
        }
        let expected = arrow_schema(&self.generation.schema);
        if batch.schema_ref().fields() != expected.fields() {
            let found = batch.schema_ref();
            return Err(StoreError::Schema(format!(
                "expected the columns {:?}, found {:?}",
                expected.fields(),
                found.fields()
            )));
        }
        self.interrupted = true;
        self.digest.add(batch);
        let rows = Rows::new(batch)?;
        for row in 0..batch.num_rows() {
            rows.encode(row, &mut self.buffer);
            if self.buffer.len() >= BUFFER_BYTES {
                let next = self
                    .empty
                    .try_recv()
                    .unwrap_or_else(|_| Vec::with_capacity(BUFFER_BYTES + BUFFER_SLACK_BYTES));
                let full = std::mem::replace(&mut self.buffer, next);
                self.pass(Message::Data(full)).await?;
            }
        }
        self.interrupted = false;
        Ok(())
    }

    /// Ends the COPY and waits until Postgres has taken every row. Gives what was sent.
    pub async fn finish(mut self) -> Result<RowDigest, StoreError> {
        if self.interrupted {
            return Err(StoreError::WriterInterrupted);
        }
        self.buffer.extend_from_slice(&TRAILER);
        let last = std::mem::take(&mut self.buffer);
        self.pass(Message::Data(last)).await?;
        self.pass(Message::Finish).await?;
        let rows = (&mut self.copy).await.map_err(StoreError::TaskEnded)??;
        if rows != self.digest.rows {
            let found = RowDigest { rows, ..self.digest };
            return Err(StoreError::DigestMismatch { expected: self.digest, found });
        }
        Ok(self.digest)
    }

    /// Hands a message to the connection's task, whose error is reported when it has ended.
    async fn pass(&mut self, message: Message) -> Result<(), StoreError> {
        if self.full.send(message).await.is_ok() {
            return Ok(());
        }
        self.interrupted = true;
        match (&mut self.copy).await.map_err(StoreError::TaskEnded)? {
            Err(error) => Err(error),
            Ok(_) => Err(StoreError::WriterInterrupted),
        }
    }
}

/// Owns the connection. The sender's end without [`Message::Finish`] aborts the COPY.
async fn copy(
    store: Store,
    mut connection: PgConnection,
    statement: String,
    mut full: mpsc::Receiver<Message>,
    empty: mpsc::Sender<Vec<u8>>,
) -> Result<u64, StoreError> {
    connection.execute("set synchronous_commit = off").await?;
    let mut sink = connection.copy_in_raw(&statement).await?;
    while let Some(message) = full.recv().await {
        match message {
            Message::Data(mut bytes) => {
                if let Err(error) = sink.send(bytes.as_slice()).await {
                    // What Postgres objects to stands in its answer; the connection ends here.
                    return Err(sink.finish().await.err().unwrap_or(error).into());
                }
                bytes.clear();
                let _ = empty.try_send(bytes);
            }
            Message::Finish => {
                let rows = sink.finish().await?;
                store.keep(connection);
                return Ok(rows);
            }
        }
    }
    let _ = sink.abort("the writer was dropped").await;
    Err(StoreError::WriterInterrupted)
}
