//! One walk over a range of customers, block by block.

use std::collections::BTreeSet;

use arrow::{array::ArrayRef, buffer::BooleanBuffer};
use cameo_domain::ServiceName;

use super::{
    Count, EvaluateError, Selection, Source,
    expression::truth,
    join::{Block, Join, Rows},
    keys::Keys,
    plan::{Part, Plan, split},
    table::{Piece, Table, partition},
    truth::Truth,
};
use crate::{ColumnRef, Condition, Share};

/// Place of a column: its service, and its position among what is wanted of it.
type Place = (usize, usize);

/// The services that are needed, with the columns that are.
pub(crate) struct Layout {
    tables: Vec<Table>,
    pub(crate) services: Vec<ServiceName>,
    /// For each service whether the condition names it: those have the customers.
    in_condition: Vec<bool>,
    of_condition: Vec<Place>,
    pub(crate) of_attributes: Vec<Place>,
}

impl Layout {
    pub(crate) fn new(
        condition: &Condition,
        attributes: &[ColumnRef],
        sources: &[Source<'_>],
    ) -> Result<Self, EvaluateError> {
        let named = condition.columns().iter().chain(attributes);
        let services: BTreeSet<&ServiceName> =
            named.clone().map(|column| &column.service).collect();
        let services: Vec<ServiceName> = services.into_iter().cloned().collect();
        let mut wanted: Vec<Vec<&str>> = vec![Vec::new(); services.len()];
        let mut places: Vec<Place> =
            named.map(|column| place_of(column, &services, &mut wanted)).collect();
        let of_attributes = places.split_off(condition.columns().len());
        let of_condition = places;
        let mut tables = Vec::with_capacity(services.len());
        for (service, wanted) in services.iter().zip(&wanted) {
            let source = sources.iter().find(|source| source.service == service);
            let source = source.ok_or_else(|| EvaluateError::Service(service.clone()))?;
            tables.push(Table::new(source, wanted)?);
        }
        let places = condition.columns().iter().zip(&of_condition).enumerate();
        for (at, (column, (service, position))) in places {
            let found = tables[*service].unknown[*position].data_type();
            if condition.data_type(at).map(cameo_batch::arrow_type).as_ref() != Some(found) {
                return Err(EvaluateError::Column {
                    service: column.service.clone(),
                    column: column.column.to_string(),
                    found: found.to_string(),
                });
            }
        }
        let kinds = tables.iter().filter_map(|table| table.pieces.first());
        let mut kinds = kinds.map(|piece| std::mem::discriminant(&piece.keys));
        let first = kinds.next();
        if kinds.any(|kind| Some(kind) != first) {
            return Err(EvaluateError::Keys);
        }
        let named = condition.services();
        let in_condition = services.iter().map(|service| named.contains(service)).collect();
        Ok(Self { tables, services, in_condition, of_condition, of_attributes })
    }

    /// Rows of the largest service.
    pub(crate) fn rows(&self) -> usize {
        let rows = |table: &Table| table.pieces.iter().map(|piece| piece.keys.rows()).sum();
        self.tables.iter().map(rows).max().unwrap_or(0)
    }

    /// Ranges of customers of like size; for each the pieces of each service.
    pub(crate) fn partition(&self, parts: usize) -> Vec<Vec<Vec<Piece>>> {
        partition(&self.tables, parts)
    }

    /// One null of a column.
    pub(crate) fn unknown(&self, place: Place) -> &ArrayRef {
        &self.tables[place.0].unknown[place.1]
    }
}

/// Finds the place of a column, which is new where nobody wanted it before.
fn place_of<'a>(
    column: &'a ColumnRef,
    services: &[ServiceName],
    wanted: &mut [Vec<&'a str>],
) -> Place {
    let service = services.iter().position(|service| *service == column.service);
    let service = service.unwrap_or_else(|| unreachable!("the services are those of the columns"));
    let (name, wanted) = (column.column.as_str(), &mut wanted[service]);
    let known = wanted.iter().position(|known| *known == name);
    let position = known.unwrap_or_else(|| {
        wanted.push(name);
        wanted.len() - 1
    });
    (service, position)
}

/// Some customers, and which of them are chosen.
pub(crate) struct Chosen {
    pub(crate) block: Block,
    /// How many of them the condition's services know.
    pub(crate) profiles: u64,
    pub(crate) members: BooleanBuffer,
}

/// A walk over the customers of a range.
pub(crate) struct Walk<'a> {
    selection: &'a Selection<'a>,
    layout: &'a Layout,
    /// For each service its pieces in the range.
    pieces: &'a [Vec<Piece>],
    pub(crate) join: Join<'a>,
    plan: Plan,
    parts: Vec<Part<'a>>,
    /// For each part its truth of whom the service does not know.
    of_unknown: Vec<Truth>,
    /// For each part its truth of the current piece of its service, and which piece that is.
    of_piece: Vec<Option<(usize, Truth)>>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        selection: &'a Selection<'a>,
        layout: &'a Layout,
        pieces: &'a [Vec<Piece>],
    ) -> Self {
        let names: Vec<&ServiceName> = layout.services.iter().collect();
        let (plan, parts) = split(selection.condition, &names);
        let unknown = |column: usize| layout.unknown(layout.of_condition[column]).clone();
        let of_unknown = parts.iter().map(|part| truth(part.node, &unknown, 1)).collect();
        let keys = |pieces: &'a Vec<Piece>| pieces.iter().map(|piece| &piece.keys).collect();
        let of_piece = vec![None; parts.len()];
        let join = Join::new(pieces.iter().map(keys).collect());
        Self { selection, layout, pieces, join, plan, parts, of_unknown, of_piece }
    }

    pub(crate) fn count(mut self) -> Result<Count, EvaluateError> {
        let mut count = Count { members: 0, profiles: 0 };
        while let Some(Chosen { profiles, members, .. }) = self.next()? {
            count.profiles += profiles;
            count.members += members.count_set_bits() as u64;
        }
        Ok(count)
    }

    /// The next customers, and which of them are chosen.
    pub(crate) fn next(&mut self) -> Result<Option<Chosen>, EvaluateError> {
        let Some(block) = self.join.next_block() else { return Ok(None) };
        let truths = (0..self.parts.len()).map(|part| self.part(part, &block));
        let truths = truths.collect::<Result<Vec<_>, _>>()?;
        let mut chosen = self.plan.combine(&truths).yes;
        let mut profiles = block.rows;
        if self.layout.in_condition.contains(&false) {
            let known = self.of_named_services(&block);
            profiles = known.count_set_bits();
            chosen = &chosen & &known;
        }
        for (share, wanted) in [(self.selection.sample, true), (self.selection.hold_out, false)] {
            if let Some(share) = share {
                chosen = self.in_share(&block, &chosen, share, wanted);
            }
        }
        Ok(Some(Chosen { block, profiles: profiles as u64, members: chosen }))
    }

    /// The truth of one part for the block's rows.
    fn part(&mut self, at: usize, block: &Block) -> Result<Truth, EvaluateError> {
        let part = &self.parts[at];
        let Some(service) = part.service else {
            let mut columns = vec![None; self.layout.of_condition.len()];
            let mut named = Vec::new();
            part.node.visit_columns(&mut |column| named.push(column));
            for column in named {
                columns[column] = Some(self.gather(block, self.layout.of_condition[column])?);
            }
            let column = |at: usize| match &columns[at] {
                Some(column) => column.clone(),
                None => unreachable!("every column of the part was gathered"),
            };
            return Ok(truth(part.node, &column, block.rows));
        };
        let (piece, rows) = &block.of[service];
        let unknown = &self.of_unknown[at];
        if let Rows::None = rows {
            return Ok(unknown.repeat(block.rows));
        }
        if self.of_piece[at].as_ref().is_none_or(|(of, _)| of != piece) {
            let piece_of = &self.pieces[service][*piece];
            let column =
                |column: usize| piece_of.columns[self.layout.of_condition[column].1].clone();
            let found = truth(part.node, &column, piece_of.keys.rows());
            self.of_piece[at] = Some((*piece, found));
        }
        let Some((_, of_piece)) = &self.of_piece[at] else { unreachable!("just computed") };
        Ok(match rows {
            Rows::From(from) => of_piece.slice(*from, block.rows),
            Rows::Each(rows) => of_piece.pick(rows, unknown),
            Rows::None => unknown.repeat(block.rows),
        })
    }

    /// A column for the block's rows.
    pub(crate) fn gather(&self, block: &Block, place: Place) -> Result<ArrayRef, EvaluateError> {
        let (piece, rows) = &block.of[place.0];
        let column = self.pieces[place.0].get(*piece).map(|piece| &piece.columns[place.1]);
        Ok(rows.gather(column, self.layout.unknown(place), block.rows)?)
    }

    /// Whom a service of the condition knows: those of an attribute's service alone are no customers here.
    fn of_named_services(&self, block: &Block) -> BooleanBuffer {
        let named = block.of.iter().zip(&self.layout.in_condition);
        let named: Vec<&Rows> =
            named.filter_map(|((_, rows), named)| named.then_some(rows)).collect();
        BooleanBuffer::collect_bool(block.rows, |at| {
            named.iter().any(|rows| rows.row(at).is_some())
        })
    }

    fn in_share(
        &self,
        block: &Block,
        chosen: &BooleanBuffer,
        share: &Share,
        wanted: bool,
    ) -> BooleanBuffer {
        let has = |at: usize| match block.key(&self.join, at) {
            Some((Keys::Int(keys), row)) => share.has_int(keys.value(row)),
            Some((Keys::Text(keys), row)) => share.has_text(keys.value(row)),
            None => false,
        };
        BooleanBuffer::collect_bool(block.rows, |at| chosen.value(at) && has(at) == wanted)
    }
}
