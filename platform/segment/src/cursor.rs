//! Where a listing goes on: opaque to clients, and accepted only as it was given.
//!
//! A cursor names the materialisation, what is listed of it and the last key that was given, so the
//! pages of a listing fit together whatever is materialised meanwhile. Its seal is an HMAC over that, the
//! tenant and the segment: nobody can alter it, or use it for another segment.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cameo_domain::{Key, SegmentName, TenantName, key::is_string_key};
use ring::hmac;

/// Longest text of a cursor that is looked at: one with the longest key.
pub const CURSOR_BYTES_MAX: usize = 768;
/// What the seal is for, so that no other seal of the same secret is one.
const PURPOSE: &[u8] = b"cameo cursor 1";
const SEAL_BYTES: usize = 32;
/// Kind, two numbers and the type of the key.
const HEAD_BYTES: usize = 10;

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// All members of a materialisation.
    Members {
        /// Its number.
        materialisation: u32,
    },
    /// What changed between two of them.
    Changes {
        /// The older one's number; 0: everybody entered.
        since: u32,
        /// The newer one's number.
        materialisation: u32,
        /// Whether changed attributes are listed.
        attributes: bool,
    },
}

/// What is listed, and up to where it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// What is listed.
    pub listing: Listing,
    /// The last key that was given.
    pub after: Key,
}

/// Why a text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// The text has another shape.
    #[error("expected a cursor that an earlier page gave, found another text")]
    Shape,
    /// It was altered, or is of another segment or installation.
    #[error(
        "expected a cursor as an earlier page of this segment gave it; this one was altered or is \
         of another segment"
    )]
    Seal,
}

/// Seals cursors and opens them. All processes of an installation share its secret.
pub struct CursorKey(hmac::Key);

impl CursorKey {
    /// A key with this secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The text of a cursor of a segment.
    #[must_use]
    pub fn seal(&self, tenant: &TenantName, segment: &SegmentName, cursor: &Cursor) -> String {
        let mut bytes = cursor.to_bytes();
        let seal = hmac::sign(&self.0, &sealed(tenant, segment, &bytes));
        bytes.extend_from_slice(seal.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor that [`seal`](Self::seal) gave for the same segment.
    pub fn open(
        &self,
        tenant: &TenantName,
        segment: &SegmentName,
        text: &str,
    ) -> Result<Cursor, CursorError> {
        if text.len() > CURSOR_BYTES_MAX {
            return Err(CursorError::Shape);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::Shape)?;
        let end = bytes.len().checked_sub(SEAL_BYTES).ok_or(CursorError::Shape)?;
        let (bytes, seal) = bytes.split_at(end);
        let cursor = Cursor::from_bytes(bytes).ok_or(CursorError::Shape)?;
        hmac::verify(&self.0, &sealed(tenant, segment, bytes), seal)
            .map_err(|_| CursorError::Seal)?;
        Ok(cursor)
    }
}

fn sealed(tenant: &TenantName, segment: &SegmentName, bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(PURPOSE.len() + 128 + bytes.len());
    for part in [PURPOSE, tenant.as_str().as_bytes(), segment.as_str().as_bytes(), bytes] {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    all
}

impl Cursor {
    fn to_bytes(&self) -> Vec<u8> {
        let (kind, since, materialisation) = match self.listing {
            Listing::Members { materialisation } => (0, 0, materialisation),
            Listing::Changes { since, materialisation, attributes } => {
                (1 + u8::from(attributes), since, materialisation)
            }
        };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&since.to_be_bytes());
        bytes.extend_from_slice(&materialisation.to_be_bytes());
        match &self.after {
            Key::Int(key) => {
                bytes.push(0);
                bytes.extend_from_slice(&key.to_be_bytes());
            }
            Key::String(key) => {
                bytes.push(1);
                bytes.extend_from_slice(key.as_bytes());
            }
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, key) = bytes.split_at_checked(HEAD_BYTES)?;
        let number = |at: usize| Some(u32::from_be_bytes(head[at..at + 4].try_into().ok()?));
        let (since, materialisation) = (number(1)?, number(5)?);
        let listing = match head[0] {
            0 if since == 0 => Listing::Members { materialisation },
            kind @ (1 | 2) => Listing::Changes { since, materialisation, attributes: kind == 2 },
            _ => return None,
        };
        let after = match head[9] {
            0 => Key::Int(i64::from_be_bytes(key.try_into().ok()?)),
            1 => {
                let key = std::str::from_utf8(key).ok().filter(|key| is_string_key(key))?;
                Key::String(key.to_owned())
            }
            _ => return None,
        };
        Some(Self { listing, after })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(tenant: &str, segment: &str) -> (TenantName, SegmentName) {
        (tenant.parse().expect("a tenant"), segment.parse().expect("a segment"))
    }

    fn key() -> CursorKey {
        CursorKey::new(b"a secret of an installation")
    }

    fn cursors() -> impl Strategy<Value = Cursor> {
        let after =
            prop_oneof![any::<i64>().prop_map(Key::Int), "[^\\x00]{1,128}".prop_map(Key::String),];
        (any::<[u32; 2]>(), 0..3, after).prop_map(|([since, materialisation], kind, after)| {
            let listing = match kind {
                0 => Listing::Members { materialisation },
                kind => Listing::Changes { since, materialisation, attributes: kind == 2 },
            };
            Cursor { listing, after }
        })
    }

    proptest! {
        #[test]
        fn a_cursor_reads_back_for_its_segment_and_for_no_other(cursor in cursors()) {
            let (tenant, segment) = names("crm", "loyal");
            let text = key().seal(&tenant, &segment, &cursor);
            prop_assert!(text.len() <= CURSOR_BYTES_MAX);
            prop_assert_eq!(key().open(&tenant, &segment, &text), Ok(cursor));
            for (other, name) in [("crm", "loyal2"), ("crml", "oyal"), ("marketing", "loyal")] {
                let (other, name) = names(other, name);
                prop_assert_eq!(key().open(&other, &name, &text), Err(CursorError::Seal));
            }
            let stranger = CursorKey::new(b"another secret");
            prop_assert_eq!(stranger.open(&tenant, &segment, &text), Err(CursorError::Seal));
        }

        #[test]
        fn an_altered_cursor_is_refused(
            cursor in cursors(), at in any::<prop::sample::Index>(), other in "[0-9A-Za-z_-]",
        ) {
            let (tenant, segment) = names("crm", "loyal");
            let text = key().seal(&tenant, &segment, &cursor);
            let at = at.index(text.len());
            let mut altered = text.clone();
            altered.replace_range(at..=at, &other);
            prop_assume!(altered != text);
            prop_assert!(key().open(&tenant, &segment, &altered).is_err());
            prop_assert!(key().open(&tenant, &segment, &text[..at]).is_err());
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,900}", bytes in any::<Vec<u8>>()) {
            let (tenant, segment) = names("crm", "loyal");
            prop_assert!(key().open(&tenant, &segment, &text).is_err());
            let encoded = URL_SAFE_NO_PAD.encode(&bytes);
            prop_assert!(key().open(&tenant, &segment, &encoded).is_err());
            let _ = Cursor::from_bytes(&bytes);
        }
    }
}
