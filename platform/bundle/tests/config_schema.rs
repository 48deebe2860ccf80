//! `deploy/config.schema.json` is what the types say.

use std::{env, fs, path::Path};

/// Set to anything, it writes the file instead of comparing it.
const UPDATE_VARIABLE: &str = "CAMEO_UPDATE_SCHEMA";

#[test]
fn the_schema_for_editors_is_not_stale() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config.schema.json");
    let mut schema = serde_json::to_string_pretty(&cameo_bundle::json_schema()).expect("JSON");
    schema.push('\n');
    if env::var_os(UPDATE_VARIABLE).is_some() {
        fs::write(&file, &schema).expect("the schema is written");
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(kept, schema, "run `{UPDATE_VARIABLE}=1 cargo nextest run -p cameo-bundle schema`");
}
