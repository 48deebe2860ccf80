//! `docs/error-codes.md` is what the code says.

mod support;

use std::{env, fmt::Write, fs};

use cameo_bundle::Code;

/// Set to anything, it writes the page instead of comparing it.
const UPDATE_VARIABLE: &str = "CAMEO_UPDATE_DOCS";
/// The first number of each group and what the group is about.
const GROUPS: [(u16, &str); 10] = [
    (1, "Files"),
    (10, "YAML"),
    (30, "Values of config.yaml and tenant.yaml"),
    (50, "Explanations"),
    (70, "Templates and macros"),
    (80, "Segments"),
    (90, "Cards"),
    (100, "Queries"),
    (200, "Models"),
    (300, "Predictions"),
];

fn page() -> String {
    let mut page = String::from(
        "# Error codes\n\nWhat `cameo check`, `plan` and `apply` can find wrong with a bundle (A4, \
         W9). A code is never given a second\nmeaning. `cameo check --explain CAM0012` prints one of \
         these entries.\n\n<!-- Generated from platform/bundle/src/code.rs: `CAMEO_UPDATE_DOCS=1 cargo test -p \
         cameo --test error_codes` -->\n",
    );
    let mut groups = GROUPS.iter().peekable();
    for code in Code::ALL {
        if let Some((_, title)) = groups.next_if(|(first, _)| *first <= code.number()) {
            let _ = write!(page, "\n## {title}\n");
        }
        let explanation = code.explain();
        let _ = write!(
            page,
            "\n### {code}\n\n**{}** {}\n\n*What to do:* {}\n",
            explanation.title, explanation.cause, explanation.cure
        );
        if let Some(example) = explanation.example {
            let block = |lines: &str| format!("```\n{lines}\n```");
            let _ = write!(
                page,
                "\nInstead of\n\n{}\n\nwrite\n\n{}\n",
                block(example.wrong),
                block(example.right)
            );
        }
    }
    page
}

#[test]
fn the_page_of_error_codes_is_not_stale() {
    let file = support::root().join("docs/error-codes.md");
    let page = page();
    if env::var_os(UPDATE_VARIABLE).is_some() {
        fs::write(&file, &page).expect("the page is written");
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(kept, page, "run `{UPDATE_VARIABLE}=1 cargo test -p cameo --test error_codes`");
}
