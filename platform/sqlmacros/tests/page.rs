//! The library and its page.

use std::path::Path;

use cameo_sqlmacros::{EXAMPLES, page, standard};

#[test]
fn the_page_says_what_the_library_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sql-library.md");
    if std::env::var_os("CAMEO_UPDATE_DOCS").is_some() {
        std::fs::write(&path, page()).expect("a writable page");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, page(), "stale: run this test with CAMEO_UPDATE_DOCS=1");
}

#[test]
fn every_macro_is_documented_and_has_an_example() {
    for definition in standard().definitions() {
        let name = definition.qualified_name();
        let documentation = definition.documentation.as_deref().unwrap_or_default();
        for parameter in &definition.parameters {
            assert!(
                documentation.contains(&format!("`{}`", parameter.name)),
                "{name}: {}",
                parameter.name
            );
        }
        assert!(documentation.contains("Gives "), "{name} says what it gives");
        let example = EXAMPLES.iter().find(|(found, _)| *found == definition.name);
        let (_, example) = example.unwrap_or_else(|| panic!("{name} has an example"));
        assert!(example.contains(&format!("{name}(")), "{name}");
    }
    assert_eq!(EXAMPLES.len(), standard().definitions().count());
}
