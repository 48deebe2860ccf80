//! Streaming a generation's table out of Postgres.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use arrow::array::RecordBatch;
use cameo_domain::{Column, GenerationId, PredictionSchema};
use futures_util::{Stream, TryStreamExt};
use sqlx::{Executor, PgConnection};
use tokio::sync::mpsc;

use super::{MirrorTask, decode::Decoder};
use crate::{Store, StoreError, generations::Table, row::quoted_list};

/// Rows of a batch.
pub(super) const BATCH_ROWS: usize = 16_384;
/// Batches that wait for the reader; with the one being filled they bound the memory.
const BATCHES_WAITING_MAX: usize = 2;
const UNDEFINED_TABLE: &str = "42P01";

/// The rows of a generation. Dropping it ends the reading and closes its connection.
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
    let copy = TableCopy {
        generation: task.generation,
        table: task.table.clone(),
        schema: task.schema.clone(),
        in_order: false,
    };
    copy.rows(store).await
}

/// Memory of the sort that gives rows in order; more goes to disk.
const SORT_MEMORY: &str = "set work_mem = '128MB'";

/// A generation's table on its way out.
pub(crate) struct TableCopy {
    pub(crate) generation: GenerationId,
    pub(crate) table: Table,
    pub(crate) schema: PredictionSchema,
    /// Whether the rows come in the order of what names them.
    pub(crate) in_order: bool,
}

impl TableCopy {
    pub(crate) async fn rows(self, store: &Store) -> Result<RowStream, StoreError> {
        let connection = store.dedicated().await?;
        let (sender, received) = mpsc::channel(BATCHES_WAITING_MAX);
        let store = store.clone();
        tokio::spawn(async move {
            // A reader that went away closes the channel: then the connection is closed as well.
            if let Err(error) = self.copy_out(&store, connection, &sender).await {
                let error = match error.sqlstate().as_deref() {
                    Some(UNDEFINED_TABLE) => StoreError::StaleGeneration(self.generation),
                    _ => error,
                };
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(RowStream { received })
    }

    fn statement(&self) -> String {
        let listed = |columns: &mut dyn Iterator<Item = &Column>| {
            quoted_list(columns.map(|column| column.name.as_str()))
        };
        let (table, columns) = (self.table.sql(), listed(&mut self.schema.columns()));
        if self.in_order {
            // Texts are compared by bytes: so the table's columns are declared.
            let names = listed(&mut self.schema.identity());
            format!(
                "copy (select {columns} from {table} order by {names}) to stdout (format binary)"
            )
        } else {
            format!("copy {table} ({columns}) to stdout (format binary)")
        }
    }

    async fn copy_out(
        &self,
        store: &Store,
        mut connection: PgConnection,
        sender: &mpsc::Sender<Result<RecordBatch, StoreError>>,
    ) -> Result<(), StoreError> {
        if self.in_order {
            connection.execute(SORT_MEMORY).await?;
        }
        let mut decoder = Decoder::new(&self.schema);
        {
            let mut stream = connection.copy_out_raw(&self.statement()).await?;
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
        store.keep(connection);
        Ok(())
    }
}
