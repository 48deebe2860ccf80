//! The library that comes with Cameo.

use std::sync::{Arc, LazyLock};

use crate::library::{Library, MacroFile, Origin};

/// A page of the library: the macros that answer one kind of question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chapter {
    pub(crate) title: &'static str,
    pub(crate) file: &'static str,
    text: &'static str,
}

macro_rules! chapters {
    ($($title:literal $file:literal)+) => {
        /// In the order of the documentation.
        pub(crate) const CHAPTERS: &[Chapter] =
            &[$(Chapter { title: $title, file: concat!("std/", $file), text: include_str!(concat!("std/", $file)) },)+];
    };
}

chapters! {
    "Recency, frequency, monetary, tenure" "rfm.sql"
    "Rolling windows" "windows.sql"
    "Sessions" "sessions.sql"
    "Divisions and caps" "numbers.sql"
    "Deciles and tiers" "ranks.sql"
}

/// The macros of `std`.
#[must_use]
pub fn standard() -> &'static Arc<Library> {
    static STANDARD: LazyLock<Arc<Library>> = LazyLock::new(|| {
        let files: Vec<_> = CHAPTERS
            .iter()
            .map(|chapter| MacroFile { name: chapter.file.to_owned(), text: chapter.text.into() })
            .collect();
        // A test holds the files to be sound.
        Arc::new(Library::parse(Origin::Standard, &files).0)
    });
    &STANDARD
}

macro_rules! examples {
    ($($name:literal)+) => {
        /// A query that uses a macro, by the macro's name. Each is also a golden test in both dialects.
        pub const EXAMPLES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("examples/", $name, ".sql"))),)+];
    };
}

examples! {
    "recency_days" "tenure_days" "frequency" "monetary" "rfm"
    "count_within" "sum_within" "windows"
    "sessions" "session_lengths"
    "safe_divide" "capped" "capped_at_percentile"
    "groups" "decile" "tier"
}

/// The example of a macro.
pub(crate) fn example(name: &str) -> Option<&'static str> {
    EXAMPLES.iter().find(|(macro_name, _)| *macro_name == name).map(|(_, query)| *query)
}
