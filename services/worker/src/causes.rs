//! Errors as people read them where only a text is kept.

use std::{error::Error, iter::successors};

/// An error with its causes: that rows make no file says little without the disk that is full.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let all = successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
