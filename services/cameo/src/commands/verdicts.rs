//! `cameo verdicts`: how a release compared with production while it ran beside it.

use std::process::ExitCode;

use cameo_store::{
    releases,
    verdicts::{self, Check, Verdict},
};

use crate::{
    cli::{Global, Verdicts},
    deployment::Deployment,
    output::{Output, table},
};

pub(crate) async fn run(
    global: &Global,
    wanted: Verdicts,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let (store, path) = (&deployment.store, wanted.service);
    deployment.service(&path).await?;
    let (tenant, service) = (&path.tenant, &path.service);
    let release = releases::named(store, tenant, service, &wanted.release).await?;
    let listed =
        verdicts::list(store, tenant, service, Some(release.release), wanted.limit).await?;
    output.show(&listed, |listed| {
        if listed.is_empty() {
            let short = release.release.0.short();
            return format!(
                "release {short} was not compared yet; `cameo promote {path} {short} --to shadow` runs it \
                 beside production"
            );
        }
        listed.iter().map(|verdict| describe(verdict, output)).collect::<Vec<_>>().join("\n\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// One line: whether it passed, and which checks failed.
pub(crate) fn summary(verdict: &Verdict, output: Output) -> String {
    let due = verdict.due_at.format("%Y-%m-%d %H:%M:%SZ");
    if verdict.passed {
        return format!("{} {due} passed", output.green("✓"));
    }
    let failed: Vec<_> = verdict.checks.iter().filter(|check| !check.passed).map(name).collect();
    format!("{} {due} failed: {}", output.red("✗"), failed.join(", "))
}

fn describe(verdict: &Verdict, output: Output) -> String {
    let rows = verdict.checks.iter().map(|check| {
        let number =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
        vec![
            if check.passed { output.green("✓") } else { output.red("✗") },
            name(check),
            number(check.found),
            number(check.limit),
            check.detail.clone().unwrap_or_default(),
        ]
    });
    format!("{}\n{}", summary(verdict, output), table(&["", "check", "found", "limit", ""], rows))
}

fn name(check: &Check) -> String {
    match &check.subject {
        None => check.check.clone(),
        Some(subject) => format!("{} of {subject}", check.check),
    }
}
