//! `CARD.md`: Markdown, with front matter that is checked where there is any.

use cameo_domain::Card;

use crate::{
    code::Code,
    diagnostic::Diagnostic,
    reader::{Key, Reader, Section, is_null, optional, required},
    source::SourceFile,
    yaml,
};

/// What opens and closes front matter.
const FENCE: &str = "---";
/// How messages call the front matter.
const NAME: &str = "the card's front matter";
/// Most metrics.
const METRICS_MAX: usize = 50;

/// The keys of the front matter.
const KEYS: &[Key] = &[
    required("OWNER", "OWNER: campaign-science@example.com"),
    required("PURPOSE", "PURPOSE: who is shown which coupon design"),
    required("LIMITS", "LIMITS: not for prices or eligibility"),
    required("TRAINING_DATA", "TRAINING_DATA: demo.customers, January to June 2026"),
    optional("METRICS"),
    optional("FAIRNESS"),
];

/// Reads a card, adding every problem of it to `problems`. None where it has no front matter, which
/// nothing demands.
pub(crate) fn read(source: &SourceFile, problems: &mut Vec<Diagnostic>) -> Option<Card> {
    let text = source.text.trim_start_matches('\u{feff}');
    let begin = source.text.len() - text.len();
    let body = text.strip_prefix(FENCE).and_then(after_line)?;
    let begin_of_body = begin + text.len() - body.len();
    let Some((length, rest)) = until_fence(body) else {
        let span = source.span(begin..begin + FENCE.len());
        problems.push(
            Diagnostic::at(Code::CardNotClosed, source, span, format!("{NAME} is not closed"))
                .expected("a second line of `---` below the keys"),
        );
        return None;
    };
    // Cut after the keys, so that places in it are places in the file.
    let front = SourceFile::new(&source.path, &source.text[..begin_of_body + length]);
    let mut reader = Reader { source: &front, problems: Vec::new() };
    let root = yaml::parse(&front, &mut reader.problems).filter(|root| !is_null(root));
    let mut card = None;
    if let Some(root) = &root {
        card = reader.section(root, NAME, KEYS).map(|section| {
            let mut card = read_keys(&mut reader, &section);
            rest.trim_start().clone_into(&mut card.text);
            card
        });
    } else if reader.problems.is_empty() {
        let span = source.span(begin..begin + FENCE.len());
        let problem = reader.problem(Code::ValueEmpty, span, format!("{NAME} is empty"));
        reader.report(problem.help("add its keys, or remove both lines of `---`"));
    }
    let clean = reader.problems.is_empty();
    problems.append(&mut reader.problems);
    card.filter(|_| clean)
}

fn read_keys(reader: &mut Reader<'_>, section: &Section<'_>) -> Card {
    let mut text = |key: &str| {
        let node = section.get(key)?;
        reader.filled_text(node, key).map(|text| text.value.trim().to_owned())
    };
    let mut card = Card {
        owner: text("OWNER").unwrap_or_default(),
        purpose: text("PURPOSE").unwrap_or_default(),
        limits: text("LIMITS").unwrap_or_default(),
        training_data: text("TRAINING_DATA").unwrap_or_default(),
        fairness: text("FAIRNESS"),
        metrics: std::collections::BTreeMap::new(),
        text: String::new(),
    };
    let Some(node) = section.get("METRICS") else { return card };
    let entries = reader.entries(node, "names with numbers, such as {roc_auc: 0.82}");
    for entry in entries.into_iter().flatten().take(METRICS_MAX) {
        if card.metrics.contains_key(&entry.key) {
            let message = format!("`{}` was already given", entry.key);
            let problem = reader.problem(Code::DuplicateKey, entry.key_span, message);
            reader.report(problem.help("remove one of them"));
        } else if let Some(number) = reader.decimal(&entry.value, &entry.key, f64::MIN..=f64::MAX) {
            card.metrics.insert(entry.key.clone(), number);
        }
    }
    if let Some(beyond) = entries.and_then(|entries| entries.get(METRICS_MAX)) {
        let message = format!("found {} metrics", entries.map_or(0, <[_]>::len));
        let problem = reader.problem(Code::ValueOutOfRange, beyond.key_span, message);
        reader.report(problem.expected(format!("at most {METRICS_MAX}")));
    }
    card
}

/// What follows the end of the line, where nothing else is on it.
fn after_line(text: &str) -> Option<&str> {
    let (line, rest) = text.split_once('\n')?;
    line.trim().is_empty().then_some(rest)
}

/// How long the text before the closing fence is, and what follows the fence.
fn until_fence(text: &str) -> Option<(usize, &str)> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_end() == FENCE {
            return Some((at, &text[at + line.len()..]));
        }
        at += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRONT: &str = "---\nOWNER: science\nPURPOSE: coupons\nLIMITS: >\n  not for\n  prices\n\
                         TRAINING_DATA: year 2026\nMETRICS: {roc_auc: 0.82, rmse: 3}\n---\n\n# Title\n\n---\n";

    fn read_text(text: &str) -> (Option<Card>, Vec<Diagnostic>) {
        let mut problems = Vec::new();
        let card = read(&SourceFile::new("CARD.md", text), &mut problems);
        (card, problems)
    }

    #[test]
    fn front_matter_is_read_and_the_text_below_it_kept() {
        let (card, problems) = read_text(FRONT);
        assert!(problems.is_empty(), "{problems:?}");
        let card = card.expect("a card");
        assert_eq!((card.owner.as_str(), card.limits.as_str()), ("science", "not for prices"));
        assert_eq!(card.metrics.get("rmse"), Some(&3.0));
        assert_eq!(card.text, "# Title\n\n---\n");
        assert_eq!(
            read_text(&FRONT.replace('\n', "\r\n")).0.map(|card| card.owner),
            Some(card.owner)
        );
    }

    #[test]
    fn a_card_without_front_matter_is_no_problem() {
        for text in ["", "# Title\n", "# Title\n\n---\n", "--- not a fence\n", "---"] {
            assert_eq!(read_text(text), (None, Vec::new()), "{text:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_at_its_line() {
        let places = |text: &str| {
            let (card, problems) = read_text(text);
            assert_eq!(card, None);
            let line = |problem: &Diagnostic| problem.span.map_or(0, |span| span.line);
            problems.iter().map(|problem| (problem.code, line(problem))).collect::<Vec<_>>()
        };
        assert_eq!(places("---\nOWNER: a\n"), [(Code::CardNotClosed, 1)]);
        assert_eq!(places("---\n---\n"), [(Code::ValueEmpty, 1)]);
        assert_eq!(
            places(&FRONT.replace("OWNER", "OWNERS")),
            [(Code::UnknownKey, 2)],
            "that the right one is missing says nothing new"
        );
        assert_eq!(places(&FRONT.replace("coupons", "12")), [(Code::WrongType, 3)]);
        assert_eq!(places(&FRONT.replace("0.82", "high")), [(Code::WrongType, 8)]);
    }
}
