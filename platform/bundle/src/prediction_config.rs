//! `PREDICTION_CONFIG`: what comes out, and when.

use cameo_domain::{
    Column, ColumnName, DataType, PredictionSchema, Schedule, ScheduleError, ServiceName,
};

use crate::{
    code::Code,
    config::PredictionConfig,
    diagnostic::{Diagnostic, Located, Span},
    nearest::{nearest, nearest_zone},
    reader::{Key, Reader, Section, optional, required, shorten},
    yaml::Node,
};

/// Most prediction names, the key included: a wider table is slow to publish and to serve.
pub const COLUMNS_MAX: usize = 256;
/// Longest version, in bytes.
const VERSION_BYTES_MAX: usize = 64;

/// The keys of `PREDICTION_CONFIG`.
pub(crate) const KEYS: &[Key] = &[
    required("SERVICE_NAME", "SERVICE_NAME: gender"),
    required("VERSION", "VERSION: 0.0.1"),
    required("PREDICTION_SCHEDULE", "PREDICTION_SCHEDULE: \"00 18 * * *\""),
    optional("PREDICTION_TIMEZONE"),
    required("PREDICTION_NAMES", "PREDICTION_NAMES: [user_id, score]"),
    required("PREDICTION_NAMES_DATATYPE", "PREDICTION_NAMES_DATATYPE: [INT, FLOAT64]"),
    optional("SENSITIVE"),
];

pub(crate) fn read(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    service_name: Option<Located<ServiceName>>,
) -> Option<PredictionConfig> {
    let version = section.get("VERSION").and_then(|node| version(reader, node));
    let schedule = schedule(reader, section);
    let names = section.get("PREDICTION_NAMES");
    let types = section.get("PREDICTION_NAMES_DATATYPE");
    let columns = columns(reader, names, types);
    let (names, types, schema) = columns?;
    let sensitive = sensitive(reader, section, &names);
    Some(PredictionConfig {
        service_name: service_name?,
        version: version?,
        schedule: schedule?,
        names,
        types,
        sensitive,
        schema,
    })
}

/// The predictions that are kept sealed, each as PREDICTION_NAMES writes it.
fn sensitive(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    names: &[Located<ColumnName>],
) -> Vec<Located<ColumnName>> {
    if let Some(span) = section.blank("SENSITIVE") {
        let problem = reader
            .problem(Code::ValueEmpty, span, "`SENSITIVE` has no value")
            .help("list the predictions that are kept sealed, or remove it");
        reader.report(problem);
    }
    let Some(nodes) = section.get("SENSITIVE").and_then(|node| reader.list(node)) else {
        return Vec::new();
    };
    let mut found: Vec<Located<ColumnName>> = Vec::new();
    for node in nodes.iter().take(COLUMNS_MAX) {
        let Some(wanted) = reader.parsed::<ColumnName>(node, Code::ColumnNameInvalid) else {
            continue;
        };
        let text = wanted.value.as_str();
        let at = names.iter().position(|name| name.value.as_str().eq_ignore_ascii_case(text));
        let problem = match at {
            Some(0) => reader.problem(
                Code::SensitiveInvalid,
                wanted.span,
                format!("`{text}` is the key, by which predictions are looked up"),
            ),
            Some(at) if found.iter().any(|other| other.value == names[at].value) => reader.problem(
                Code::ColumnNameTwice,
                wanted.span,
                format!("the name `{text}` occurs twice in SENSITIVE"),
            ),
            Some(at) => {
                found.push(Located { value: names[at].value.clone(), span: wanted.span });
                continue;
            }
            None => reader
                .problem(
                    Code::SensitiveInvalid,
                    wanted.span,
                    format!("`{text}` is not among PREDICTION_NAMES"),
                )
                .did_you_mean(nearest(text, names.iter().map(|name| name.value.as_str()))),
        };
        reader.report(problem.expected("names of predictions, each once, without the key"));
    }
    found
}

fn version(reader: &mut Reader<'_>, node: &Node) -> Option<Located<String>> {
    // A number such as 1.0 is a version cut short, not a matter of quotes.
    let version = reader.written(node)?;
    if is_version(&version.value) {
        return Some(version);
    }
    let message = format!("`{}` is not a version", shorten(&version.value));
    let problem = reader
        .problem(Code::VersionInvalid, version.span, message)
        .expected("MAJOR.MINOR.PATCH, such as 0.0.1");
    reader.report(problem);
    None
}

fn is_version(text: &str) -> bool {
    let (numbers, label) = text.split_once('-').map_or((text, None), |(n, l)| (n, Some(l)));
    let is_number = |part: &str| {
        (1..=9).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
    };
    text.len() <= VERSION_BYTES_MAX
        && numbers.split('.').count() == 3
        && numbers.split('.').all(is_number)
        && label.is_none_or(is_label)
}

/// The pattern and the zone are checked apart, so that both can be wrong at once.
fn schedule(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Schedule> {
    let pattern = section
        .get("PREDICTION_SCHEDULE")
        .and_then(|node| reader.filled_text(node, "PREDICTION_SCHEDULE"));
    let zone = match section.get("PREDICTION_TIMEZONE") {
        None => Some("UTC".to_owned()),
        Some(node) => reader.text(node).and_then(|zone| {
            if Schedule::parse("0 0 * * *", &zone.value).is_ok() {
                return Some(zone.value);
            }
            let message = format!("`{}` is not an IANA time zone", shorten(&zone.value));
            let problem = reader
                .problem(Code::TimezoneUnknown, zone.span, message)
                .expected("a name such as Europe/Berlin")
                .did_you_mean(nearest_zone(&zone.value));
            reader.report(problem);
            None
        }),
    };
    let pattern = pattern?;
    match Schedule::parse(&pattern.value, zone.as_deref().unwrap_or("UTC")) {
        Ok(schedule) => zone.map(|_| schedule),
        Err(error) => {
            if matches!(error, ScheduleError::Pattern(_))
                && let Some(problem) = wrong_field(reader, &pattern)
            {
                reader.report(problem);
                return None;
            }
            let problem = reader.problem(Code::ScheduleInvalid, pattern.span, error.to_string());
            let problem = match &error {
                ScheduleError::FieldCount(6 | 7) => problem.help("leave out seconds and years"),
                ScheduleError::FieldCount(_) if pattern.value.starts_with('@') => {
                    problem.help("write the five fields out: @daily is \"0 0 * * *\"")
                }
                _ => problem,
            };
            reader.report(problem.expected("a pattern such as \"00 18 * * *\""));
            None
        }
    }
}

/// The fields of a pattern: what each is called, and what it may hold.
const CRON_FIELDS: [(&str, &str); 5] = [
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day-of-month", "1 to 31"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day-of-week", "0 to 7 or SUN to SAT"),
];

/// The first field that is wrong by itself.
fn wrong_field(reader: &Reader<'_>, pattern: &Located<String>) -> Option<Diagnostic> {
    let fields: Vec<&str> = pattern.value.split_whitespace().collect();
    let (index, (name, range)) = CRON_FIELDS.iter().enumerate().find(|(index, _)| {
        let alone: Vec<&str> =
            (0..5).map(|at| if at == *index { fields[at] } else { "*" }).collect();
        matches!(Schedule::parse(&alone.join(" "), "UTC"), Err(ScheduleError::Pattern(_)))
    })?;
    let message = format!("the {name} field `{}` is not valid", shorten(fields[index]));
    // Where the text is written plainly, its field is found in the line.
    let start = pattern.span.offset;
    let written = reader.source.text.get(start..start + pattern.span.len)?;
    let span = written.find(&pattern.value).map_or(pattern.span, |at| {
        let before = fields[index].as_ptr() as usize - pattern.value.as_ptr() as usize;
        let field = start + at + before;
        reader.source.span(field..field + fields[index].len())
    });
    Some(
        reader
            .problem(Code::ScheduleInvalid, span, message)
            .expected(format!("{range}, `*`, a list, a range or a step")),
    )
}

type Columns = (Vec<Located<ColumnName>>, Vec<Located<DataType>>, PredictionSchema);

fn columns(reader: &mut Reader<'_>, names: Option<&Node>, types: Option<&Node>) -> Option<Columns> {
    let name_nodes = names.and_then(|node| reader.list(node));
    let type_nodes = types.and_then(|node| reader.list(node));
    let names: Option<Vec<_>> = name_nodes.map(|nodes| {
        nodes.iter().take(COLUMNS_MAX).map(|node| column_name(reader, node)).collect()
    });
    let types: Option<Vec<_>> = type_nodes
        .map(|nodes| nodes.iter().take(COLUMNS_MAX).map(|node| data_type(reader, node)).collect());
    if let Some(names) = &names {
        report_twins(reader, names);
    }
    if let (Some(names), Some(nodes)) = (name_nodes, type_nodes) {
        compare_lengths(reader, names, nodes, types.as_deref());
    }
    if let Some(nodes) = name_nodes {
        check_count(reader, nodes, section_span(nodes, reader));
    }
    if let Some(Some(Some(first))) = types.as_ref().map(|types| types.first().cloned())
        && !first.value.is_key()
    {
        let message = format!("the key has type {}", first.value);
        let problem = reader
            .problem(Code::KeyTypeInvalid, first.span, message)
            .expected("INT or STRING for the first name");
        reader.report(problem);
    }
    let names: Vec<_> = names?.into_iter().collect::<Option<_>>()?;
    let types: Vec<_> = types?.into_iter().collect::<Option<_>>()?;
    let columns = names
        .iter()
        .zip(&types)
        .map(|(name, kind)| Column { name: name.value.clone(), data_type: kind.value })
        .collect();
    // Every rule of the schema was checked above, at its place.
    let schema = PredictionSchema::new(columns).ok().filter(|_| names.len() == types.len())?;
    Some((names, types, schema))
}

fn section_span(nodes: &[Node], reader: &Reader<'_>) -> Span {
    nodes.last().map_or(reader.source.start(), |node| node.span)
}

fn column_name(reader: &mut Reader<'_>, node: &Node) -> Option<Located<ColumnName>> {
    reader.parsed(node, Code::ColumnNameInvalid)
}

fn data_type(reader: &mut Reader<'_>, node: &Node) -> Option<Located<DataType>> {
    let text = reader.text(node)?;
    if let Ok(value) = text.value.parse() {
        return Some(Located { value, span: text.span });
    }
    let names = DataType::ALL.map(DataType::as_str);
    let alias = match text.value.to_ascii_uppercase().as_str() {
        "INT64" | "INTEGER" | "BIGINT" | "LONG" => Some("INT"),
        "FLOAT" | "DOUBLE" | "FLOAT32" | "NUMERIC" => Some("FLOAT64"),
        "TEXT" | "VARCHAR" | "STR" => Some("STRING"),
        "BOOLEAN" => Some("BOOL"),
        "DATETIME" => Some("TIMESTAMP"),
        _ => nearest(&text.value, names),
    };
    let message = format!("`{}` is not a type", shorten(&text.value));
    let problem = reader
        .problem(Code::DataTypeUnknown, text.span, message)
        .expected(format!("one of {}", names.join(", ")))
        .did_you_mean(alias);
    reader.report(problem);
    None
}

fn report_twins(reader: &mut Reader<'_>, names: &[Option<Located<ColumnName>>]) {
    for (index, name) in names.iter().enumerate() {
        let Some(name) = name else { continue };
        let twin = names[..index]
            .iter()
            .flatten()
            .find(|other| other.value.as_str().eq_ignore_ascii_case(name.value.as_str()));
        if let Some(twin) = twin {
            let message = format!(
                "the name `{}` occurs twice; the first is on line {}, column {}",
                name.value, twin.span.line, twin.span.column
            );
            let problem = reader
                .problem(Code::ColumnNameTwice, name.span, message)
                .expected("names that differ by more than case");
            reader.report(problem);
        }
    }
}

fn compare_lengths(
    reader: &mut Reader<'_>,
    names: &[Node],
    types: &[Node],
    read_types: Option<&[Option<Located<DataType>>]>,
) {
    if names.len() == types.len() {
        return;
    }
    let (longer, message) = if names.len() > types.len() {
        (names, format!("this name has no type: {} names, {} types", names.len(), types.len()))
    } else {
        (types, format!("this type has no name: {} names, {} types", names.len(), types.len()))
    };
    let shorter = names.len().min(types.len());
    let span = longer[shorter].span;
    let mut problem = reader
        .problem(Code::ListsDiffer, span, message)
        .expected("one type for each name, in the same order");
    // The commonest slip: the key's type was left out.
    if names.len() == types.len() + 1
        && read_types
            .and_then(|types| types.first())
            .and_then(Option::as_ref)
            .is_some_and(|first| !first.value.is_key())
    {
        problem = problem.help("the first type belongs to the key");
    }
    reader.report(problem);
}

fn check_count(reader: &mut Reader<'_>, names: &[Node], span: Span) {
    if names.len() < 2 {
        let message = format!("found {} prediction name(s)", names.len());
        let problem = reader
            .problem(Code::TooFewColumns, span, message)
            .expected("the key and at least one prediction");
        reader.report(problem);
    }
    if names.len() > COLUMNS_MAX {
        let message = format!("found {} prediction names", names.len());
        let problem = reader
            .problem(Code::TooManyColumns, span, message)
            .expected(format!("at most {COLUMNS_MAX}"));
        reader.report(problem);
    }
}
