//! The schemas in `deploy` are what the types say.

use std::{env, fs, path::Path};

/// Set to anything, it writes the files instead of comparing them.
const UPDATE_VARIABLE: &str = "CAMEO_UPDATE_SCHEMA";

#[test]
fn the_schemas_for_editors_are_not_stale() {
    for (file, schema) in [
        ("config.schema.json", cameo_bundle::json_schema()),
        ("tenant.schema.json", cameo_bundle::tenant_json_schema()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file);
        let mut schema = serde_json::to_string_pretty(&schema).expect("JSON");
        schema.push('\n');
        if env::var_os(UPDATE_VARIABLE).is_some() {
            fs::write(&path, &schema).expect("the schema is written");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        let update = format!("run `{UPDATE_VARIABLE}=1 cargo nextest run -p cameo-bundle schema`");
        assert_eq!(kept, schema, "{file}: {update}");
    }
}
