//! Streaming a generation's table out of Postgres.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use arrow::array::RecordBatch;
use futures_util::{Stream, TryStreamExt};
use sqlx::{Connection, PgConnection};
use tokio::sync::mpsc;

use super::{MirrorTask, decode::Decoder};
use crate::{Store, StoreError, row::quoted};

/// Rows of a batch.
pub(super) const BATCH_ROWS: usize = 16_384;
/// Batches that wait for the reader; with the one being filled they bound the memory.
const BATCHES_WAITING_MAX: usize = 2;
const UNDEFINED_TABLE: &str = "42P01";

/// The rows of a generation, in no order. Dropping it ends the reading and closes its connection.
#[derive(Debug)]
pub struct RowStream {
    received: mpsc::Receiver<Result<RecordBatch, StoreError>>,
}

impl Stream for RowStream {
    type Item = Result<RecordBatch, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.received.poll_recv(context)
    }
}

/// Reads the task's generation in batches of its schema, in bounded memory. The order is that of the
/// table: both sides are compared by a digest that does not depend on it, and a sort would cost more
/// than the rest of the load.
pub async fn rows(store: &Store, task: &MirrorTask) -> Result<RowStream, StoreError> {
    let connection = store.dedicated().await?;
    let (sender, received) = mpsc::channel(BATCHES_WAITING_MAX);
    let task = task.clone();
    tokio::spawn(async move {
        // A reader that went away closes the channel: then the connection is closed as well.
        if let Err(error) = copy_out(connection, &task, &sender).await {
            let error = match error.sqlstate().as_deref() {
                Some(UNDEFINED_TABLE) => StoreError::StaleGeneration(task.generation),
                _ => error,
            };
            let _ = sender.send(Err(error)).await;
        }
    });
    Ok(RowStream { received })
}

async fn copy_out(
    mut connection: PgConnection,
    task: &MirrorTask,
    sender: &mpsc::Sender<Result<RecordBatch, StoreError>>,
) -> Result<(), StoreError> {
    let columns: Vec<String> =
        task.schema.columns().map(|column| quoted(column.name.as_str())).collect();
    let statement =
        format!("copy {} ({}) to stdout (format binary)", task.table.sql(), columns.join(", "));
    let mut decoder = Decoder::new(&task.schema);
    {
        let mut stream = connection.copy_out_raw(&statement).await?;
        while let Some(bytes) = stream.try_next().await? {
            decoder.push(&bytes)?;
            if decoder.rows() >= BATCH_ROWS && sender.send(decoder.batch()).await.is_err() {
                return Ok(());
            }
        }
    }
    decoder.finish()?;
    if decoder.rows() > 0 {
        let _ = sender.send(decoder.batch()).await;
    }
    connection.close().await?;
    Ok(())
}
