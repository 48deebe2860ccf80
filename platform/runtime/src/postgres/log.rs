//! The server's log: a file of bounded size, and its last lines for error messages.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::PostgresError;

/// At this size the file becomes `postgres.log.1` and a new one begins.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Lines that an error message quotes.
const TAIL_LINES_MAX: usize = 12;
/// A longer line is cut into lines of this length.
const LINE_BYTES_MAX: u64 = 16 * 1024;

/// A log file that never takes more than twice [`LOG_BYTES_MAX`].
#[derive(Debug, Clone)]
pub(super) struct BoundedLog(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    bytes: u64,
    tail: VecDeque<String>,
}

impl BoundedLog {
    pub(super) fn open(path: PathBuf) -> Result<Self, PostgresError> {
        let (file, bytes) = append(&path).map_err(PostgresError::io("open the log", &path))?;
        Ok(Self(Arc::new(Mutex::new(Inner { path, file, bytes, tail: VecDeque::new() }))))
    }

    pub(super) fn path(&self) -> PathBuf {
        self.lock().path.clone()
    }

    /// The last lines since the last [`forget_tail`](Self::forget_tail).
    pub(super) fn tail(&self) -> String {
        let inner = self.lock();
        inner.tail.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    pub(super) fn forget_tail(&self) {
        self.lock().tail.clear();
    }

    /// Copies what the server writes until the last process that holds the pipe has ended.
    pub(super) fn follow(&self, output: impl Read + Send + 'static) -> Option<JoinHandle<()>> {
        let log = self.clone();
        let copy = move || {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            while let Ok(1..) = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                log.write(&line);
                line.clear();
            }
        };
        thread::Builder::new().name("cameo-postgres-log".to_owned()).spawn(copy).ok()
    }

    fn write(&self, line: &[u8]) {
        let mut inner = self.lock();
        inner.tail.push_back(String::from_utf8_lossy(line).trim_end().to_owned());
        if inner.tail.len() > TAIL_LINES_MAX {
            inner.tail.pop_front();
        }
        // A full disk must not stop the reading: the server would block on the pipe.
        let _ = inner.append(line);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn append(&mut self, line: &[u8]) -> std::io::Result<()> {
        if self.bytes >= LOG_BYTES_MAX {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            (self.file, self.bytes) = append(&self.path)?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

fn append(path: &Path) -> std::io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_its_bound_and_the_last_lines() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = BoundedLog::open(dir.path().join("postgres.log")).expect("a log");
        let text: String =
            (0..40_000).fold(String::new(), |text, line| text + &format!("{line:0600}\n"));
        let reader = log.follow(std::io::Cursor::new(text)).expect("a thread");
        reader.join().expect("all is read");
        let bytes = |name: &str| fs::metadata(dir.path().join(name)).expect("the file").len();
        assert!(bytes("postgres.log") <= LOG_BYTES_MAX + LINE_BYTES_MAX);
        assert!(bytes("postgres.log.1") <= LOG_BYTES_MAX + LINE_BYTES_MAX);
        assert!(log.tail().ends_with("39999"));
        assert_eq!(log.tail().lines().count(), TAIL_LINES_MAX);
    }
}
