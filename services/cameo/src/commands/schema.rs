//! `cameo schema`: the JSON Schema of config.yaml.
#![allow(clippy::print_stdout, reason = "the schema is the output")]

use std::process::ExitCode;

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    println!("{}", serde_json::to_string_pretty(&cameo_bundle::json_schema())?);
    Ok(ExitCode::SUCCESS)
}
