//! A plan as Markdown: a comment on a pull request.

use std::fmt::Write;

use cameo_registry::plan::{
    ChangePlan, DiffLine, Distribution, PredictionSample, SampleRun, SegmentChangeKind,
    ServiceChange, SettingChange, TenantChangeKind, TextChange,
};

use super::words;
use crate::{bars::number, commands::check::counted, output::markdown};

/// The whole plan.
pub(super) fn describe(plan: &ChangePlan) -> String {
    if !plan.changes() {
        return format!("### Cameo plan: {}", words::nothing(plan));
    }
    let mut text = format!("### Cameo plan: {}\n", words::summary(&plan.summary));
    if !plan.summary.breaking.is_empty() {
        let _ = writeln!(text, "\n> [!CAUTION]");
        for service in &plan.summary.breaking {
            let told = words::breaking(service);
            let _ = writeln!(text, "> **{service} breaks its consumers**: {told}.");
        }
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "\n> **{}** {}", warning.code, warning.message);
    }
    for tenant in &plan.tenants {
        let name = &tenant.tenant;
        let told = match &tenant.change {
            TenantChangeKind::Added { max_concurrent_runs, settings } => {
                let quota = format!("`MAX_CONCURRENT_RUNS` {max_concurrent_runs}");
                let told = [vec![quota], tenant_settings(settings)].concat();
                format!("➕ **tenant {name}** is new, {}", told.join(", "))
            }
            TenantChangeKind::Changed { settings } => {
                format!("✏️ **tenant {name}**: {}", tenant_settings(settings).join(", "))
            }
            TenantChangeKind::Removed { services } => format!(
                "➖ **tenant {name}** is no longer in git: `cameo apply --prune` archives its {}",
                counted(*services, "service")
            ),
        };
        let _ = writeln!(text, "\n{told}");
    }
    for changed in &plan.macros {
        let users: Vec<String> = changed.reaches.iter().map(|path| format!("`{path}`")).collect();
        let _ = writeln!(text, "\n✏️ **macro {}** reaches {}", changed.name, users.join(", "));
    }
    for service in &plan.services {
        add_service(service, &mut text);
    }
    for removed in &plan.removed {
        let (path, stage) = (&removed.service, removed.stage);
        let _ = writeln!(
            text,
            "\n#### ➖ {path}\n\nNo longer in git, in {stage} still. `cameo apply --prune` archives it; \
             what is published stays served."
        );
    }
    add_unaffected(plan, &mut text);
    text
}

fn tenant_settings(settings: &[SettingChange]) -> Vec<String> {
    let told = settings.iter().map(|change| {
        let (old, new) = words::setting(change);
        format!("`{}` {old} → {new}", change.setting)
    });
    told.collect()
}

fn add_service(service: &ServiceChange, text: &mut String) {
    let (path, new) = (&service.service, service.release.0.short());
    let head = match &service.compared_with {
        None => format!("#### ➕ {path} {}\n\nRelease `{new}`", service.version),
        Some(compared) => {
            let version = if compared.version == service.version {
                service.version.clone()
            } else {
                format!("{} → {}", compared.version, service.version)
            };
            let old = compared.release.0.short();
            format!("#### ✏️ {path} {version}\n\nRelease `{old}` → `{new}`")
        }
    };
    let _ = writeln!(text, "\n{head} {}.", words::entry(service));
    if let Some(compared) = words::compared(service) {
        let _ = writeln!(text, "It was {compared}.");
    }
    let _ = writeln!(text, "Reads {}.", words::reads(&service.reads));
    let parts: Vec<String> = service.parts.iter().map(|part| format!("`{}`", part.part)).collect();
    if !parts.is_empty() {
        let _ = writeln!(text, "\nChanged: {}.", parts.join(", "));
    }
    if words::is_only_layout(service) {
        let _ = writeln!(text, "No setting differs: only comments, layout or paths do.");
    }
    add_consumers(service, text);
    if !service.settings.is_empty() {
        let rows = service.settings.iter().map(|change| {
            let (old, new) = words::setting(change);
            vec![format!("`{}.{}`", change.section, change.setting), code(&old), code(&new)]
        });
        let _ = writeln!(text, "\n{}", markdown(&["setting", "now", "then"], rows));
    }
    for changed in &service.segments {
        let mark = match &changed.change {
            SegmentChangeKind::Added { .. } => "➕",
            SegmentChangeKind::Changed { .. } => "✏️",
            SegmentChangeKind::Removed | SegmentChangeKind::Stops { .. } => "➖",
        };
        let _ = writeln!(text, "\n{mark} segment {}", code(&words::segment(changed)));
    }
    for diff in &service.texts {
        add_diff(diff, text);
    }
    if !service.model.is_empty() {
        let rows = service.model.iter().map(|fact| {
            let side = |side: &Option<String>| side.as_deref().map_or(String::new(), cell);
            vec![fact.fact.clone(), side(&fact.old), side(&fact.new)]
        });
        let _ = writeln!(text, "\n{}", markdown(&["model", "now", "then"], rows));
    }
    if let Some(run) = &service.sample {
        add_sample(run, text);
    }
}

fn add_consumers(service: &ServiceChange, text: &mut String) {
    if !service.columns.is_empty() {
        let rows = service
            .columns
            .iter()
            .map(|column| vec![format!("`{}`", column.name), column.data_type.to_string()]);
        let _ = writeln!(text, "\n{}", markdown(&["column", "type"], rows));
    }
    if !service.schema.is_empty() {
        let rows = service.schema.iter().map(|change| {
            let breaks = if change.breaking { "**yes**" } else { "no" };
            vec![change.change.to_string(), breaks.to_owned(), change.consequence.to_string()]
        });
        let header = ["for consumers", "breaks them", "what they notice"];
        let _ = writeln!(text, "\n{}", markdown(&header, rows));
    }
}

fn add_diff(diff: &TextChange, text: &mut String) {
    let (added, removed) = (diff.lines_added, diff.lines_removed);
    let _ = writeln!(
        text,
        "\n<details><summary>{}: {added} added, {removed} removed</summary>\n\n````diff",
        diff.file
    );
    for line in &diff.lines {
        let line = match line {
            DiffLine::Same(text) => format!("  {text}"),
            DiffLine::Added(text) => format!("+ {text}"),
            DiffLine::Removed(text) => format!("- {text}"),
            DiffLine::Gap(line) => format!("@@ line {line} @@"),
        };
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if diff.lines_left_out > 0 {
        let _ = writeln!(text, "@@ {} more @@", counted(diff.lines_left_out, "line"));
    }
    let _ = writeln!(text, "````\n\n</details>");
}

fn add_sample(run: &SampleRun, text: &mut String) {
    let sampled = match run {
        SampleRun::Halted { reason } => {
            let _ = writeln!(text, "\n❌ On its first customers a run would halt: {reason}");
            return;
        }
        SampleRun::Ran(sampled) => sampled,
    };
    let _ = writeln!(text, "\nSample: {}.", words::sampled(sampled));
    for caution in words::cautions(sampled) {
        let _ = writeln!(text, "⚠️ {}.", cell(&caution));
    }
    let header =
        ["prediction", "", "distribution", "min", "median", "p95", "max", "mean", "null", "shift"];
    let (as_now, drawn): (Vec<&PredictionSample>, Vec<&PredictionSample>) =
        sampled.predictions.iter().partition(|one| words::is_as_now(sampled, one));
    if !as_now.is_empty() {
        let names: Vec<String> =
            as_now.iter().map(|one| format!("`{}`", one.column.name)).collect();
        let _ = writeln!(text, "Every value as it is now: {}.", names.join(", "));
    }
    if !drawn.is_empty() {
        let rows: Vec<Vec<String>> = drawn.into_iter().flat_map(rows).collect();
        let _ = writeln!(text, "\n{}", markdown(&header, rows));
    }
}

/// A row for what is served now, where there is something, and one for what would be.
fn rows(prediction: &PredictionSample) -> Vec<Vec<String>> {
    let tallest = words::tallest_share(
        [prediction.current.as_ref(), Some(&prediction.sampled)].into_iter().flatten(),
    );
    let mut rows = Vec::new();
    if let Some(current) = &prediction.current {
        rows.push([vec!["now".to_owned()], side(current, tallest), vec![String::new()]].concat());
    }
    let shift = words::shift(prediction).unwrap_or_default();
    rows.push([vec!["then".to_owned()], side(&prediction.sampled, tallest), vec![shift]].concat());
    for (at, row) in rows.iter_mut().enumerate() {
        let name = format!("`{}` {}", prediction.column.name, prediction.column.data_type);
        row.insert(0, if at == 0 { name } else { String::new() });
    }
    rows
}

fn side(distribution: &Distribution, tallest: f64) -> Vec<String> {
    match distribution {
        Distribution::Numbers { nulls, numbers, histogram, .. } => {
            let drawn = words::sparkline(histogram, tallest).replace(' ', "·");
            let mut cells = vec![format!("`{drawn}`")];
            cells.extend(match numbers {
                Some(found) => {
                    [found.min, found.p50, found.p95, found.max, found.mean].map(number).to_vec()
                }
                None => vec![String::new(); 5],
            });
            cells.push(nulls.to_string());
            cells
        }
        Distribution::Words { rows, nulls, most_frequent, .. } => {
            let shares = most_frequent.iter().map(|word| {
                let share = word.rows as f64 / (*rows).max(1) as f64;
                format!("{} {}", cell(&word.value), words::percent(share))
            });
            let mut cells = vec![shares.collect::<Vec<_>>().join(", ")];
            cells.extend(vec![String::new(); 5]);
            cells.push(nulls.to_string());
            cells
        }
    }
}

fn add_unaffected(plan: &ChangePlan, text: &mut String) {
    if plan.unaffected.is_empty() {
        return;
    }
    let count = counted(plan.unaffected.len(), "service");
    let _ = writeln!(text, "\n<details><summary>{count} unaffected</summary>\n");
    for service in &plan.unaffected {
        let line = words::held(service).unwrap_or_else(|| service.service.to_string());
        let _ = writeln!(text, "- {line}");
    }
    let _ = writeln!(text, "\n</details>");
}

fn code(text: &str) -> String {
    format!("`{}`", cell(text))
}

/// Text that cannot end its cell or its table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
