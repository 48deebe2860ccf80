//! What changed between two materialisations of a segment.
//!
//! Both files are sorted by key, so one pass over both side by side finds who entered and who left,
//! holding a batch of each.

use std::{cmp::Ordering, fmt, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, StringArray, UInt32Array, new_null_array},
    compute::{interleave, take},
    datatypes::{DataType as ArrowType, Field, Schema, SchemaRef},
    error::ArrowError,
    record_batch::RecordBatch,
};

use crate::{
    export::{ExportError, Values},
    keys::Keys,
    membership::MembershipError,
};

/// Name of the column that says what happened.
pub const CHANGE: &str = "change";

/// What happened to a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A member now, and none before.
    Entered,
    /// None now, and a member before.
    Left,
    /// A member before and now, with an attribute that differs.
    Changed,
}

impl Change {
    /// The word in exports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Entered => "entered",
            Self::Left => "left",
            Self::Changed => "changed",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why two materialisations cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    /// The segment is about other customers now.
    #[error(
        "the keys were {old} and are {new} now, so nobody can be compared; take all members anew"
    )]
    Keys {
        /// Type of the older file's keys.
        old: ArrowType,
        /// Type of the newer file's keys.
        new: ArrowType,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// Arrow refuses the rows.
    #[error("the changes cannot be put together")]
    Arrow(#[from] ArrowError),
    /// A column of a type that no prediction has.
    #[error("{0}")]
    Type(String),
}

/// How many changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Members now, not before.
    pub entered: u64,
    /// Members before, not now.
    pub left: u64,
    /// Members before and now whose attributes differ; 0 where that was not asked for.
    pub changed: u64,
}

impl Tally {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One row of the changes.
#[derive(Clone, Copy)]
struct Row {
    change: Change,
    /// In the older batch where the customer left, else in the newer one.
    at: u32,
}

struct Side<I> {
    rows: I,
    batch: Option<RecordBatch>,
    at: usize,
}

impl<I: Iterator<Item = Result<RecordBatch, MembershipError>>> Side<I> {
    fn new(rows: I) -> Self {
        Self { rows, batch: None, at: 0 }
    }

    /// Makes sure that a row is at hand, where one is left.
    fn fill(&mut self) -> Result<(), MembershipError> {
        while self.batch.as_ref().is_none_or(|batch| self.at == batch.num_rows()) {
            self.at = 0;
            self.batch = self.rows.next().transpose()?;
            if self.batch.is_none() {
                break;
            }
        }
        Ok(())
    }
}

/// The changes, batch by batch: [`crate::members::KEY`], [`CHANGE`], then the newer attributes, which
/// are null for those who left.
pub struct Changes<O, N> {
    old: Side<O>,
    new: Side<N>,
    schema: SchemaRef,
    /// Where each of the newer columns, from the first attribute on, is in the older file; none: do
    /// not look for changed attributes.
    attributes: Option<Vec<Option<usize>>>,
}

impl<O, N> Changes<O, N>
where
    O: Iterator<Item = Result<RecordBatch, MembershipError>>,
    N: Iterator<Item = Result<RecordBatch, MembershipError>>,
{
    /// Compares the rows of two files, both with the key first. With `attributes` members whose
    /// attributes differ count as well.
    pub fn new(
        (old, old_schema): (O, &Schema),
        (new, new_schema): (N, &Schema),
        attributes: bool,
    ) -> Result<Self, ChangesError> {
        let key = new_schema.field(0);
        let old_key = old_schema.field(0);
        if old_key.data_type() != key.data_type() {
            return Err(ChangesError::Keys {
                old: old_key.data_type().clone(),
                new: key.data_type().clone(),
            });
        }
        let mut fields = vec![key.clone(), Field::new(CHANGE, ArrowType::Utf8, false)];
        fields.extend(new_schema.fields().iter().skip(1).map(|field| {
            let field: &Field = field;
            field.clone().with_nullable(true)
        }));
        let found = |field: &Arc<Field>| old_schema.index_of(field.name()).ok();
        let attributes =
            attributes.then(|| new_schema.fields().iter().skip(1).map(found).collect());
        Ok(Self {
            old: Side::new(old),
            new: Side::new(new),
            schema: Arc::new(Schema::new(fields)),
            attributes,
        })
    }

    /// The columns of the changes.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Counts the changes without putting their rows together.
    pub fn tally(mut self) -> Result<Tally, ChangesError> {
        let mut tally = Tally::default();
        while let Some(rows) = self.step()? {
            for row in rows {
                match row.change {
                    Change::Entered => tally.entered += 1,
                    Change::Left => tally.left += 1,
                    Change::Changed => tally.changed += 1,
                }
            }
        }
        Ok(tally)
    }

    /// The changes among the batches at hand up to the end of either; none after the last ones.
    fn step(&mut self) -> Result<Option<Vec<Row>>, ChangesError> {
        self.old.fill()?;
        self.new.fill()?;
        // Batches are reference counts; they are held while the sides move on.
        let (old_batch, new_batch) = (self.old.batch.clone(), self.new.batch.clone());
        let (old, new) = (keys(old_batch.as_ref())?, keys(new_batch.as_ref())?);
        let same = self.same_attributes(old_batch.as_ref(), new_batch.as_ref())?;
        let same = |one: usize, two: usize| same.as_ref().is_none_or(|same| same.are(one, two));
        let rows = match (old, new) {
            (None, None) => return Ok(None),
            (Some(old), None) => {
                let rows = (self.old.at..old.len()).map(|at| row(Change::Left, at)).collect();
                self.old.at = old.len();
                rows
            }
            (None, Some(new)) => {
                let rows = (self.new.at..new.len()).map(|at| row(Change::Entered, at)).collect();
                self.new.at = new.len();
                rows
            }
            (Some(Keys::Int(old)), Some(Keys::Int(new))) => {
                let order = |one: usize, two: usize| old[one].cmp(&new[two]);
                self.merge(old.len(), new.len(), order, same)
            }
            (Some(Keys::Text(old)), Some(Keys::Text(new))) => {
                let order = |one: usize, two: usize| old.value(one).cmp(new.value(two));
                self.merge(old.len(), new.len(), order, same)
            }
            (Some(_), Some(_)) => {
                return Err(ChangesError::Type("the keys changed their type".to_owned()));
            }
        };
        Ok(Some(rows))
    }

    fn merge(
        &mut self,
        old_rows: usize,
        new_rows: usize,
        order: impl Fn(usize, usize) -> Ordering,
        same: impl Fn(usize, usize) -> bool,
    ) -> Vec<Row> {
        let (mut old, mut new) = (self.old.at, self.new.at);
        let mut rows = Vec::new();
        while old < old_rows && new < new_rows {
            match order(old, new) {
                Ordering::Less => {
                    rows.push(row(Change::Left, old));
                    old += 1;
                }
                Ordering::Greater => {
                    rows.push(row(Change::Entered, new));
                    new += 1;
                }
                Ordering::Equal => {
                    if !same(old, new) {
                        rows.push(row(Change::Changed, new));
                    }
                    old += 1;
                    new += 1;
                }
            }
        }
        (self.old.at, self.new.at) = (old, new);
        rows
    }

    fn same_attributes<'a>(
        &self,
        old: Option<&'a RecordBatch>,
        new: Option<&'a RecordBatch>,
    ) -> Result<Option<Attributes<'a>>, ChangesError> {
        let (Some(places), Some(old), Some(new)) = (&self.attributes, old, new) else {
            return Ok(None);
        };
        let wrong = |error: ExportError| ChangesError::Type(error.to_string());
        let pairs = places.iter().enumerate().map(|(at, place)| {
            let name = new.schema_ref().field(at + 1).name();
            let newer = Values::of(name, new.column(at + 1)).map_err(wrong)?;
            let older = place.map(|place| Values::of(name, old.column(place)).map_err(wrong));
            Ok((older.transpose()?, newer))
        });
        Ok(Some(Attributes(pairs.collect::<Result<_, ChangesError>>()?)))
    }

    fn build(&self, rows: &[Row]) -> Result<RecordBatch, ChangesError> {
        let (old, new) = (self.old.batch.as_ref(), self.new.batch.as_ref());
        let sources: Vec<&dyn Array> =
            old.iter().chain(&new).map(|batch| batch.column(0).as_ref()).collect();
        let of_new = sources.len() - 1;
        let places = rows
            .iter()
            .map(|row| (if row.change == Change::Left { 0 } else { of_new }, row.at as usize));
        let key = interleave(&sources, &places.collect::<Vec<_>>())?;
        let change: StringArray = rows.iter().map(|row| Some(row.change.as_str())).collect();
        let mut columns: Vec<ArrayRef> = vec![key, Arc::new(change)];
        let taken: UInt32Array =
            rows.iter().map(|row| (row.change != Change::Left).then_some(row.at)).collect();
        for (at, field) in self.schema.fields().iter().enumerate().skip(2) {
            columns.push(match new {
                Some(new) => take(new.column(at - 1), &taken, None)?,
                None => new_null_array(field.data_type(), rows.len()),
            });
        }
        Ok(RecordBatch::try_new(self.schema(), columns)?)
    }
}

impl<O, N> Iterator for Changes<O, N>
where
    O: Iterator<Item = Result<RecordBatch, MembershipError>>,
    N: Iterator<Item = Result<RecordBatch, MembershipError>>,
{
    type Item = Result<RecordBatch, ChangesError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(Some(rows)) if rows.is_empty() => {}
                Ok(Some(rows)) => return Some(self.build(&rows)),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The attributes of two batches, side by side: the older one's is missing where it had no such column.
struct Attributes<'a>(Vec<(Option<Values<'a>>, Values<'a>)>);

impl Attributes<'_> {
    fn are(&self, old: usize, new: usize) -> bool {
        self.0
            .iter()
            .all(|(older, newer)| older.as_ref().is_some_and(|older| newer.same(new, older, old)))
    }
}

fn keys(batch: Option<&RecordBatch>) -> Result<Option<Keys<'_>>, ChangesError> {
    let Some(batch) = batch else { return Ok(None) };
    let wrong = || ChangesError::Type("the first column can be no key".to_owned());
    Keys::of(batch).ok_or_else(wrong).map(Some)
}

fn row(change: Change, at: usize) -> Row {
    // A batch has at most `BATCH_ROWS` rows.
    Row { change, at: u32::try_from(at).unwrap_or(u32::MAX) }
}
