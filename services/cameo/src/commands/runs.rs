//! `cameo runs`: what ran, what is running, and why something did not.

use std::process::ExitCode;

use cameo_domain::RunState;
use cameo_store::runs::{self, RunFilter, RunRecord};

use crate::{
    cli::{Global, Runs},
    deployment::Deployment,
    output::{Output, grouped, table},
};

pub(crate) async fn run(global: &Global, wanted: Runs, output: Output) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    if let Some(path) = &wanted.service {
        deployment.service(path).await?;
    }
    let (tenant, service) = wanted.service.map(|path| (path.tenant, path.service)).unzip();
    let filter = RunFilter { tenant, service, limit: wanted.limit, ..RunFilter::default() };
    let listed = runs::list(&deployment.store, &filter).await?;
    output.show(&listed, |listed| {
        if listed.is_empty() {
            return "no runs yet".to_owned();
        }
        let mut text = table(
            &["run", "service", "due", "state", "attempt", "rows", "seconds", "generation"],
            listed.iter().map(row),
        );
        for run in listed.iter().filter(|run| run.state != RunState::Published) {
            if let Some(reason) = &run.reason {
                text.push_str(&format!("\nrun {}: {reason}", run.run));
            }
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

fn row(run: &RunRecord) -> Vec<String> {
    let rows = match (&run.counts, &run.progress) {
        (Some(counts), _) => grouped(counts.rows_scored),
        (None, Some(progress)) => format!("{} so far", grouped(progress.rows_scored)),
        (None, None) => "-".to_owned(),
    };
    let seconds =
        run.started_at.map(|start| run.finished_at.unwrap_or_else(chrono::Utc::now) - start);
    vec![
        run.run.to_string(),
        run.path.to_string(),
        run.due_at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
        run.state.to_string(),
        format!("{}/{}", run.attempt, run.attempts_max),
        rows,
        seconds.map_or_else(|| "-".to_owned(), |time| format!("{:.1}", time.as_seconds_f64())),
        run.generation.map_or_else(|| "-".to_owned(), |generation| generation.to_string()),
    ]
}
