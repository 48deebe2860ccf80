//! Each broken bundle of `tests/fixtures/bundles` is told what is wrong with it, at the line.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cameo_bundle::{Bundle, Diagnostic, SourceFile, Steps, check_steps, discover, render_human};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/bundles")
}

fn broken_bundles() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(fixtures())
        .expect("the fixtures are there")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

/// Everything that is wrong with the bundle: in its files, or else between its steps.
fn problems_of(folder: &Path) -> Vec<Diagnostic> {
    let found = discover(folder);
    let mut problems = found.diagnostics;
    for bundle in &found.bundles {
        let steps = bundle.folder.join("steps.json");
        if let Ok(text) = fs::read_to_string(steps) {
            let steps: Steps = serde_json::from_str(&text).expect("steps.json describes steps");
            problems.extend(check_steps(bundle, &placed(bundle, steps)));
        }
    }
    for problem in &mut problems {
        problem.relative_to(folder);
    }
    problems
}

/// Finds the columns in the query, as the SQL front end does for the real checker.
fn placed(bundle: &Bundle, mut steps: Steps) -> Steps {
    let place = |source: &SourceFile, name: &str| {
        source.text.rfind(name).map(|at| source.span(at..at + name.len()))
    };
    for column in steps.features.iter_mut().flatten() {
        column.span_in_sql = place(&bundle.feature_sql.source, &column.name);
    }
    if let Some(sql) = &bundle.item_sql {
        for column in steps.items.iter_mut().flatten() {
            column.span_in_sql = place(&sql.source, &column.name);
        }
    }
    if let Some(sql) = &bundle.predictions_sql {
        for column in steps.postprocessed.iter_mut().flatten() {
            column.span_in_sql = place(&sql.source, &column.name);
        }
    }
    steps
}

#[test]
fn every_broken_bundle_is_told_what_is_wrong_at_the_line() {
    let folders = broken_bundles();
    assert!(folders.len() >= 30, "found {} fixtures", folders.len());
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        for folder in folders {
            let name = folder.file_name().and_then(|name| name.to_str()).expect("a name");
            let problems = problems_of(&folder);
            assert!(problems.iter().any(Diagnostic::is_error), "{name} has no error");
            let rendered = render_human(&problems, false);
            for problem in &problems {
                assert!(problem.span.is_some(), "{name}: {problem} has no place");
                assert!(rendered.contains(&problem.place()), "{name}: {problem} is not shown");
            }
            insta::assert_snapshot!(name, rendered);
        }
    });
}

#[test]
fn a_problem_as_json_carries_code_place_excerpt_and_advice() {
    let problems = problems_of(&fixtures().join("02-lower-case-section"));
    insta::assert_json_snapshot!(problems);
}

#[test]
fn colour_is_given_only_where_it_is_asked_for() {
    let problems = problems_of(&fixtures().join("01-unknown-section"));
    assert!(render_human(&problems, true).contains("\u{1b}["));
    assert!(!render_human(&problems, false).contains("\u{1b}["));
}
