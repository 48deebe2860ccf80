//! An Arrow IPC file in mapped memory, its batches where they lie.

use std::{collections::HashMap, fs::File, path::Path, sync::Arc};

use arrow::{
    array::RecordBatch,
    buffer::Buffer,
    datatypes::SchemaRef,
    ipc::{
        Block,
        convert::fb_to_schema,
        reader::{FileDecoder, read_footer_length},
        root_as_footer,
    },
};
use bytes::Bytes;
use cameo_domain::Sha256;
use memmap2::Mmap;

use crate::SnapshotError;

/// Bytes behind the footer: its length, and the mark of an Arrow file.
const TRAILER_BYTES: usize = 10;

/// A verified Arrow IPC file. Its memory is the page cache's; it stays mapped as long as any of its batches
/// lives, also when the file is deleted.
#[derive(Debug)]
pub struct MappedFile {
    bytes: Buffer,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    metadata: HashMap<String, String>,
}

impl MappedFile {
    /// Maps a file whose content must have the digest `expected`, and checks that it is a whole Arrow file whose
    /// buffers can be used where they lie. It reads the whole file.
    ///
    /// The file must be one that nobody writes to in place: files are immutable, and replaced by renaming.
    pub fn open(path: &Path, expected: &Sha256) -> Result<Self, SnapshotError> {
        let bytes = map(path)?;
        let found = Sha256::of(&bytes);
        if found != *expected {
            return Err(SnapshotError::Damaged { path: path.into(), expected: *expected, found });
        }
        Self::read(Buffer::from(bytes)).map_err(|found| SnapshotError::NotASnapshot {
            path: path.into(),
            expected: "an Arrow IPC file",
            found,
        })
    }

    /// Finds the batches by the footer; the error says what is there instead.
    fn read(bytes: Buffer) -> Result<Self, String> {
        let trailer = bytes.last_chunk::<TRAILER_BYTES>().ok_or("fewer bytes than a trailer")?;
        let footer_bytes = read_footer_length(*trailer).map_err(|error| error.to_string())?;
        let end = bytes.len() - TRAILER_BYTES;
        let start = end.checked_sub(footer_bytes).ok_or("a footer longer than the file")?;
        let footer = root_as_footer(&bytes[start..end]).map_err(|error| error.to_string())?;
        let schema = Arc::new(fb_to_schema(footer.schema().ok_or("no schema")?));
        if footer.dictionaries().is_some_and(|list| !list.is_empty()) {
            return Err("dictionaries".to_owned());
        }
        // Refuses what would have to be copied to be aligned.
        let decoder =
            FileDecoder::new(Arc::clone(&schema), footer.version()).with_require_alignment(true);
        let batches = footer.recordBatches().into_iter().flatten().map(|block| {
            let data = slice(&bytes[..start], block).ok_or("a batch beyond the file")?;
            let data = bytes.slice_with_length(data.0, data.1);
            let batch =
                decoder.read_record_batch(block, &data).map_err(|error| error.to_string())?;
            batch.ok_or_else(|| "a message that is no batch".to_owned())
        });
        let batches = batches.collect::<Result<Vec<_>, String>>()?;
        let metadata = footer.custom_metadata().into_iter().flatten();
        let metadata = metadata
            .filter_map(|pair| Some((pair.key()?.to_owned(), pair.value()?.to_owned())))
            .collect();
        Ok(Self { bytes, schema, batches, metadata })
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The batches in the order in which they were written.
    #[must_use]
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// What the footer says besides.
    #[must_use]
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// How large the file is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The whole file.
    pub(crate) fn content(&self) -> &Buffer {
        &self.bytes
    }
}

/// Offset and length of a block, where it lies within `bytes`.
fn slice(bytes: &[u8], block: &Block) -> Option<(usize, usize)> {
    let offset = usize::try_from(block.offset()).ok()?;
    let head = usize::try_from(block.metaDataLength()).ok()?;
    let length = head.checked_add(usize::try_from(block.bodyLength()).ok()?)?;
    bytes.get(offset..offset.checked_add(length)?)?;
    // A message begins with a mark and its length.
    (head >= 8).then_some((offset, length))
}

#[expect(
    unsafe_code,
    reason = "a map is sound while nobody writes to the file: files are written under another name, renamed \
              when they are whole, and deleted, which leaves maps alone"
)]
fn map(path: &Path) -> Result<Bytes, SnapshotError> {
    let failed = |doing| move |source| SnapshotError::Io { path: path.to_owned(), doing, source };
    let file = File::open(path).map_err(failed("open"))?;
    // An empty file cannot be mapped.
    if file.metadata().map_err(failed("open"))?.len() == 0 {
        return Ok(Bytes::new());
    }
    let map = unsafe { Mmap::map(&file) }.map_err(failed("map"))?;
    Ok(Bytes::from_owner(map))
}
