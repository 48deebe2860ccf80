//! Opening the values of one generation.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use cameo_domain::{DataType, GenerationId, Key, PredictionSchema, ServicePath};
use cameo_store::lookup::Value;
use chrono::{DateTime, Days, NaiveDate};
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

use crate::{
    DataKey, PREFIX,
    place::{self, RowKey},
};

const VERSION_BYTES: usize = 4;

/// Why a value does not open. What it holds instead is not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Something that was never sealed, or was cut off.
    #[error("expected a sealed value in the column `{0}`, found something else")]
    NotSealed(String),
    /// It was changed, or sealed for another place.
    #[error("the value of the column `{0}` was changed, or moved here from another place")]
    Changed(String),
    /// It was sealed by another version of the tenant's key.
    #[error(
        "expected a value that was sealed by version {expected} of the tenant's key, found {found}"
    )]
    Version {
        /// The version at hand.
        expected: u32,
        /// The version that sealed it.
        found: u32,
    },
}

/// Opens the values of one generation.
pub struct Opener {
    version: u32,
    key: LessSafeKey,
}

/// The version of the tenant's key that sealed a text; `None` for a text that was not sealed.
pub(crate) fn version_of(text: &str) -> Option<u32> {
    // Eight digits of base64 are six bytes, of which four are the version.
    let start = text.strip_prefix(PREFIX)?.get(..8)?;
    let bytes = BASE64.decode(start).ok()?;
    Some(u32::from_be_bytes(*bytes.first_chunk::<VERSION_BYTES>()?))
}

impl Opener {
    /// For the values of a generation; `None` where no key can be derived.
    #[must_use]
    pub fn new(key: &DataKey, path: &ServicePath, generation: GenerationId) -> Option<Self> {
        Some(Self { version: key.version(), key: key.of(path, generation)? })
    }

    /// Opens the sensitive ones among the values of a key: in declared order, of a service that ranks one
    /// row after the other.
    ///
    /// # Errors
    /// [`OpenError`] for the first value that does not open; the values are then of no use.
    pub fn open(
        &self,
        schema: &PredictionSchema,
        key: &Key,
        values: &mut [Value],
    ) -> Result<(), OpenError> {
        let key = match key {
            Key::Int(key) => RowKey::Int(*key),
            Key::String(key) => RowKey::Text(key),
        };
        let mut at = Vec::new();
        for row in values.chunks_exact_mut(schema.predictions().len()) {
            let rank = match (schema.top_n(), row.first()) {
                (Some(_), Some(Value::Int(rank))) => Some(*rank),
                _ => None,
            };
            for sensitive in schema.sensitive() {
                let column = sensitive.name.as_str();
                let not_sealed = || OpenError::NotSealed(column.to_owned());
                let Value::Text(text) = &row[sensitive.at] else { return Err(not_sealed()) };
                place::write(&mut at, column, key, rank);
                let opened = self.open_text(column, text, &at)?;
                row[sensitive.at] =
                    value_of(sensitive.data_type, &opened).ok_or_else(not_sealed)?;
            }
        }
        Ok(())
    }

    fn open_text(&self, column: &str, text: &str, place: &[u8]) -> Result<Vec<u8>, OpenError> {
        let not_sealed = || OpenError::NotSealed(column.to_owned());
        let sealed = text.strip_prefix(PREFIX).ok_or_else(not_sealed)?;
        let sealed = BASE64.decode(sealed).map_err(|_| not_sealed())?;
        let (version, rest) = sealed.split_first_chunk::<VERSION_BYTES>().ok_or_else(not_sealed)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(not_sealed)?;
        let found = u32::from_be_bytes(*version);
        if found != self.version {
            return Err(OpenError::Version { expected: self.version, found });
        }
        let mut rest = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(place), &mut rest)
            .map_err(|_| OpenError::Changed(column.to_owned()))?
            .len();
        rest.truncate(opened);
        Ok(rest)
    }
}

/// The counterpart of `write_value` where batches are sealed.
fn value_of(declared: DataType, opened: &[u8]) -> Option<Value> {
    let (present, bytes) = opened.split_first()?;
    if *present == 0 {
        return Some(Value::Null);
    }
    Some(match declared {
        DataType::Int => Value::Int(i64::from_be_bytes(bytes.try_into().ok()?)),
        DataType::Float64 => {
            Value::Float(f64::from_bits(u64::from_be_bytes(bytes.try_into().ok()?)))
        }
        DataType::Bool => Value::Bool(*bytes.first()? == 1),
        DataType::String => Value::Text(std::str::from_utf8(bytes).ok()?.to_owned()),
        DataType::Json => Value::Json(std::str::from_utf8(bytes).ok()?.to_owned()),
        DataType::Date => Value::Date(day(i32::from_be_bytes(bytes.try_into().ok()?))?),
        DataType::Timestamp => {
            let micros = i64::from_be_bytes(bytes.try_into().ok()?);
            Value::Timestamp(DateTime::from_timestamp_micros(micros)?)
        }
    })
}

/// Days since 1970-01-01 as a day.
fn day(days: i32) -> Option<NaiveDate> {
    let epoch = DateTime::UNIX_EPOCH.date_naive();
    let distance = Days::new(u64::from(days.unsigned_abs()));
    if days < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener(version {})", self.version)
    }
}
