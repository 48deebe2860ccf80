//! `cameo sql render`: the SQL that will run, offline.

use std::process::ExitCode;

use anyhow::bail;
use cameo_bundle::{Bundle, Diagnostic, SqlFile, load};
use cameo_registry::inspection::{parameters, sql_problem};
use cameo_warehouse::{
    Parameters,
    googlesql::{self, Context},
};
use serde::Serialize;

use crate::{
    cli::{Dialect, Sql, SqlRender},
    commands::check::show_problems,
    output::Output,
};

/// One file as it runs.
#[derive(Debug, Serialize)]
struct Running {
    file: String,
    sql: String,
    macros: Vec<String>,
}

pub(crate) fn run(sql: Sql, output: Output) -> anyhow::Result<ExitCode> {
    match sql {
        Sql::Render(wanted) => render(&wanted, output),
    }
}

fn render(wanted: &SqlRender, output: Output) -> anyhow::Result<ExitCode> {
    let consequence = "; nothing can be rendered";
    let bundle = match load(&wanted.bundle) {
        Ok(bundle) => bundle,
        Err(problems) => {
            show_problems(&problems, consequence, output)?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let files: Vec<_> = bundle
        .sql_files()
        .filter(|file| wanted.file.as_ref().is_none_or(|name| file.path().ends_with(name)))
        .collect();
    if let (Some(name), true) = (&wanted.file, files.is_empty()) {
        let known: Vec<_> = bundle.sql_files().map(|file| name_of(&bundle, file)).collect();
        bail!("the bundle has no {}; it has {}", name.display(), known.join(", "));
    }
    let results = files.into_iter().map(|file| running(&bundle, file, wanted));
    match results.collect::<Result<Vec<_>, _>>() {
        Ok(files) => output.show(&files, |files| text(files))?,
        Err(problem) => {
            show_problems(&[*problem], consequence, output)?;
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn running(
    bundle: &Bundle,
    file: &SqlFile,
    wanted: &SqlRender,
) -> Result<Running, Box<Diagnostic>> {
    let sql = match wanted.dialect {
        Dialect::Googlesql => file.text.to_string(),
        Dialect::Lake => {
            let context = context(bundle, file, wanted);
            let rewritten = googlesql::to_duckdb(&file.text, &context);
            rewritten.map_err(|error| Box::new(sql_problem(file, &error)))?.sql
        }
    };
    let macros = file.macros.iter().map(|found| found.name.clone()).collect();
    Ok(Running { file: name_of(bundle, file), sql, macros })
}

/// What tables and parameters mean to a file.
fn context(bundle: &Bundle, file: &SqlFile, wanted: &SqlRender) -> Context {
    let parameters = match wanted.at {
        Some(run_time) => {
            let zone = bundle.config.prediction.schedule.zone();
            Parameters { run_time, run_date: run_time.with_timezone(&zone).date_naive() }
        }
        None => parameters(bundle),
    };
    match &bundle.predictions_sql {
        Some(predictions) if std::ptr::eq(predictions, file) => Context::model_outputs(parameters),
        _ => Context::lake(parameters),
    }
}

fn name_of(bundle: &Bundle, file: &SqlFile) -> String {
    file.path().strip_prefix(&bundle.folder).unwrap_or(file.path()).display().to_string()
}

/// One file as it is; several, each below its name.
fn text(files: &[Running]) -> String {
    match files {
        [file] => file.sql.clone(),
        files => files
            .iter()
            .map(|file| format!("-- {}\n{}", file.file, file.sql.trim_end()))
            .collect::<Vec<_>>()
            .join("\n\n"),
    }
}
