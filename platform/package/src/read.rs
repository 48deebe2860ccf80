//! The entries of an archive, each as it must be.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;
use tar::{Archive, Entries, Entry, EntryType};

use crate::{
    error::PackageError,
    limits::{PACKAGE_BYTES_MAX, TAR_BYTES_MAX},
    manifest::too_large,
};

/// What a tar is read from: it ends where its bounds do, however well it was compressed.
type Unpacking<'a> = io::Take<GzDecoder<&'a [u8]>>;

pub(crate) type Tar<'a> = Archive<Unpacking<'a>>;

pub(crate) fn open(bytes: &[u8]) -> Result<Tar<'_>, PackageError> {
    too_large("the package", bytes.len() as u64, PACKAGE_BYTES_MAX)?;
    Ok(Archive::new(GzDecoder::new(bytes).take(TAR_BYTES_MAX)))
}

/// The entries one after the other. Extensions of tar, by which a name or a size could differ from the
/// header, are entries like others here, and refused like others that are no plain files.
pub(crate) struct Reader<'a, 'b> {
    entries: Entries<'a, Unpacking<'b>>,
    waiting: Option<Waiting<'a, 'b>>,
}

/// An entry whose header was looked at.
struct Waiting<'a, 'b> {
    name: String,
    bytes: u64,
    entry: Entry<'a, Unpacking<'b>>,
}

impl<'a, 'b> Reader<'a, 'b> {
    pub(crate) fn new(tar: &'a mut Tar<'b>) -> Result<Self, PackageError> {
        let entries = tar.entries().map_err(|error| PackageError::damaged(&error))?.raw(true);
        Ok(Self { entries, waiting: None })
    }

    /// Name of the next entry, unless the archive ends here.
    pub(crate) fn peek(&mut self) -> Result<Option<&str>, PackageError> {
        if self.waiting.is_none() {
            let Some(entry) = self.entries.next() else { return Ok(None) };
            let entry = entry.map_err(|error| PackageError::damaged(&error))?;
            let header = entry.header();
            let name = String::from_utf8(header.path_bytes().into_owned()).map_err(|error| {
                PackageError::refused("names in UTF-8", format!("{:?}", error.as_bytes()))
            })?;
            if header.entry_type() != EntryType::Regular {
                return Err(PackageError::refused(
                    "regular files only",
                    format!("`{}` of type {:?}", name.escape_debug(), header.entry_type()),
                ));
            }
            let bytes = header.size().map_err(|error| PackageError::damaged(&error))?;
            self.waiting = Some(Waiting { name, bytes, entry });
        }
        Ok(self.waiting.as_ref().map(|waiting| waiting.name.as_str()))
    }

    /// The content of the next entry, which has this name and at most this size.
    pub(crate) fn take(&mut self, expected: &str, bytes_max: u64) -> Result<Vec<u8>, PackageError> {
        self.peek()?;
        let Some(Waiting { name, bytes, mut entry }) = self.waiting.take() else {
            return Err(PackageError::refused(format!("`{expected}`"), "the end of the package"));
        };
        if name != expected {
            return Err(PackageError::refused(
                format!("`{expected}`"),
                format!("`{}`", name.escape_debug()),
            ));
        }
        too_large(&format!("`{expected}`"), bytes, bytes_max)?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(|error| PackageError::damaged(&error))?;
        if content.len() as u64 != bytes {
            return Err(PackageError::Damaged { found: "one that breaks off".to_owned() });
        }
        Ok(content)
    }
}

/// Nothing follows the last entry: neither in the tar nor behind the compressed part.
pub(crate) fn finish(tar: Tar<'_>) -> Result<(), PackageError> {
    let mut rest = tar.into_inner();
    let mut block = [0; 4096];
    loop {
        let count = rest.read(&mut block).map_err(|error| PackageError::damaged(&error))?;
        if count == 0 {
            break;
        }
        if block[..count].iter().any(|byte| *byte != 0) {
            return Err(PackageError::refused(
                "the end of the package",
                "more after its last file",
            ));
        }
    }
    match rest.into_inner().into_inner() {
        [] => Ok(()),
        more => Err(PackageError::refused(
            "the end of the package",
            format!("{} more bytes", more.len()),
        )),
    }
}
