//! The formats and their names.

use std::{fmt, str::FromStr};

/// Rows of a piece of text: some hundred kilobytes.
const TEXT_ROWS: usize = 4_096;
/// Rows of a piece of columns: a batch of a membership file as it is.
const COLUMNAR_ROWS: usize = crate::membership::BATCH_ROWS;

/// What the bytes of an export are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One JSON object for each row, each on its line.
    Ndjson,
    /// Comma-separated values after RFC 4180, with a header.
    Csv,
    /// A Parquet file with groups of a bounded number of rows.
    Parquet,
    /// The Arrow IPC streaming format.
    Arrow,
    /// One user attributes object for each row, each on its line: see [`crate::braze`].
    Braze,
    /// The file that Braze's own importer takes.
    BrazeCsv,
}

impl Format {
    /// Every format, in the order in which docs list them.
    pub const ALL: [Self; 6] =
        [Self::Ndjson, Self::Csv, Self::Parquet, Self::Arrow, Self::Braze, Self::BrazeCsv];

    /// The spelling in the API and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Braze => "braze",
            Self::BrazeCsv => "braze_csv",
        }
    }

    /// The media type of the bytes.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Ndjson | Self::Braze => "application/x-ndjson",
            Self::Csv | Self::BrazeCsv => "text/csv; charset=utf-8; header=present",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// How a file of it is named after the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Ndjson | Self::Braze => "ndjson",
            Self::Csv | Self::BrazeCsv => "csv",
            Self::Parquet => "parquet",
            Self::Arrow => "arrows",
        }
    }

    /// Whether it is for Braze, with Braze's names.
    #[must_use]
    pub fn is_braze(self) -> bool {
        matches!(self, Self::Braze | Self::BrazeCsv)
    }

    /// Whether each row is a line of its own, so that what arrived of a broken download can be kept.
    #[must_use]
    pub fn is_lines(self) -> bool {
        matches!(self, Self::Ndjson | Self::Csv | Self::Braze | Self::BrazeCsv)
    }

    pub(super) fn piece_rows(self) -> usize {
        if self.is_lines() { TEXT_ROWS } else { COLUMNAR_ROWS }
    }
}

/// How the bytes are compressed. Parquet compresses its columns itself and is never compressed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::None, Self::Gzip, Self::Zstd];

    /// The spelling in the API, on the command line, and, but for none, in `Content-Encoding`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// What the name of a compressed file ends with.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// A word that names nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found `{found}`")]
pub struct FormatError {
    expected: &'static str,
    found: String,
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or_else(|| FormatError {
            expected: "a format of ndjson, csv, parquet, arrow, braze, braze_csv",
            found: text.to_owned(),
        })
    }
}

impl FromStr for Compression {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| FormatError {
            expected: "a compression of none, gzip, zstd",
            found: text.to_owned(),
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_reads_back_and_no_other_does() {
        for format in Format::ALL {
            assert_eq!(format.as_str().parse(), Ok(format));
        }
        for compression in Compression::ALL {
            assert_eq!(compression.as_str().parse(), Ok(compression));
        }
        let error = "xlsx".parse::<Format>().expect_err("no format");
        assert!(error.to_string().contains("parquet"), "{error}");
        assert!("br".parse::<Compression>().is_err());
    }
}
