//! `cameo check`: every mistake of every bundle, at its line, without a server.

mod places;

use std::{process::ExitCode, sync::Arc, thread::available_parallelism};

use anyhow::{Context, bail};
use cameo_bundle::{
    Bundle, Code, Diagnostic, Discovery, discover, render_github, render_human, render_sarif,
};
use cameo_registry::{Shared, inspect_sharing};
use cameo_warehouse::Warehouse;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use self::places::from_the_root;
use crate::{
    cli::{Check, Format, Global},
    output::{Output, print},
    source::Source,
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
    let source = Source::open(&wanted.path, None)?;
    let Discovery { bundles, diagnostics: mut problems, .. } = discover(source.folder());
    let count = bundles.len();
    problems.extend(inspect_all(bundles, warehouse.as_ref(), &Arc::default()).await?);
    source.name(&mut problems);
    let failed = problems.iter().any(Diagnostic::is_error);
    let checked = Checked { bundles: count, problems };
    show(checked, output)?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What does not fit within each bundle, in their order. All cores take part.
pub(crate) async fn inspect_all(
    bundles: Vec<Bundle>,
    warehouse: Option<&Arc<dyn Warehouse>>,
    shared: &Arc<Shared>,
) -> anyhow::Result<Vec<Diagnostic>> {
    let found = stream::iter(bundles)
        .map(|bundle| {
            let (warehouse, shared) = (warehouse.cloned(), Arc::clone(shared));
            tokio::spawn(async move {
                inspect_sharing(&bundle, warehouse.as_ref(), &shared).await.diagnostics
            })
        })
        .buffered(available_parallelism().map_or(1, usize::from))
        .try_concat()
        .await;
    found.context("a check ended early")
}

fn show(mut checked: Checked, output: Output) -> anyhow::Result<()> {
    match output.format() {
        Format::Sarif => {
            from_the_root(&mut checked.problems);
            print(&render_sarif(&checked.problems, env!("CARGO_PKG_VERSION")))
        }
        Format::Github => {
            from_the_root(&mut checked.problems);
            print(&format!("{}{}", render_github(&checked.problems), summary(&checked)))
        }
        Format::Human | Format::Markdown | Format::Json => output.show(&checked, |checked| {
            if checked.problems.is_empty() {
                return output.green(&summary(checked));
            }
            format!(
                "{}\n{}",
                render_human(&checked.problems, output.has_colour()),
                output.red(&summary(checked)),
            )
        }),
    }
}

fn summary(checked: &Checked) -> String {
    if checked.problems.is_empty() {
        return format!("✓ {} sound", counted(checked.bundles, "bundle"));
    }
    format!("✗ {}", counted(checked.problems.len(), "problem"))
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
        let mut text = format!(
            "{} {}\n\n{}\n\n{}",
            output.bold(&code.to_string()),
            explanation.title,
            explanation.cause,
            explanation.cure
        );
        if let Some(example) = explanation.example {
            text.push_str(&format!(
                "\n\nInstead of\n{}\nwrite\n{}",
                shown(example.wrong),
                shown(example.right)
            ));
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Lines of a file, set off from the text around them.
fn shown(lines: &str) -> String {
    lines.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// `1 bundle`, `2 bundles`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
