//! The file of a segment's members.
//!
//! A *materialisation* is who was a member at one time, as one immutable Arrow IPC file (the *file*
//! format, uncompressed, little-endian), kept in the artifact store by the hash of its bytes:
//!
//! - one row for each member, no others, sorted by key: `INT` by value, `STRING` by bytes. A key
//!   occurs once and is never null.
//! - the first column is the key, under the name that the first of the services gives it (by their
//!   names' order).
//! - then one column for each attribute that the segment names, called `service.column`, with the
//!   Arrow type that [`cameo_batch::arrow_type`] gives. A customer whom a service does not know has
//!   nulls there.
//! - batches of at most [`BATCH_ROWS`] rows.
//! - the schema's metadata say what it is ([`Label`]): `tenant`, `segment`, `number`, `as_of`
//!   (RFC 3339) and `generations` (a JSON object from service to generation).

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufReader, BufWriter, Write},
    path::Path,
    sync::Arc,
};

use arrow::{
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    ipc::{reader::FileReader, writer::FileWriter},
    record_batch::RecordBatch,
};
use cameo_domain::{GenerationId, SegmentName, ServiceName, TenantName};
use chrono::{DateTime, SecondsFormat, Utc};

/// Most rows of a batch: bounds what a reader holds at a time.
pub const BATCH_ROWS: usize = 65_536;

/// What a membership file is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Whose segment it is.
    pub tenant: TenantName,
    /// Which of the tenant's segments.
    pub segment: SegmentName,
    /// The materialisation's number within the segment, from 1.
    pub number: u32,
    /// The oldest time of prediction among the generations: nothing in the file is older.
    pub as_of: DateTime<Utc>,
    /// From what it was made.
    pub generations: BTreeMap<ServiceName, GenerationId>,
}

/// Why a membership file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The file cannot be opened.
    #[error("the membership file {path} cannot be opened")]
    Open {
        /// Where it was expected.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is no Arrow file, or it cannot be written.
    #[error("the membership file is not sound")]
    Arrow(#[from] ArrowError),
    /// An entry of the metadata is missing or says something else.
    #[error("expected `{entry}` in the metadata of the membership file, found `{found}`")]
    Metadata {
        /// Which entry.
        entry: &'static str,
        /// What is there; empty where nothing is.
        found: String,
    },
}

impl Label {
    fn metadata(&self) -> HashMap<String, String> {
        let generations: BTreeMap<&str, i64> =
            self.generations.iter().map(|(service, id)| (service.as_str(), id.0)).collect();
        HashMap::from([
            ("tenant".to_owned(), self.tenant.to_string()),
            ("segment".to_owned(), self.segment.to_string()),
            ("number".to_owned(), self.number.to_string()),
            ("as_of".to_owned(), self.as_of.to_rfc3339_opts(SecondsFormat::Micros, true)),
            ("generations".to_owned(), serde_json::json!(generations).to_string()),
        ])
    }

    fn from_metadata(metadata: &HashMap<String, String>) -> Result<Self, MembershipError> {
        Ok(Self {
            tenant: entry(metadata, "tenant", |text| text.parse().ok())?,
            segment: entry(metadata, "segment", |text| text.parse().ok())?,
            number: entry(metadata, "number", |text| text.parse().ok())?,
            as_of: entry(metadata, "as_of", |text| text.parse().ok())?,
            generations: entry(metadata, "generations", |text| serde_json::from_str(text).ok())?,
        })
    }
}

fn entry<T>(
    metadata: &HashMap<String, String>,
    entry: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, MembershipError> {
    let found = metadata.get(entry).cloned().unwrap_or_default();
    parse(&found).ok_or(MembershipError::Metadata { entry, found })
}

/// Writes a membership file, batch by batch.
pub struct MembershipWriter<W: Write> {
    file: FileWriter<BufWriter<W>>,
    members: u64,
}

impl<W: Write> MembershipWriter<W> {
    /// Begins a file whose rows have the columns of `schema`: the key, then the attributes.
    pub fn new(to: W, label: &Label, schema: &Schema) -> Result<Self, MembershipError> {
        let schema = Schema::new_with_metadata(schema.fields().clone(), label.metadata());
        Ok(Self { file: FileWriter::try_new_buffered(to, &schema)?, members: 0 })
    }

    /// Appends members, sorted after those before.
    pub fn write(&mut self, members: &RecordBatch) -> Result<(), MembershipError> {
        let mut at = 0;
        while at < members.num_rows() {
            let rows = BATCH_ROWS.min(members.num_rows() - at);
            self.file.write(&members.slice(at, rows))?;
            at += rows;
        }
        self.members += members.num_rows() as u64;
        Ok(())
    }

    /// Ends the file. Returns how many members it has.
    pub fn finish(mut self) -> Result<u64, MembershipError> {
        self.file.finish()?;
        self.file.flush()?;
        Ok(self.members)
    }
}

/// An open membership file. Reads one batch at a time, so memory stays flat.
///
/// The bytes are the caller's to verify against their hash, as with all artifacts.
pub struct Membership {
    file: FileReader<BufReader<File>>,
    label: Label,
}

impl Membership {
    /// Opens the file at `path`.
    pub fn open(path: &Path) -> Result<Self, MembershipError> {
        let file = File::open(path)
            .map_err(|source| MembershipError::Open { path: path.display().to_string(), source })?;
        let file = FileReader::try_new_buffered(file, None)?;
        let label = Label::from_metadata(file.schema().metadata())?;
        Ok(Self { file, label })
    }

    /// What it is about.
    #[must_use]
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// The key, then the attributes.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let schema = self.file.schema();
        Arc::new(Schema::new(schema.fields().clone()))
    }

    /// How many batches it has.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.file.num_batches()
    }

    /// One batch, by its position from 0.
    pub fn batch(&mut self, at: usize) -> Result<Option<RecordBatch>, MembershipError> {
        if at >= self.file.num_batches() {
            return Ok(None);
        }
        self.file.set_index(at)?;
        let Some(batch) = self.file.next().transpose()? else { return Ok(None) };
        // The label is said once, by the file.
        Ok(Some(RecordBatch::try_new(self.schema(), batch.columns().to_vec())?))
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Float64Array, Int64Array},
        datatypes::{DataType, Field},
    };

    use super::*;

    fn label() -> Label {
        Label {
            tenant: "marketing".parse().expect("a tenant"),
            segment: "loyal".parse().expect("a segment"),
            number: 3,
            as_of: "2026-03-01T02:30:00.123456Z".parse().expect("a time"),
            generations: BTreeMap::from([("clv".parse().expect("a service"), GenerationId(17))]),
        }
    }

    fn members(from: i64, to: i64) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("customer_id", DataType::Int64, false),
            Field::new("clv.score", DataType::Float64, true),
        ]);
        let keys: Int64Array = (from..to).collect();
        let scores: Float64Array = (from..to).map(|key| (key % 7 > 0).then_some(0.5)).collect();
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(keys), Arc::new(scores)])
            .expect("a batch")
    }

    #[test]
    fn a_file_reads_back_batch_by_batch_with_its_label() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("members.arrow");
        let full = i64::try_from(BATCH_ROWS).expect("a small number");
        let rows = full + 5;
        let file = File::create(&path).expect("a file");
        let all = members(0, rows);
        let mut writer = MembershipWriter::new(file, &label(), &all.schema()).expect("a writer");
        writer.write(&all).expect("written");
        writer.write(&members(rows, rows + 10)).expect("written");
        assert_eq!(writer.finish().expect("a whole file"), BATCH_ROWS as u64 + 15);

        let mut file = Membership::open(&path).expect("a membership file");
        assert_eq!(file.label(), &label());
        assert_eq!(file.schema(), all.schema());
        assert_eq!(file.batches(), 3);
        let second = file.batch(1).expect("readable").expect("a batch");
        assert_eq!(second, members(full, rows));
        assert_eq!(file.batch(3).expect("readable"), None);
    }

    #[test]
    fn a_file_without_a_label_is_no_membership_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("members.arrow");
        let all = members(0, 3);
        let mut writer = FileWriter::try_new(File::create(&path).expect("a file"), &all.schema())
            .expect("a writer");
        writer.write(&all).expect("written");
        writer.finish().expect("a whole file");
        assert!(matches!(
            Membership::open(&path),
            Err(MembershipError::Metadata { entry: "tenant", .. })
        ));
    }
}
