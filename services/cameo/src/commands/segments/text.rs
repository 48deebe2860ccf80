//! Segments in words.

use std::fmt::Write;

use cameo_domain::TenantName;
use cameo_segment::{Share, members::KEY};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    source::Written,
    view::{Count, Detail, Segment},
};
use crate::{
    cli::{File, SegmentNamed},
    output::{Output, grouped, table},
};

pub(super) fn list(tenant: &TenantName, listed: &[Segment]) -> String {
    if listed.is_empty() {
        return format!(
            "{tenant} has no segments; SEGMENT_CONFIG of a bundle defines some, or the API \
             (docs/segments.md)"
        );
    }
    table(
        &["segment", "members", "of", "as of", "defined by", "condition"],
        listed.iter().map(|segment| {
            let made = segment.latest.as_ref();
            let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), grouped);
            vec![
                segment.segment.clone(),
                number(made.map(|made| made.members)),
                number(made.map(|made| made.profiles)),
                made.map_or_else(|| "-".to_owned(), |made| instant(made.as_of)),
                defined_by(segment),
                segment.condition.clone(),
            ]
        }),
    )
}

pub(super) fn detail(detail: &Detail, output: Output) -> String {
    let Detail { segment, materialisations } = detail;
    let mut text = output.bold(&segment.segment);
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = write!(text, "\n  {} {value}", output.dim(&format!("{name:<11}")));
        }
    };
    fact("", &segment.description);
    fact("condition", &segment.condition);
    fact("attributes", &segment.attributes.join(", "));
    fact("sample", &share(segment.sample.as_ref()));
    fact("hold-out", &share(segment.hold_out.as_ref()));
    fact("defined by", &defined_by(segment));
    let (by, at) = (&segment.changed_by, instant(segment.changed_at));
    fact("version", &format!("{}, by {by} at {at}", segment.version));
    fact("reason", segment.reason.as_deref().unwrap_or_default());
    if materialisations.is_empty() {
        let _ = write!(text, "\n\nno members yet; they are made when its services have published");
        return text;
    }
    let rows = materialisations.iter().map(|made| {
        vec![
            made.number.to_string(),
            made.version.to_string(),
            instant(made.as_of),
            grouped(made.members),
            grouped(made.profiles),
            if made.readable { "yes" } else { "no" }.to_owned(),
        ]
    });
    let header = ["materialisation", "version", "as of", "members", "of", "readable"];
    let _ = write!(text, "\n\n{}", table(&header, rows));
    text
}

pub(super) fn count(counted: &Count) -> String {
    let share = match counted.profiles {
        0 => 0.0,
        profiles => counted.members as f64 * 100.0 / profiles as f64,
    };
    format!(
        "{} of {} customers ({share:.1} %), as of {}\n{}",
        grouped(counted.members),
        grouped(counted.profiles),
        instant(counted.as_of),
        counted.condition
    )
}

pub(super) fn members(
    segment: &Segment,
    written: &Written,
    rows: &[Value],
    output: Output,
) -> String {
    let mut header = vec![KEY];
    header.extend(segment.attributes.iter().map(String::as_str));
    let cells = rows.iter().map(|row| {
        let cell = |column: &&str| match &row[*column] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        header.iter().map(cell).collect()
    });
    let shown = grouped(rows.len() as u64);
    let of = format!(
        "{shown} of {} members of materialisation {}, as of {}",
        grouped(written.members),
        written.materialisation,
        instant(written.as_of)
    );
    format!("{}\n{}", table(&header, cells), output.dim(&of))
}

/// What there is to say of a file; beside rows on standard output nothing.
pub(super) fn say_written(
    written: &Written,
    of: &SegmentNamed,
    file: &File,
    output: Output,
) -> anyhow::Result<()> {
    let Some(path) = &file.to else { return Ok(()) };
    output.show(written, |written| {
        let (segment, as_of) = (&of.segment, instant(written.as_of));
        let what = match written.since {
            None => format!("{} members of {segment}", grouped(written.members)),
            Some(since) => format!(
                "what changed in {segment} from materialisation {since} to {}",
                written.materialisation
            ),
        };
        format!("{} {what}, as of {as_of}, in {}", output.green("✓"), path.display())
    })
}

fn defined_by(segment: &Segment) -> String {
    match &segment.defined_by {
        Some(service) => format!("bundle of {service}"),
        None => "API".to_owned(),
    }
}

fn share(share: Option<&Share>) -> String {
    share.map(ToString::to_string).unwrap_or_default()
}

fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}
