//! Frames between a parent and its child: a number, a header in JSON, and parts of bytes.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

/// Longest header.
const HEADER_BYTES_MAX: u64 = 64 << 20;
/// Most parts.
const PARTS_MAX: u64 = 4;
/// Longest part: a model of the largest size that is read, or a batch of the widest outputs.
const PART_BYTES_MAX: u64 = 1 << 30;
/// What is set aside for a part before any of it has come.
const PART_BYTES_AT_ONCE: u64 = 64 << 20;

/// A message with its number: an answer has that of its question.
pub(crate) struct Frame<M> {
    pub(crate) number: u64,
    pub(crate) message: M,
    pub(crate) parts: Vec<Vec<u8>>,
}

/// Writes a frame whole; nobody else may write meanwhile.
pub(crate) fn write(
    to: &mut impl Write,
    number: u64,
    message: &impl Serialize,
    parts: &[&[u8]],
) -> io::Result<()> {
    let header = serde_json::to_vec(message)?;
    let mut head = Vec::with_capacity(24 + 8 * parts.len() + header.len());
    let mut count = |number: u64| head.extend_from_slice(&number.to_le_bytes());
    count(number);
    count(header.len() as u64);
    count(parts.len() as u64);
    for part in parts {
        count(part.len() as u64);
    }
    head.extend_from_slice(&header);
    to.write_all(&head)?;
    parts.iter().try_for_each(|part| to.write_all(part))
}

/// The next frame; none where the other side has ended.
///
/// # Errors
/// Of the pipe, and [`io::ErrorKind::InvalidData`] for what is no frame.
pub(crate) fn read<M: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<Frame<M>>> {
    let Some(number) = first_number(from)? else { return Ok(None) };
    let header = bounded(number_of(from)?, HEADER_BYTES_MAX, "the header")?;
    let count = bounded(number_of(from)?, PARTS_MAX, "the number of parts")?;
    let mut lengths = Vec::new();
    for _ in 0..count {
        lengths.push(bounded(number_of(from)?, PART_BYTES_MAX, "a part")?);
    }
    let header = bytes(from, header)?;
    let message = serde_json::from_slice(&header)?;
    let parts = lengths.into_iter().map(|length| bytes(from, length));
    Ok(Some(Frame { number, message, parts: parts.collect::<io::Result<_>>()? }))
}

fn first_number(from: &mut impl Read) -> io::Result<Option<u64>> {
    let mut bytes = [0; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        match from.read(&mut bytes[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(u64::from_le_bytes(bytes)))
}

fn number_of(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn bounded(found: u64, limit: u64, what: &str) -> io::Result<u64> {
    if found <= limit {
        return Ok(found);
    }
    Err(invalid(format!("{what} is {found}, the limit is {limit}")))
}

/// A length is only believed as its bytes arrive.
fn bytes(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes =
        Vec::with_capacity(usize::try_from(length.min(PART_BYTES_AT_ONCE)).unwrap_or_default());
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

pub(crate) fn invalid(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(message: &str, parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, 7, &message, parts).expect("memory");
        bytes
    }

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let long = vec![0; 70_000];
        let bytes = written("how are you", &[b"", b"three", &long]);
        let mut from = bytes.as_slice();
        let frame = read::<String>(&mut from).expect("a frame").expect("one");
        assert_eq!((frame.number, frame.message.as_str()), (7, "how are you"));
        assert_eq!(frame.parts, [b"".to_vec(), b"three".to_vec(), long]);
        assert!(read::<String>(&mut from).expect("an end").is_none());
    }

    #[test]
    fn a_frame_that_breaks_off_is_an_error_wherever_it_does() {
        let bytes = written("hello", &[b"part"]);
        for end in 1..bytes.len() {
            assert!(read::<String>(&mut &bytes[..end]).is_err(), "{end} of {}", bytes.len());
        }
    }

    #[test]
    fn lengths_that_lie_are_refused_before_anything_is_set_aside() {
        for at in [8, 16, 24] {
            let mut bytes = written("hello", &[b"part"]);
            bytes[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
            let error = read::<String>(&mut bytes.as_slice()).err().expect("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
    }
}
