//! `cameo plan`: the dry run.

mod human;
mod markdown;
mod sample;
pub(crate) mod words;

use std::process::ExitCode;

use cameo_bundle::{Discovery, discover};
use cameo_registry::plan::{PlanError, Scope, plan};

use crate::{
    cli::{Global, Plan},
    commands::check::show_problems,
    deployment::Deployment,
    output::Output,
    remote,
    source::Source,
};

/// `plan` found that `apply` would change something.
const EXIT_CHANGES: u8 = 2;

pub(crate) async fn run(global: &Global, wanted: Plan, output: Output) -> anyhow::Result<ExitCode> {
    let source = Source::open(&wanted.path, None)?;
    let planned = if let Some(server) = wanted.elsewhere.server()? {
        remote::plan(&server, &source, wanted.sample).await?
    } else {
        let deployment = Deployment::find(global).await?;
        let found: Discovery = discover(source.folder());
        let scope = Scope::of(source.folder(), &found);
        plan(deployment.server(), found, &scope, wanted.sample).await
    };
    let planned = match planned {
        Ok(planned) => planned,
        Err(PlanError::Unsound(mut problems)) => {
            source.name(&mut problems);
            show_problems(&problems, "; nothing can be planned", output)?;
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(error.into()),
    };
    output.show(&planned, |planned| {
        if output.is_markdown() {
            markdown::describe(planned)
        } else {
            human::describe(planned, wanted.steps, output)
        }
    })?;
    Ok(if planned.changes() { ExitCode::from(EXIT_CHANGES) } else { ExitCode::SUCCESS })
}
