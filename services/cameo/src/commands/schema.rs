//! `cameo schema`: the JSON Schemas of config.yaml and tenant.yaml.

use std::process::ExitCode;

use crate::output::print;

pub(crate) fn run(tenant: bool) -> anyhow::Result<ExitCode> {
    let schema =
        if tenant { cameo_bundle::tenant_json_schema() } else { cameo_bundle::json_schema() };
    print(&serde_json::to_string_pretty(&schema)?)?;
    Ok(ExitCode::SUCCESS)
}
