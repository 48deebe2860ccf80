//! The members themselves, with their attributes.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, UInt32Array},
    buffer::BooleanBuffer,
    compute::{BatchCoalescer, take},
    datatypes::{Field, Schema, SchemaRef},
    record_batch::RecordBatch,
};

use super::{
    Count, EvaluateError, Selection, Source,
    join::Block,
    keys::KeyBuilder,
    table::Piece,
    walk::{Chosen, Layout, Walk},
};
use crate::{ColumnRef, membership::BATCH_ROWS};

/// The members of a selection, in the order of their keys.
pub struct Members<'a> {
    selection: &'a Selection<'a>,
    layout: Layout,
    schema: SchemaRef,
}

impl<'a> Members<'a> {
    /// Prepares the members with `attributes`, which may be of services that the condition does not
    /// name: those tell more of members, but nobody becomes a member through them.
    pub fn prepare(
        selection: &'a Selection<'a>,
        attributes: &[ColumnRef],
        sources: &[Source<'_>],
    ) -> Result<Self, EvaluateError> {
        let layout = Layout::new(selection.condition, attributes, sources)?;
        let first = sources.iter().find(|source| layout.services.first() == Some(source.service));
        let key = first.map(|source| source.schema.key());
        let key =
            key.unwrap_or_else(|| unreachable!("a condition names a service, which was found"));
        let key = Field::new(key.name.as_str(), cameo_batch::arrow_type(key.data_type), false);
        let columns = attributes.iter().zip(&layout.of_attributes).map(|(attribute, place)| {
            Field::new(attribute.to_string(), layout.unknown(*place).data_type().clone(), true)
        });
        let schema = Arc::new(Schema::new(std::iter::once(key).chain(columns).collect::<Vec<_>>()));
        Ok(Self { selection, layout, schema })
    }

    /// The key, then the attributes.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Hands over all members in batches of [`BATCH_ROWS`] rows, the last of fewer. Returns how many
    /// there are, and of how many customers.
    ///
    /// # Errors
    /// What `take` gives ends the walk.
    pub fn each_batch<E: From<EvaluateError>>(
        &self,
        mut take: impl FnMut(RecordBatch) -> Result<(), E>,
    ) -> Result<Count, E> {
        let mut coalescer = BatchCoalescer::new(Arc::clone(&self.schema), BATCH_ROWS);
        let mut count = Count { members: 0, profiles: 0 };
        for range in &self.layout.partition(1) {
            let mut walk = Walk::new(self.selection, &self.layout, range);
            while let Some(Chosen { block, profiles, members: chosen }) = walk.next()? {
                count.profiles += profiles;
                if chosen.count_set_bits() == 0 {
                    continue;
                }
                let batch = self.chosen(&walk, &block, &chosen, range)?;
                count.members += batch.num_rows() as u64;
                coalescer.push_batch(batch).map_err(EvaluateError::from)?;
                while let Some(batch) = coalescer.next_completed_batch() {
                    take(batch)?;
                }
            }
        }
        coalescer.finish_buffered_batch().map_err(EvaluateError::from)?;
        while let Some(batch) = coalescer.next_completed_batch() {
            take(batch)?;
        }
        Ok(count)
    }

    fn chosen(
        &self,
        walk: &Walk<'_>,
        block: &Block,
        chosen: &BooleanBuffer,
        range: &[Vec<Piece>],
    ) -> Result<RecordBatch, EvaluateError> {
        let rows: Vec<usize> = chosen.set_indices().collect();
        let mut built: Option<KeyBuilder> = None;
        for row in &rows {
            if let Some((keys, at)) = block.key(&walk.join, *row) {
                built.get_or_insert_with(|| KeyBuilder::like(keys, rows.len())).push(keys, at);
            }
        }
        let key = built.unwrap_or_else(|| unreachable!("a block has customers")).finish();
        let mut columns: Vec<ArrayRef> = vec![key];
        for place in &self.layout.of_attributes {
            let (piece, of) = &block.of[place.0];
            let picked =
                rows.iter().map(|row| of.row(*row).and_then(|row| u32::try_from(row).ok()));
            let column = range[place.0].get(*piece).map(|piece| &piece.columns[place.1]);
            columns.push(match column {
                Some(column) => take(column, &picked.collect::<UInt32Array>(), None)?,
                None => take(
                    self.layout.unknown(*place),
                    &UInt32Array::from(vec![0; rows.len()]),
                    None,
                )?,
            });
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}
