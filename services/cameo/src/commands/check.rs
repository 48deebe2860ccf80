//! `cameo check`: every mistake of every bundle, at its line, without a server.

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use cameo_bundle::{Code, Diagnostic, Discovery, discover, render_human};
use cameo_registry::inspect;
use cameo_warehouse::Warehouse;
use serde::Serialize;

use crate::{
    cli::{Check, Global},
    output::Output,
};

#[derive(Serialize)]
struct Checked {
    bundles: usize,
    problems: Vec<Diagnostic>,
}

#[derive(Serialize)]
struct Problems<'a> {
    problems: &'a [Diagnostic],
}

/// Prints what is wrong, and what was therefore not done.
pub(crate) fn show_problems(
    problems: &[Diagnostic],
    consequence: &str,
    output: Output,
) -> anyhow::Result<()> {
    output.show(&Problems { problems }, |list| {
        format!(
            "{}\n{}",
            render_human(list.problems, output.has_colour()),
            output.red(&format!("✗ {}{consequence}", counted(list.problems.len(), "problem"))),
        )
    })
}

pub(crate) async fn run(
    global: &Global,
    wanted: Check,
    output: Output,
) -> anyhow::Result<ExitCode> {
    if let Some(code) = wanted.explain {
        return explain(&code, output);
    }
    let warehouse = lake(global)?;
    let Discovery { bundles, diagnostics: mut problems, .. } = discover(&wanted.path);
    let count = bundles.len();
    for bundle in &bundles {
        problems.extend(inspect(bundle, warehouse.as_ref()).await.diagnostics);
    }
    let failed = problems.iter().any(Diagnostic::is_error);
    let checked = Checked { bundles: count, problems };
    output.show(&checked, |checked| {
        if checked.problems.is_empty() {
            return output.green(&format!("✓ {} sound", counted(checked.bundles, "bundle")));
        }
        format!(
            "{}\n{}",
            render_human(&checked.problems, output.has_colour()),
            output.red(&format!("✗ {}", counted(checked.problems.len(), "problem"))),
        )
    })?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The Lake that was named. Types are matched as well where the tables are at hand; names are always.
pub(crate) fn lake(global: &Global) -> anyhow::Result<Option<Arc<dyn Warehouse>>> {
    match &global.lake {
        Some(folder) if !folder.is_dir() => {
            bail!("the Lake {} is not a folder; correct --lake or CAMEO_LAKE", folder.display())
        }
        Some(folder) => Ok(Some(crate::deployment::open_lake(folder, &std::env::temp_dir())?)),
        None => Ok(None),
    }
}

fn explain(code: &str, output: Output) -> anyhow::Result<ExitCode> {
    let code: Code = code.parse().context("no such code (docs/error-codes.md lists them all)")?;
    let explanation = code.explain();
    output.show(&explanation, |explanation| {
        format!(
            "{} {}\n\n{}\n\n{}",
            output.bold(&code.to_string()),
            explanation.title,
            explanation.cause,
            explanation.cure
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `1 bundle`, `2 bundles`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
