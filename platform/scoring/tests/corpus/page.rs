//! `docs/models.md`, made from what the corpus test found.

use std::fmt::Write;
use std::path::Path;

use crate::compare::Outcome;
use crate::manifest::{Case, Manifest};

/// Set to anything, it writes the page instead of comparing it.
const UPDATE_VARIABLE: &str = "CAMEO_UPDATE_DOCS";
/// Runs the test that makes the page.
const COMMAND: &str = "tests/run -p cameo-scoring --test corpus";

const INTRODUCTION: &str = "\
# Models that Cameo scores

Every model on this page was trained, exported to ONNX and scored twice: by ONNX Runtime and by Cameo,
in batches of 1, 7 and 4,096 rows. *Matches* means, for every output of every row:

- the same columns with the same names: `[N, K]` as `<output>_0` …, a ZipMap as `<output>_<class>`;
- equal labels, integers, booleans and strings;
- scores within 10⁻⁵ of ONNX Runtime's, relative to the score, plus four rounding steps of a 32-bit float
  (4.8 × 10⁻⁷) at the scale of the column's largest score. The second part is for scores near zero: there
  a score is what is left of larger terms that cancel, its last digits depend on the order in which they
  are summed, and ONNX Runtime itself sums one row in another order than many.

Nothing is needed in the export for this: class labels may be strings, `zipmap` may stay on, inputs may be one
matrix, one input per column or matrices of several types. The exporters, pinned in
`platform/scoring/tests/corpus/requirements.txt`, and the table of exports lie in `platform/scoring/tests/corpus`.
Other data, widths, depths, class counts and options are tried with

```
CAMEO_CORPUS_DIR=$(platform/scoring/tests/corpus/generate --seed 7) cargo nextest run -p cameo-scoring --test corpus
```
";

/// Compares the page with what was found, or writes it.
pub(crate) fn check(manifest: &Manifest, outcomes: &[Outcome]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/models.md");
    let page = page(manifest, outcomes);
    if std::env::var_os(UPDATE_VARIABLE).is_some() {
        std::fs::write(&file, &page).expect("a writable page");
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == page, "docs/models.md is stale: run `{UPDATE_VARIABLE}=1 {COMMAND}`");
}

fn page(manifest: &Manifest, outcomes: &[Outcome]) -> String {
    let found: Vec<(&Case, &Outcome)> = manifest.cases.iter().zip(outcomes).collect();
    let mut sections: Vec<&str> = Vec::new();
    for (case, _) in &found {
        if !sections.contains(&case.section.as_str()) {
            sections.push(&case.section);
        }
    }
    let mut page = format!("{INTRODUCTION}\n<!-- Generated: `{UPDATE_VARIABLE}=1 {COMMAND}` -->\n");
    page.push_str(&summary(&sections, &found));
    for section in &sections {
        page.push_str(&matching(section, &found));
    }
    page.push_str(&refused(&found));
    page.push_str(&not_exported(manifest, &found));
    page
}

fn count(found: &[(&Case, &Outcome)], section: Option<&str>, of: fn(&Outcome) -> bool) -> usize {
    found
        .iter()
        .filter(|(case, outcome)| section.is_none_or(|name| case.section == name) && of(outcome))
        .count()
}

fn matches(outcome: &Outcome) -> bool {
    *outcome == Outcome::Matches
}

fn summary(sections: &[&str], found: &[(&Case, &Outcome)]) -> String {
    let mut text = String::from(
        "\n## Summary\n\n| kind | matches | refused | not exported |\n|---|--:|--:|--:|\n",
    );
    let rows = sections.iter().map(|section| (*section, Some(*section))).chain([("**all**", None)]);
    for (title, section) in rows {
        let _ = writeln!(
            text,
            "| {title} | {} | {} | {} |",
            count(found, section, matches),
            count(found, section, |outcome| matches!(outcome, Outcome::Refused(_))),
            count(found, section, |outcome| matches!(outcome, Outcome::NotExported(_))),
        );
    }
    text
}

/// One row per estimator: its variants that match, and the operators that they use.
fn matching(section: &str, found: &[(&Case, &Outcome)]) -> String {
    let mut estimators: Vec<(&str, Vec<&str>, Vec<&str>)> = Vec::new();
    let cases = found.iter().filter(|(case, outcome)| case.section == section && matches(outcome));
    for (case, _) in cases {
        let (estimator, variant) = case.what.split_once(": ").unwrap_or((&case.what, "as it is"));
        let index = estimators.iter().position(|(known, ..)| *known == estimator);
        let index = index.unwrap_or_else(|| {
            estimators.push((estimator, Vec::new(), Vec::new()));
            estimators.len() - 1
        });
        let (_, variants, operators) = &mut estimators[index];
        variants.push(variant);
        operators.extend(case.operators.iter().map(String::as_str));
    }
    if estimators.is_empty() {
        return String::new();
    }
    let mut text =
        format!("\n## {section}\n\n| model | status | variants | operators |\n|---|---|---|---|\n");
    for (estimator, variants, mut operators) in estimators {
        operators.sort_unstable();
        operators.dedup();
        let variants = variants.join("; ");
        let _ = writeln!(
            text,
            "| {} | matches | {} | {} |",
            cell(estimator),
            cell(&variants),
            operators.join(" ")
        );
    }
    text
}

fn refused(found: &[(&Case, &Outcome)]) -> String {
    let mut text = String::from(
        "\n## Refused, and why\n\nRefused when the bundle is checked, with this message; never in the middle of a run.\n\n\
         | model | status |\n|---|---|\n",
    );
    for (case, outcome) in found {
        if let Outcome::Refused(message) = outcome {
            let _ = writeln!(text, "| {} | refused: {} |", cell(&case.what), cell(message));
        }
    }
    text
}

fn not_exported(manifest: &Manifest, found: &[(&Case, &Outcome)]) -> String {
    let mut text = String::from(
        "\n## Not exported\n\nHere the exporter fails, or writes a model that ONNX Runtime refuses as well, with a message that says:\n\n\
         | model | status |\n|---|---|\n",
    );
    for (case, _) in found {
        if let Some(part) = &case.expected_failure {
            let _ = writeln!(text, "| {} | not exported: `{}` |", cell(&case.what), cell(part));
        }
    }
    text.push_str("\nEstimators of skl2onnx without an export here:\n\n");
    for (estimator, reason) in &manifest.without_case {
        let _ = writeln!(text, "- {estimator}: {reason}.");
    }
    text
}

/// Text that does not end a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
