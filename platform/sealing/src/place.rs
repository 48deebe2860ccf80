//! The place of a value within its generation, which is authenticated with it.

/// Whom a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowKey<'k> {
    /// A key declared `INT`.
    Int(i64),
    /// A key declared `STRING`.
    Text(&'k str),
}

/// Writes the place of a value: column, key, and the rank of a service that ranks.
pub(crate) fn write(place: &mut Vec<u8>, column: &str, key: RowKey<'_>, rank: Option<i64>) {
    place.clear();
    with_length(place, column.as_bytes());
    match key {
        RowKey::Int(key) => {
            place.push(b'i');
            place.extend_from_slice(&key.to_be_bytes());
        }
        RowKey::Text(key) => {
            place.push(b's');
            with_length(place, key.as_bytes());
        }
    }
    if let Some(rank) = rank {
        place.push(b'r');
        place.extend_from_slice(&rank.to_be_bytes());
    }
}

/// Bytes with their length before them, so that no byte can move from one field to the next.
pub(crate) fn with_length(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    to.extend_from_slice(bytes);
}
