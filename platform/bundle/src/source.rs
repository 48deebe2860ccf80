//! Reading the text files of a bundle, and places within them.

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    code::Code,
    diagnostic::{Diagnostic, Span},
};

/// Largest config, tenant, SQL or card file.
pub const TEXT_BYTES_MAX: u64 = 256 * 1024;

/// A text file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// Its text.
    pub text: Arc<str>,
}

impl SourceFile {
    /// A file of which the text is known.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<Arc<str>>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// Reads a UTF-8 file of at most [`TEXT_BYTES_MAX`].
    ///
    /// # Errors
    /// A diagnostic about the file: missing, unreadable, too large or not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Box<Diagnostic>> {
        Self::read_as(path, path)
    }

    /// Reads the file at `real` and calls it `path`, as the bundle's author does.
    pub(crate) fn read_as(real: &Path, path: &Path) -> Result<Self, Box<Diagnostic>> {
        let unreadable = |error: &io::Error| {
            let code = match error.kind() {
                io::ErrorKind::NotFound => Code::FileMissing,
                _ => Code::FileUnreadable,
            };
            Box::new(Diagnostic::of_file(
                code,
                path,
                match code {
                    Code::FileMissing => "the file is missing".to_owned(),
                    _ => format!("the file cannot be read: {}", error.kind()),
                },
            ))
        };
        // A pipe or a device could block for ever when opened.
        let metadata = std::fs::metadata(real).map_err(|error| unreadable(&error))?;
        if !metadata.is_file() {
            let message = "expected a regular file";
            return Err(Box::new(Diagnostic::of_file(Code::FileUnreadable, path, message)));
        }
        let mut bytes = Vec::new();
        File::open(real)
            .and_then(|file| file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| unreadable(&error))?;
        if bytes.len() as u64 > TEXT_BYTES_MAX {
            let message = format!("the file has {} bytes", metadata.len().max(TEXT_BYTES_MAX + 1));
            let diagnostic = Diagnostic::of_file(Code::FileTooLarge, path, message)
                .expected(format!("at most {TEXT_BYTES_MAX} bytes"));
            return Err(Box::new(diagnostic));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(path, text)),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let source = Self::new(path, String::from_utf8_lossy(error.as_bytes()));
                let found = error.as_bytes().get(valid).copied().unwrap_or_default();
                Err(Box::new(
                    Diagnostic::at(
                        Code::NotUtf8,
                        &source,
                        source.span(valid..valid + 1),
                        format!("byte {valid} (0x{found:02x}) is not UTF-8"),
                    )
                    .expected("UTF-8 text"),
                ))
            }
        }
    }

    /// The place of a range of bytes, cut at the end of its first line. Any range is accepted.
    #[must_use]
    pub fn span(&self, range: Range<usize>) -> Span {
        let text = &*self.text;
        let offset = text.floor_char_boundary(range.start);
        let rest = &text[offset..];
        let line_end = offset + rest.find(['\n', '\r']).unwrap_or(rest.len());
        let end = text.ceil_char_boundary(range.end).clamp(offset, line_end);
        let line_start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
        Span {
            offset,
            len: end - offset,
            line: text[..offset].matches('\n').count() + 1,
            column: text[line_start..offset].chars().count() + 1,
        }
    }

    /// The place of a line and column, both from 1, up to the end of the word there.
    #[must_use]
    pub fn span_at(&self, line: usize, column: usize) -> Span {
        let line_start = self
            .text
            .split_inclusive('\n')
            .take(line.saturating_sub(1))
            .map(str::len)
            .sum::<usize>();
        let rest = self.text[line_start..].lines().next().unwrap_or_default();
        let skipped =
            rest.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum::<usize>();
        let word = rest[skipped..]
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len() - skipped);
        self.span(line_start + skipped..line_start + skipped + word.max(1))
    }

    /// The first place of the file.
    #[must_use]
    pub fn start(&self) -> Span {
        self.span(0..0)
    }

    /// A line, from 1, without its end.
    #[must_use]
    pub fn line(&self, line: usize) -> &str {
        self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_lines_and_characters() {
        let source = SourceFile::new("x", "a: 1\nü: [b, c]\n");
        let at = source.text.find('[').expect("a bracket");
        let span = source.span(at..at + 100);
        assert_eq!((span.line, span.column, span.len), (2, 4, 6));
        assert_eq!(source.span(999..1000).line, 3);
        let span = source.span_at(2, 5);
        assert_eq!(&source.text[span.offset..span.offset + span.len], "b");
    }
}
