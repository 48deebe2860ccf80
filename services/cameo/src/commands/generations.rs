//! `cameo generations`: what was published, what is served, what can be served again.

use std::process::ExitCode;

use cameo_store::generations::{self, GenerationRecord, GenerationState};

use crate::{
    cli::{Global, ServiceArgument},
    deployment::Deployment,
    output::{Output, grouped, table},
};

pub(crate) async fn run(
    global: &Global,
    wanted: ServiceArgument,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let path = wanted.service;
    deployment.service(&path).await?;
    let listed = generations::list(&deployment.store, &path.tenant, &path.service).await?;
    output.show(&listed, |listed| {
        if listed.is_empty() {
            return format!("nothing is published yet; `cameo run --now --wait {path}` runs it");
        }
        table(
            &["generation", "state", "due", "predicted", "rows", "checksum", "release"],
            listed.iter().map(|generation| {
                vec![
                    generation.generation.to_string(),
                    state(generation).to_owned(),
                    generation.due_at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
                    generation.predicted_at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
                    generation.digest.map_or("-".to_owned(), |digest| grouped(digest.rows)),
                    generation
                        .digest
                        .map_or("-".to_owned(), |digest| format!("{:016x}", digest.checksum)),
                    generation.release.0.short(),
                ]
            }),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn state(generation: &GenerationRecord) -> &'static str {
    match generation.state {
        _ if generation.current => "current",
        _ if generation.dropped_at.is_some() => "dropped",
        GenerationState::Loading => "loading",
        GenerationState::Published => "published",
        GenerationState::Retired => "retired",
        GenerationState::Shadowed => "shadowed",
        GenerationState::Abandoned => "abandoned",
    }
}
