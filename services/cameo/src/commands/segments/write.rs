//! Where the rows of a listing go.

use std::{
    io::{self, ErrorKind, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use serde_json::Value;

use super::source::{Listing, Source, Written};
use crate::cli::{File, SegmentNamed};

/// Writes the rows to the file, which appears under its name when it is whole, or to standard output.
pub(super) async fn to_file(
    source: &Source,
    of: &SegmentNamed,
    listing: &Listing,
    file: &File,
) -> anyhow::Result<Written> {
    let shape = file.shape();
    let Some(path) = &file.to else {
        return source.write(&of.tenant, &of.segment, listing, shape, Standard).await;
    };
    let unwritten = || format!("could not write {}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let part = tempfile::NamedTempFile::new_in(folder).with_context(unwritten)?;
    let rows = io::BufWriter::new(part.reopen().with_context(unwritten)?);
    let written = source.write(&of.tenant, &of.segment, listing, shape, rows).await?;
    part.as_file().sync_all().with_context(unwritten)?;
    part.persist(path).with_context(unwritten)?;
    Ok(written)
}

/// Standard output. A reader who has seen enough (`| head`) is no error.
struct Standard;

impl Write for Standard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match io::stdout().lock().write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match io::stdout().lock().flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}

/// Rows that are kept in memory: a few.
#[derive(Clone, Default)]
pub(super) struct Collected(Arc<Mutex<Vec<u8>>>);

impl Collected {
    /// Each line as JSON.
    pub(super) fn lines(&self) -> anyhow::Result<Vec<Value>> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let read = lines.map(|line| serde_json::from_slice(line).context("a row is no JSON"));
        read.collect()
    }
}

impl Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
