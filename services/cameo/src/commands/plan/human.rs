//! A plan on a terminal.

use std::fmt::Write;

use cameo_bundle::{CARD_FILE, CONFIG_FILE, render_human};
use cameo_pipeline::{Port, StepView};
use cameo_registry::plan::{
    ChangePlan, ConsumerChange, DiffLine, ModelFact, RemovedService, SchemaChange, SegmentChange,
    SegmentChangeKind, ServiceChange, SettingChange, TenantChange, TenantChangeKind, TextChange,
};

use super::{sample, words};
use crate::{
    commands::check::counted,
    drawing::{columns, cut, wrap},
    output::{Output, table},
};

/// Widest text, and the width where the output is no terminal.
pub(super) const WIDTH: usize = 100;
/// Least room for a setting's value; a longer one is cut.
const VALUE_MIN: usize = 12;
/// Width of what changes for consumers, where its consequence stands beside it.
const CHANGE: usize = 34;
/// Width of the words that a line about a service begins with.
pub(super) const LABEL: usize = 17;

/// The whole plan; every step of each service where `steps`.
pub(super) fn describe(plan: &ChangePlan, steps: bool, output: Output) -> String {
    let mut screen =
        Screen { output, width: output.width().unwrap_or(WIDTH).min(WIDTH), text: String::new() };
    if !plan.warnings.is_empty() {
        screen.text.push_str(&render_human(&plan.warnings, output.has_colour()));
        screen.blank();
    }
    for tenant in &plan.tenants {
        screen.tenant(tenant);
    }
    for changed in &plan.macros {
        let users: Vec<String> = changed.reaches.iter().map(ToString::to_string).collect();
        let name = output.bold(&format!("macro {}", changed.name));
        let title = format!("{} {name} changed: reaches {}", output.yellow("~"), users.join(", "));
        screen.line(0, &title);
        screen.blank();
    }
    for service in &plan.services {
        screen.service(service, steps);
    }
    for removed in &plan.removed {
        screen.removed(removed);
    }
    screen.unaffected(plan);
    screen.end(plan);
    screen.text
}

struct Screen {
    output: Output,
    width: usize,
    text: String,
}

impl Screen {
    fn line(&mut self, indent: usize, text: &str) {
        let _ = writeln!(self.text, "{}{text}", " ".repeat(indent));
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }

    /// A label and what it is about; further lines stand below the first.
    fn labelled(&mut self, label: &str, text: &str) {
        let room = self.width.saturating_sub(2 + LABEL);
        for (at, line) in wrap(text, room).into_iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            let label = self.output.dim(&format!("{label:<LABEL$}"));
            self.line(2, &format!("{label}{line}"));
        }
    }

    fn tenant(&mut self, tenant: &TenantChange) {
        let output = self.output;
        let name = output.bold(&format!("tenant {}", tenant.tenant));
        match &tenant.change {
            TenantChangeKind::Added { max_concurrent_runs, settings } => {
                self.line(0, &format!("{} {name} is new", output.green("+")));
                self.labelled("quota", &format!("MAX_CONCURRENT_RUNS {max_concurrent_runs}"));
                self.tenant_settings(settings);
            }
            TenantChangeKind::Changed { settings } => {
                self.line(0, &format!("{} {name} changes", output.yellow("~")));
                self.tenant_settings(settings);
            }
            TenantChangeKind::Removed { services } => {
                let services = counted(*services, "service");
                self.line(0, &format!("{} {name} is no longer in git", output.red("−")));
                let told = format!(
                    "`cameo apply --prune` archives its {services}; what is published stays served \
                     until its retention ends"
                );
                self.labelled("on apply", &told);
            }
        }
        self.blank();
    }

    fn tenant_settings(&mut self, settings: &[SettingChange]) {
        for change in settings {
            let (old, new) = words::setting(change);
            let told = format!("{} {old} → {new}", change.setting);
            self.labelled(&change.section, &told);
        }
    }

    fn removed(&mut self, removed: &RemovedService) {
        let output = self.output;
        let name = output.bold(&removed.service.to_string());
        self.line(0, &format!("{} {name} is no longer in git", output.red("−")));
        let (short, stage) = (removed.release.0.short(), removed.stage);
        self.labelled("release", &format!("{short}, in {stage}"));
        let kept = match removed.generation {
            Some(generation) => format!("generation {generation} stays served"),
            None => "nothing of it was ever published".to_owned(),
        };
        let told = format!("`cameo apply --prune` archives it: nothing is due any more, {kept}");
        self.labelled("on apply", &told);
        self.blank();
    }

    fn service(&mut self, service: &ServiceChange, steps: bool) {
        let output = self.output;
        let name = output.bold(&service.service.to_string());
        let new = service.release.0.short();
        match &service.compared_with {
            None => {
                let version = &service.version;
                self.line(0, &format!("{} {name} {version} is new", output.green("+")));
                self.labelled("release", &new);
            }
            Some(compared) => {
                let version = if compared.version == service.version {
                    service.version.clone()
                } else {
                    format!("{} → {}", compared.version, service.version)
                };
                self.line(0, &format!("{} {name} {version} changes", output.yellow("~")));
                self.labelled("release", &format!("{} → {new}", compared.release.0.short()));
            }
        }
        self.labelled("on apply", &words::entry(service));
        if let Some(compared) = words::compared(service) {
            self.labelled("", &compared);
        }
        self.consumers(service);
        self.config(service);
        for (at, changed) in service.segments.iter().enumerate() {
            self.segment(changed, at == 0);
        }
        for text in &service.texts {
            self.diff(service, text);
        }
        for name in &service.macros {
            self.labelled("macro", &format!("{name} changed"));
        }
        self.model(service);
        self.labelled("reads", &words::reads(&service.reads));
        if let Some(run) = &service.sample {
            let drawn = sample::describe(run, self.width, output);
            self.text.push_str(&drawn);
        }
        if steps {
            self.steps(&service.steps);
        }
        self.blank();
    }

    /// The columns of a new service, or what differs about them.
    fn consumers(&mut self, service: &ServiceChange) {
        if !service.columns.is_empty() {
            let shown = service.columns.iter().enumerate().map(|(at, column)| {
                let key = if at == 0 { " (key)" } else { "" };
                format!("{} {}{key}", column.name, column.data_type)
            });
            let shown: Vec<String> = shown.collect();
            self.labelled("predictions", &shown.join(", "));
        }
        for (at, change) in service.schema.iter().enumerate() {
            let label = if at == 0 { "consumers" } else { "" };
            let label = self.output.dim(&format!("{label:<LABEL$}"));
            let (what, consequence) = (change.change.to_string(), change.consequence.as_ref());
            let room = self.width.saturating_sub(2 + LABEL + 2 + 1 + columns(consequence));
            let line = consumer(change, &padded_at_least(&what, CHANGE.min(room)), self.output);
            let consequence = self.output.dim(consequence);
            if columns(&what) <= room {
                self.line(2, &format!("{label}{line} {consequence}"));
            } else {
                self.line(2, &format!("{label}{}", line.trim_end()));
                self.line(4 + LABEL, &consequence);
            }
        }
        if service.breaks() {
            let text = words::breaking(&service.service);
            for line in wrap(&text, self.width.saturating_sub(2 + LABEL)) {
                self.line(2 + LABEL, &self.output.red(&line));
            }
        }
    }

    fn config(&mut self, service: &ServiceChange) {
        if let Some(part) = service.parts.iter().find(|part| part.part == CONFIG_FILE) {
            self.labelled(&part.part, &hashes(part));
            if words::is_only_layout(service) {
                self.line(2 + LABEL, "no setting differs: only comments, layout or paths do");
            }
        }
        let of_card = |change: &&SettingChange| change.section == CARD_FILE;
        let (card, config): (Vec<_>, Vec<_>) = service.settings.iter().partition(of_card);
        self.settings(&config, true);
        if !card.is_empty() {
            self.labelled(CARD_FILE, "");
            self.settings(&card, false);
        }
    }

    /// Settings one by one, below the names of their sections.
    fn settings(&mut self, changes: &[&SettingChange], with_sections: bool) {
        let mut section = "";
        for change in changes {
            if with_sections && change.section != section {
                section = &change.section;
                self.line(2 + LABEL, &self.output.dim(section));
            }
            let (old, new) = words::setting(change);
            let taken = 4 + LABEL + "~ ".len() + columns(&change.setting) + " → ".len();
            let room = (self.width.saturating_sub(taken) / 2).max(VALUE_MIN);
            let line = format!(
                "{} {} {} → {}",
                self.output.yellow("~"),
                change.setting,
                self.output.red(&cut(&old, room)),
                self.output.green(&cut(&new, room))
            );
            self.line(4 + LABEL, &line);
        }
    }

    fn segment(&mut self, changed: &SegmentChange, is_first: bool) {
        let output = self.output;
        let mark = match &changed.change {
            SegmentChangeKind::Added { .. } => output.green("+"),
            SegmentChangeKind::Changed { .. } => output.yellow("~"),
            SegmentChangeKind::Removed | SegmentChangeKind::Stops { .. } => output.red("−"),
        };
        let room = self.width.saturating_sub(2 + LABEL + 2);
        for (at, line) in wrap(&words::segment(changed), room).into_iter().enumerate() {
            let label = if is_first && at == 0 { "segments" } else { "" };
            let label = output.dim(&format!("{label:<LABEL$}"));
            let mark = if at == 0 { mark.as_str() } else { " " };
            self.line(2, &format!("{label}{mark} {line}"));
        }
    }

    fn diff(&mut self, service: &ServiceChange, text: &TextChange) {
        let part = service.parts.iter().find(|part| part.part == text.file);
        let counts = format!("+{} −{}", text.lines_added, text.lines_removed);
        let title = part.map_or(counts.clone(), |part| format!("{}   {counts}", hashes(part)));
        let label = self.output.dim(&format!("{:<LABEL$}", text.file));
        self.line(2, &format!("{label}{title}"));
        let room = self.width.saturating_sub(8);
        for line in &text.lines {
            let line = match line {
                DiffLine::Same(text) => format!("  {}", cut(text, room)),
                DiffLine::Added(text) => self.output.green(&format!("+ {}", cut(text, room))),
                DiffLine::Removed(text) => self.output.red(&format!("- {}", cut(text, room))),
                DiffLine::Gap(line) => self.output.dim(&format!("… line {line}")),
            };
            self.line(6, line.trim_end());
        }
        if text.lines_left_out > 0 {
            let more = format!("… {} more", counted(text.lines_left_out, "line"));
            self.line(6, &self.output.dim(&more));
        }
    }

    fn model(&mut self, service: &ServiceChange) {
        let model_parts = ["model", "preprocess"];
        let parts = service.parts.iter().filter(|part| model_parts.contains(&part.part.as_ref()));
        let mut changed = false;
        for part in parts {
            changed = true;
            self.labelled(&part.part, &hashes(part));
        }
        if changed && service.model.is_empty() {
            self.line(2 + LABEL, "the same shape and size: other weights");
        }
        for (at, fact) in service.model.iter().enumerate() {
            let label = if at == 0 && !changed { "model" } else { "" };
            self.labelled(label, &told(fact));
        }
    }

    fn steps(&mut self, steps: &[StepView]) {
        for step in steps {
            self.line(2, &self.output.dim(&step.name));
            for line in sides(step).lines() {
                self.line(4, line);
            }
        }
    }

    fn unaffected(&mut self, plan: &ChangePlan) {
        if plan.unaffected.is_empty() {
            return;
        }
        for service in &plan.unaffected {
            if let Some(held) = words::held(service) {
                for (at, line) in wrap(&held, self.width - 2).into_iter().enumerate() {
                    let mark = if at == 0 { self.output.dim("=") } else { " ".to_owned() };
                    self.line(0, &format!("{mark} {line}"));
                }
            }
        }
        if plan.changes() {
            let names: Vec<String> =
                plan.unaffected.iter().map(|service| service.service.to_string()).collect();
            let told = format!("{} unaffected: {}", names.len(), names.join(", "));
            for (at, line) in wrap(&told, self.width - 2).into_iter().enumerate() {
                let mark = if at == 0 { "= " } else { "  " };
                self.line(0, &self.output.dim(&format!("{mark}{line}")));
            }
            self.blank();
        }
    }

    fn end(&mut self, plan: &ChangePlan) {
        let output = self.output;
        if !plan.changes() {
            self.line(0, &output.green(&format!("✓ {}", words::nothing(plan))));
            return;
        }
        let summary = words::summary(&plan.summary);
        self.line(0, &format!("{} {summary}; nothing was changed", output.bold("Plan:")));
        for service in &plan.summary.breaking {
            let told = format!("{service} breaks its consumers: {}", words::breaking(service));
            for (at, line) in wrap(&told, self.width - 2).into_iter().enumerate() {
                let mark = if at == 0 { "✗" } else { " " };
                self.line(0, &output.red(&format!("{mark} {line}")));
            }
        }
    }
}

fn hashes(part: &cameo_registry::plan::PartChange) -> String {
    let short =
        |hash: Option<cameo_domain::Sha256>| hash.map_or("(none)".to_owned(), |hash| hash.short());
    format!("{} → {}", short(part.old), short(part.new))
}

fn consumer(change: &ConsumerChange, what: &str, output: Output) -> String {
    let mark = match &change.change {
        SchemaChange::Added { .. } => output.green("+"),
        SchemaChange::Removed { .. } => output.red("−"),
        _ => output.yellow("~"),
    };
    let what = if change.breaking { output.red(what) } else { what.to_owned() };
    format!("{mark} {what}")
}

fn told(fact: &ModelFact) -> String {
    match (&fact.old, &fact.new) {
        (None, Some(new)) => format!("{} {new}", fact.fact),
        (old, new) => format!(
            "{} {} → {}",
            fact.fact,
            old.as_deref().unwrap_or("(none)"),
            new.as_deref().unwrap_or("(none)")
        ),
    }
}

/// What a step expects and gives, side by side.
fn sides(step: &StepView) -> String {
    let longest = step.expected.len().max(step.given.len());
    let side = |ports: &[Port], index: usize| {
        ports
            .get(index)
            .map_or_else(String::new, |port| format!("{} {}", port.name, in_sql(&port.kind)))
    };
    let rows =
        (0..longest).map(|index| vec![side(&step.expected, index), side(&step.given, index)]);
    table(&["expects", "gives"], rows)
}

/// An Arrow type in the words of whoever writes SQL; others as they are.
fn in_sql(kind: &str) -> &str {
    match kind {
        "Int64" => "INT64",
        "Float64" => "FLOAT64",
        "Float32" => "FLOAT32",
        "Utf8" => "STRING",
        "Boolean" => "BOOL",
        "Date32" => "DATE",
        timestamp if timestamp.starts_with("Timestamp(") => "TIMESTAMP",
        other => other,
    }
}

/// A text padded to a width where it is shorter.
fn padded_at_least(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// A text padded to a width, or cut to it.
pub(super) fn padded(text: &str, width: usize) -> String {
    let text = cut(text, width);
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(&text))))
}
