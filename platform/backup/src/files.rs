//! Files of a backup: written once, hashed as they go, and safe on the disk before the backup has its name.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use cameo_domain::Sha256;
use sha2::Digest;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::BackupError;

/// A backup has the hashes of keys, secrets of webhooks, and every prediction.
const FILE_MODE: u32 = 0o600;
/// Bytes that are handed over at once.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks that wait for the other side, which bounds the memory.
const CHUNKS_WAITING_MAX: usize = 4;
/// Quick, and about a quarter of the text of predictions.
const COMPRESSION_LEVEL: i32 = 1;

/// Hashes what is written through it.
struct Hashing<W> {
    inner: W,
    hasher: sha2::Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Lines of a table on their way into a file.
pub(crate) struct LineWriter {
    full: mpsc::Sender<Vec<u8>>,
    buffer: Vec<u8>,
    rows: u64,
    writing: JoinHandle<Result<Sha256, BackupError>>,
}

impl LineWriter {
    pub(crate) fn create(path: PathBuf) -> Self {
        let (full, received) = mpsc::channel(CHUNKS_WAITING_MAX);
        let writing = tokio::task::spawn_blocking(move || {
            write_compressed(&path, received).map_err(BackupError::io("write", &path))
        });
        Self { full, buffer: Vec::with_capacity(CHUNK_BYTES), rows: 0, writing }
    }

    /// Adds whole lines or parts of them. An error is told by [`LineWriter::finish`].
    pub(crate) async fn write(&mut self, lines: &[u8]) {
        // Within a value COPY writes the end of a line as two characters.
        self.rows += lines.split(|byte| *byte == b'\n').count() as u64 - 1;
        self.buffer.extend_from_slice(lines);
        if self.buffer.len() >= CHUNK_BYTES {
            let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
            let _ = self.full.send(full).await;
        }
    }

    /// The rows, and the digest of the file, which is on the disk then.
    pub(crate) async fn finish(self) -> Result<(u64, Sha256), BackupError> {
        let Self { full, buffer, rows, writing } = self;
        let _ = full.send(buffer).await;
        drop(full);
        let digest = writing.await.map_err(|_| BackupError::Ended)??;
        Ok((rows, digest))
    }
}

fn write_compressed(path: &Path, mut received: mpsc::Receiver<Vec<u8>>) -> io::Result<Sha256> {
    let hashing = Hashing { inner: create(path)?, hasher: sha2::Sha256::new() };
    let mut encoder = zstd::stream::write::Encoder::new(hashing, COMPRESSION_LEVEL)?;
    while let Some(chunk) = received.blocking_recv() {
        encoder.write_all(&chunk)?;
    }
    let Hashing { inner, hasher } = encoder.finish()?;
    inner.sync_all()?;
    Ok(digest_of(hasher))
}

/// The chunks of a table's lines, out of its file.
pub(crate) fn read_lines(path: PathBuf) -> mpsc::Receiver<Result<Vec<u8>, BackupError>> {
    let (sender, received) = mpsc::channel(CHUNKS_WAITING_MAX);
    tokio::task::spawn_blocking(move || {
        let send = |chunk| sender.blocking_send(chunk).is_ok();
        let read = || -> io::Result<()> {
            let mut decoder = zstd::stream::read::Decoder::new(File::open(&path)?)?;
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let count = decoder.read(&mut chunk)?;
                chunk.truncate(count);
                if count == 0 || !send(Ok(chunk)) {
                    return Ok(());
                }
            }
        };
        if let Err(source) = read() {
            // A reader that went away needs no reason.
            let _ = send(Err(BackupError::io("read", &path)(source)));
        }
    });
    received
}

/// Writes a small file.
pub(crate) async fn write_small(path: PathBuf, content: Vec<u8>) -> Result<Sha256, BackupError> {
    let written = tokio::task::spawn_blocking(move || {
        let write = || -> io::Result<()> {
            let mut file = create(&path)?;
            file.write_all(&content)?;
            file.sync_all()
        };
        write().map(|()| Sha256::of(&content)).map_err(BackupError::io("write", &path))
    });
    written.await.map_err(|_| BackupError::Ended)?
}

/// The digest of what is in a file.
pub(crate) async fn digest_file(path: PathBuf) -> Result<Sha256, BackupError> {
    let digested = tokio::task::spawn_blocking(move || {
        let digest = || -> io::Result<Sha256> {
            let mut hashing = Hashing { inner: io::sink(), hasher: sha2::Sha256::new() };
            io::copy(&mut File::open(&path)?, &mut hashing)?;
            Ok(digest_of(hashing.hasher))
        };
        digest().map_err(BackupError::io("read", &path))
    });
    digested.await.map_err(|_| BackupError::Ended)?
}

/// Makes sure that a file or the names in a folder outlive a power cut.
pub(crate) fn flush(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(BackupError::io("flush", path))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)
}

fn digest_of(hasher: sha2::Sha256) -> Sha256 {
    Sha256::from(<[u8; 32]>::from(hasher.finalize()))
}
