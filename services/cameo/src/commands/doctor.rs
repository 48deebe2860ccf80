//! `cameo doctor`: the promises of the platform, checked against the database.

use std::process::ExitCode;

use cameo_store::invariants;

use crate::{
    cli::Global,
    deployment::Deployment,
    output::{Output, table},
};

pub(crate) async fn run(global: &Global, output: Output) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let breaches = invariants::check(&deployment.store).await?;
    output.show(&breaches, |breaches| {
        if breaches.is_empty() {
            return output.green("every invariant holds");
        }
        table(
            &["invariant", "detail"],
            breaches.iter().map(|breach| vec![breach.invariant.clone(), breach.detail.clone()]),
        )
    })?;
    Ok(if breaches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
