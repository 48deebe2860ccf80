//! Values of headers that are made for each answer.

use std::{fmt, io::Write};

use axum::http::HeaderValue;

/// Longest value that is made here.
const BYTES_MAX: usize = 96;

/// A short value. It is written where it is needed, without a text of its own.
///
/// Nothing where it is too long, or holds what a header may not.
pub(crate) fn short(value: fmt::Arguments<'_>) -> Option<HeaderValue> {
    let mut bytes = [0; BYTES_MAX];
    let mut free = bytes.as_mut_slice();
    free.write_fmt(value).ok()?;
    let written = BYTES_MAX - free.len();
    HeaderValue::from_bytes(&bytes[..written]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_made_or_not_and_never_cut_short() {
        assert_eq!(short(format_args!("r={};t={}", 7, 2)).expect("a value"), "r=7;t=2");
        let longest = "x".repeat(BYTES_MAX);
        assert_eq!(short(format_args!("{longest}")).expect("a value"), longest);
        assert_eq!(short(format_args!("{longest}y")), None);
        assert_eq!(short(format_args!("a\nb")), None);
    }
}
