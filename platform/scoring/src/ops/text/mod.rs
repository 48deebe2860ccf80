//! Operators over strings.

mod cast;
mod ngrams;
mod strings;

pub(super) use cast::TextCast;
pub(super) use ngrams::tf_idf_vectorizer;
pub(super) use strings::{string_concat, string_normalizer};
