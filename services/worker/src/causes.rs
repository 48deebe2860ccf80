//! Errors as people read them where only a text is kept.

use std::error::Error;

/// An error with its causes: that rows make no file says little without the disk that is full.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
