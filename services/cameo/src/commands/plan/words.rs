//! What a plan says in words, on a terminal as in a comment.

use cameo_domain::{ServicePath, Stage};
use cameo_registry::plan::{
    ChangePlan, ComparedRelease, Distribution, Entry, PredictionSample, Reads, Sampled,
    SegmentChange, SegmentChangeKind, ServiceChange, SettingChange, Summary, UnaffectedService,
};
use cameo_segment::Definition;
use serde_json::Value;

use crate::{commands::check::counted, output::grouped};

/// Shares of 100 at which a stability index is usually called a shift, and a large one.
const SHIFT: (f64, f64) = (0.1, 0.25);
/// Heights of a bar of a histogram.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// `2 to add, 1 to change, 1 to archive, 14 unaffected`
pub(super) fn summary(summary: &Summary) -> String {
    let Summary { add, change, archive, unaffected, tenants, .. } = summary;
    let mut text =
        format!("{add} to add, {change} to change, {archive} to archive, {unaffected} unaffected");
    if *tenants > 0 {
        text = format!("{text}, {} to set up", counted(*tenants, "tenant"));
    }
    text
}

/// What to say where nothing would change.
pub(super) fn nothing(plan: &ChangePlan) -> String {
    let services = counted(plan.summary.unaffected, "service");
    format!("nothing to change: {services} unaffected")
}

/// How the consumers of services are kept from a surprise.
pub(super) fn breaking(service: &ServicePath) -> String {
    format!("`cameo apply` refuses this without --accept-breaking {service}")
}

/// Where the release goes, and why.
pub(super) fn entry(service: &ServiceChange) -> String {
    let short = service.release.0.short();
    let path = &service.service;
    let again = matches!(service.entry, Entry::Enters { again: true, .. });
    let back = if again { "comes back from the archive: it " } else { "" };
    let told = match (service.entry, &service.compared_with) {
        (Entry::Enters { stage: Stage::Production, .. }, Some(compared))
            if compared.stage == Stage::Production =>
        {
            format!("enters production and replaces {}", release(compared))
        }
        (Entry::Enters { stage: Stage::Production, .. }, _) => {
            "enters production and runs from its next due instant on".to_owned()
        }
        (Entry::Enters { stage, .. }, _) => format!(
            "enters {stage}, as RELEASE_CONFIG says; `cameo promote {path} {short}` leads on"
        ),
        (Entry::AwaitsApproval, _) => format!(
            "becomes a candidate, because production is protected; `cameo approve {path} {short}` by \
             somebody else puts it there"
        ),
        (Entry::Stays { stage }, _) => format!("stays in {stage}"),
        (Entry::Held, _) => "was rolled back and is held".to_owned(),
    };
    format!("{back}{told}")
}

/// What it was compared with, where that is not what is in production.
pub(super) fn compared(service: &ServiceChange) -> Option<String> {
    let compared = service.compared_with.as_ref()?;
    let differs = compared.stage != Stage::Production;
    differs.then(|| {
        let stage = match compared.stage {
            Stage::Archived => "which is archived".to_owned(),
            stage => format!("a {stage}"),
        };
        format!("compared with {}, {stage}: nothing is in production", release(compared))
    })
}

fn release(compared: &ComparedRelease) -> String {
    format!("release {} ({})", compared.release.0.short(), compared.version)
}

/// Why a service that would be expected to change does not.
pub(super) fn held(service: &UnaffectedService) -> Option<String> {
    let (path, short) = (&service.service, service.release.0.short());
    match service.entry {
        Entry::Stays { stage: Stage::Production }
        | Entry::Enters { .. }
        | Entry::AwaitsApproval => None,
        Entry::Stays { stage } => Some(format!(
            "{path}: release {short} is a {stage} already; `cameo promote {path} {short}` leads on"
        )),
        Entry::Held => Some(format!(
            "{path}: release {short} was rolled back and is held; `cameo promote {path} {short}` \
             brings it back"
        )),
    }
}

/// What a run reads.
pub(super) fn reads(reads: &Reads) -> String {
    let known = |number: Option<u64>| number.map_or("?".to_owned(), grouped);
    format!(
        "at most {} rows, {} bytes; data as of {}",
        known(reads.rows_estimated),
        known(reads.bytes_estimated),
        reads.watermark.map_or("?".to_owned(), |at| at.format("%Y-%m-%d %H:%M UTC").to_string()),
    )
}

/// A setting's value, as a config spells it.
pub(super) fn value(value: Option<&Value>) -> String {
    value.map_or("(not set)".to_owned(), ToString::to_string)
}

/// A setting's old and new value.
pub(crate) fn setting(change: &SettingChange) -> (String, String) {
    (value(change.old.as_ref()), value(change.new.as_ref()))
}

/// Whether a config differs in nothing that means anything.
pub(super) fn is_only_layout(service: &ServiceChange) -> bool {
    let config = service.parts.iter().any(|part| part.part == "config.yaml");
    let same = service.settings.is_empty() && service.segments.is_empty();
    config && same && service.schema.is_empty() && service.texts.is_empty()
}

/// Which segment, and what becomes of it.
pub(super) fn segment(changed: &SegmentChange) -> String {
    let told = match &changed.change {
        SegmentChangeKind::Added { definition } => definition.condition.clone(),
        SegmentChangeKind::Changed { old, new } => redefined(old, new),
        SegmentChangeKind::Removed => "is removed: its bundle no longer has it".to_owned(),
        SegmentChangeKind::Stops { reason } => {
            format!("keeps its last members, and no others can be made: {reason}")
        }
    };
    format!("{}: {told}", changed.segment)
}

/// What differs between two definitions.
fn redefined(old: &Definition, new: &Definition) -> String {
    if old.condition != new.condition {
        return format!("{} → {}", old.condition, new.condition);
    }
    let shares = |one: &Definition| (one.sample.clone(), one.hold_out.clone());
    if shares(old) != shares(new) {
        return "another sample or hold-out".to_owned();
    }
    if old.attributes != new.attributes {
        let listed: Vec<String> = new.attributes.iter().map(ToString::to_string).collect();
        return format!("handed on with {}", listed.join(", "));
    }
    "another description".to_owned()
}

/// Which customers a sample is of, and what stands beside it.
pub(super) fn sampled(sampled: &Sampled) -> String {
    let which = if sampled.complete { "all" } else { "the first" };
    let first = format!("{which} {} customers", grouped(sampled.customers));
    match &sampled.compared_with {
        None => first,
        Some(compared) => match compared.rows_matched {
            Some(rows) if rows == sampled.rows => {
                format!("{first} beside generation {}", compared.generation)
            }
            Some(rows) => format!(
                "{first} beside generation {}, which has {} of the {} rows",
                compared.generation,
                grouped(rows),
                grouped(sampled.rows)
            ),
            None => format!(
                "{first} beside the first rows of generation {}, which has none of them",
                compared.generation
            ),
        },
    }
}

/// Whether a prediction is for every row what it is now.
pub(super) fn is_as_now(sampled: &Sampled, prediction: &PredictionSample) -> bool {
    let matched = sampled.compared_with.as_ref().and_then(|compared| compared.rows_matched);
    matched == Some(sampled.rows) && prediction.share_changed == Some(0.0)
}

/// What to know before reading a sample.
pub(super) fn cautions(sampled: &Sampled) -> Vec<String> {
    let mut cautions = Vec::new();
    if sampled.keys_repeated > 0 {
        cautions.push(format!(
            "{} repeat the key of another: a run would halt",
            counted_rows(sampled.keys_repeated)
        ));
    }
    let left_out: u64 = sampled.quarantined.iter().map(|one| one.rows).sum();
    if left_out > 0 {
        let reasons = sampled.quarantined.iter().map(|one| {
            let column = one.column.as_ref().map_or(String::new(), |name| format!("{name}: "));
            format!("{} × {column}{}", grouped(one.rows), one.reason)
        });
        let reasons: Vec<_> = reasons.collect();
        cautions.push(format!("{} in quarantine: {}", grouped(left_out), reasons.join("; ")));
    }
    if sampled.over_sample_alone {
        cautions.push(
            "predictions.sql looks at all rows, which here are those of the sample alone: ranks and \
             tiers differ from a run's"
                .to_owned(),
        );
    }
    cautions
}

fn counted_rows(rows: u64) -> String {
    format!("{} row{}", grouped(rows), if rows == 1 { "" } else { "s" })
}

/// How far a prediction moves.
pub(super) fn shift(prediction: &PredictionSample) -> Option<String> {
    let changed = prediction.share_changed.map(|share| match share {
        _ if share >= 1.0 => "every value changes".to_owned(),
        share => format!("{} of the values change", percent(share)),
    });
    let index = prediction.stability_index.map(|index| {
        let word = match index {
            _ if index < SHIFT.0 => "stable",
            _ if index < SHIFT.1 => "shifted",
            _ => "shifted far",
        };
        format!("PSI {index:.3}, {word}")
    });
    let told: Vec<String> = changed.into_iter().chain(index).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// Whether a prediction moves so far that somebody should look.
pub(super) fn is_shifted(prediction: &PredictionSample) -> bool {
    prediction.stability_index.is_some_and(|index| index >= SHIFT.0)
}

/// `12.3 %`
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.1 {
        return "<0.1 %".to_owned();
    }
    format!("{percent:.1} %")
}

/// A histogram as one character for each part, as high as its share of the highest part of all that are
/// drawn beside it.
pub(super) fn sparkline(histogram: &[u64], tallest_share: f64) -> String {
    let rows: u64 = histogram.iter().sum();
    let top = BLOCKS.len() - 1;
    let bar = |count: &u64| {
        if *count == 0 {
            return ' ';
        }
        let share = *count as f64 / rows as f64 / tallest_share;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let level = (share * top as f64).ceil() as usize;
        BLOCKS[level.min(top)]
    };
    histogram.iter().map(bar).collect()
}

/// The largest share of rows that one part of a histogram has, among these.
pub(super) fn tallest_share<'a>(all: impl Iterator<Item = &'a Distribution>) -> f64 {
    let share = |distribution: &Distribution| match distribution {
        Distribution::Numbers { histogram, .. } => {
            let rows: u64 = histogram.iter().sum();
            histogram.iter().map(|count| *count as f64 / rows.max(1) as f64).fold(0.0, f64::max)
        }
        Distribution::Words { .. } => 0.0,
    };
    all.map(share).fold(f64::MIN_POSITIVE, f64::max)
}

/// The words to tell of a text prediction, the most frequent first, with their shares then and now.
pub(super) fn word_shares(prediction: &PredictionSample) -> Vec<(String, f64, Option<f64>)> {
    let mut words: Vec<String> = Vec::new();
    let both = [Some(&prediction.sampled), prediction.current.as_ref()];
    for distribution in both.into_iter().flatten() {
        let Distribution::Words { most_frequent, .. } = distribution else { continue };
        words.extend(most_frequent.iter().map(|word| word.value.clone()));
    }
    let mut seen = std::collections::BTreeSet::new();
    words.retain(|word| seen.insert(word.clone()));
    let share = |distribution: &Distribution, wanted: &str| match distribution {
        Distribution::Words { rows, most_frequent, .. } => {
            let found = most_frequent.iter().find(|word| word.value == wanted);
            found.map_or(0.0, |word| word.rows as f64 / (*rows).max(1) as f64)
        }
        Distribution::Numbers { .. } => 0.0,
    };
    let shares = words.into_iter().map(|word| {
        let (then, now) = (
            share(&prediction.sampled, &word),
            prediction.current.as_ref().map(|current| share(current, &word)),
        );
        (word, then, now)
    });
    shares.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_side_by_side_share_a_scale() {
        let distribution = |histogram: &[u64]| Distribution::Numbers {
            rows: histogram.iter().sum(),
            nulls: 0,
            numbers: None,
            histogram: histogram.to_vec(),
        };
        let (peaked, flat) = (distribution(&[0, 8, 0]), distribution(&[4, 4, 4]));
        let tallest = tallest_share([&peaked, &flat].into_iter());
        assert_eq!(sparkline(&[0, 8, 0], tallest), " █ ");
        assert_eq!(sparkline(&[4, 4, 4], tallest), "▄▄▄");
    }

    #[test]
    fn a_small_share_is_not_none() {
        let told = [0.0, 0.0001, 0.1234, 1.0].map(percent);
        assert_eq!(told, ["0.0 %", "<0.1 %", "12.3 %", "100.0 %"]);
    }
}
