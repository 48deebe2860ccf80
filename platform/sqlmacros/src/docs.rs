//! The standard library as a page, from the same files that templates call.

use crate::{
    library::Definition,
    render::{DEPTH_MAX, FUEL, SQL_BYTES_MAX},
    standard::{CHAPTERS, example, standard},
};

/// `docs/sql-library.md`.
#[must_use]
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str(&format!(
        "\n## Bounds\n\nA rendering, and each macro within it, may do {FUEL} steps (an instruction, or 64 bytes of \
         text), macros may call each other {DEPTH_MAX} deep, and the SQL that comes out may have {} KiB. What goes beyond is \
         CAM0076; nothing is cut off.\n",
        SQL_BYTES_MAX >> 10,
    ));
    page.push_str("\n## The standard library\n");
    for chapter in CHAPTERS {
        page.push_str(&format!("\n### {}\n", chapter.title));
        let mut macros: Vec<_> =
            standard().definitions().filter(|found| found.file == chapter.file).collect();
        macros.sort_by_key(|found| found.offset);
        for definition in macros {
            page.push_str(&entry(definition));
        }
    }
    page
}

fn entry(definition: &Definition) -> String {
    let documentation = definition.documentation.as_deref().unwrap_or_default();
    let mut entry = format!(
        "\n#### `{}`\n\n```\n{}\n```\n\n{documentation}\n",
        definition.qualified_name(),
        definition.signature()
    );
    if let Some(example) = example(&definition.name) {
        entry.push_str(&format!("\n```sql\n{}\n```\n", example.trim_end()));
    }
    entry
}

const INTRODUCTION: &str = include_str!("introduction.md");
