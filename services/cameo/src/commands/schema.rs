//! `cameo schema`: the JSON Schema of config.yaml.

use std::process::ExitCode;

use crate::output::print;

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    print(&serde_json::to_string_pretty(&cameo_bundle::json_schema())?)?;
    Ok(ExitCode::SUCCESS)
}
