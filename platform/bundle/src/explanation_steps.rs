//! Whether the steps of a bundle fit what `EXPLANATION_CONFIG` asks of them.

use cameo_domain::EXPLANATION_COLUMN;

use crate::{
    bundle::Bundle,
    code::Code,
    column_type::Kind,
    diagnostic::{Diagnostic, Span},
    explanation_config::ExplanationSection,
    nearest::nearest,
    source::SourceFile,
    steps::{Given, StepColumn, Steps, listed, names, same},
};

/// Adds what does not fit to `problems`; what is not known of the steps is not judged.
pub(crate) fn check(bundle: &Bundle, steps: &Steps, problems: &mut Vec<Diagnostic>) {
    let Some(section) = &bundle.config.explanation else { return };
    let config = bundle.config_source();
    let outputs: Vec<_> = steps.model_outputs.iter().flat_map(Given::of_port).collect();
    if !outputs.is_empty() {
        problems.extend(output(section, &config, &outputs));
    }
    if let Some(columns) = &steps.features {
        problems.extend(cohorts(section, &config, columns));
    }
    if !section.is_stored() {
        return;
    }
    if let Some(taken) = outputs.iter().find(|output| same(&output.name, EXPLANATION_COLUMN)) {
        let message =
            format!("the model's output `{}` has the name of stored explanations", taken.name);
        let place = bundle.config.model.model_path.span;
        problems.push(
            Diagnostic::at(Code::ExplanationNameTaken, &config, place, message)
                .help("rename the output when exporting the model, or write STORE: ON_DEMAND"),
        );
    }
    if let (Some(sql), Some(columns)) = (&bundle.predictions_sql, &steps.postprocessed)
        && !columns.iter().any(|column| same(&column.name, EXPLANATION_COLUMN))
    {
        let message = format!("predictions.sql does not give `{EXPLANATION_COLUMN}`");
        problems.push(
            Diagnostic::at(Code::ExplanationNotPassedOn, &sql.source, sql.start(), message)
                .expected(format!("`{EXPLANATION_COLUMN}` among {}", listed(names(columns))))
                .help(format!(
                    "select `{EXPLANATION_COLUMN}` from model_outputs in each step, or write \
                     STORE: ON_DEMAND in EXPLANATION_CONFIG"
                )),
        );
    }
}

fn output(
    section: &ExplanationSection,
    config: &SourceFile,
    outputs: &[Given],
) -> Option<Diagnostic> {
    let (name, span) = section.settings.output.as_deref().zip(section.output)?;
    if outputs.iter().any(|output| output.gives(name)) {
        return None;
    }
    let known = || outputs.iter().map(|output| output.name.as_str());
    Some(
        Diagnostic::at(
            Code::ExplainedOutputUnknown,
            config,
            span,
            format!("the model gives no output `{name}`"),
        )
        .expected(format!("one of {}", listed(known())))
        .did_you_mean(nearest(name, known())),
    )
}

fn cohorts(
    section: &ExplanationSection,
    config: &SourceFile,
    columns: &[StepColumn],
) -> Vec<Diagnostic> {
    let problem =
        |span: &Span, message: String| Diagnostic::at(Code::CohortUnusable, config, *span, message);
    let mut problems = Vec::new();
    for (cohort, span) in section.settings.cohorts.iter().zip(&section.cohorts) {
        let name = cohort.as_str();
        let Some(column) = columns.iter().find(|column| same(&column.name, name)) else {
            problems.push(
                problem(span, format!("features.sql gives no column `{name}`"))
                    .expected(format!("one of {}", listed(names(columns))))
                    .did_you_mean(nearest(name, names(columns))),
            );
            continue;
        };
        let found = column.data_type.as_deref().unwrap_or("Utf8");
        if !Kind::of(found).has_few_values() {
            problems.push(
                problem(span, format!("the cohort column `{name}` is {found}"))
                    .expected("text, whole numbers, truth values or dates")
                    .help("group its values in features.sql, for example with CASE or FLOOR"),
            );
        }
    }
    problems
}
