//! Places inside of a text that YAML unquotes and folds.

use std::{iter::Peekable, str::CharIndices};

/// Where in a file stands what stands at `target` in `value`, both in bytes; the value was read from the
/// scalar that begins at `start`. None where it cannot be told.
///
/// YAML quotes a text and changes its white space, and nothing else. So signs that are not white are
/// counted on both sides, and compared: a wrong place is never given.
pub(crate) fn place(file: &str, start: usize, value: &str, target: usize) -> Option<usize> {
    let written = file.get(start..)?;
    let (skipped, quote) = match written.chars().next()? {
        quote @ ('\'' | '"') => (1, Some(quote)),
        // The text of a block begins on the next line.
        '|' | '>' => (written.find('\n')? + 1, None),
        _ => (0, None),
    };
    let mut signs = written[skipped..].char_indices().peekable();
    let mut end = 0;
    for (at, wanted) in value.char_indices().filter(|(_, sign)| !sign.is_whitespace()) {
        let (from, found) = next_sign(&mut signs, quote)?;
        if found != wanted {
            return None;
        }
        if at >= target {
            return Some(start + skipped + from);
        }
        end = signs.peek().map_or(written.len() - skipped, |(at, _)| *at);
    }
    Some(start + skipped + end)
}

/// The next sign that is not white, and where it begins.
fn next_sign(signs: &mut Peekable<CharIndices<'_>>, quote: Option<char>) -> Option<(usize, char)> {
    loop {
        let (at, sign) = signs.next()?;
        match (sign, quote) {
            (sign, _) if sign.is_whitespace() => {}
            ('\'', Some('\'')) => {
                signs.next_if(|(_, next)| *next == '\'')?;
                return Some((at, '\''));
            }
            ('"', Some('"')) => return None,
            ('\\', Some('"')) => match signs.next()?.1 {
                'n' | 't' | 'r' | ' ' | '\n' => {}
                escaped @ ('"' | '\\' | '/') => return Some((at, escaped)),
                _ => return None,
            },
            (sign, _) => return Some((at, sign)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        source::SourceFile,
        yaml::{self, Value},
    };

    /// The value of the one key of a document, and where each sign of it that is not white is found.
    fn found(document: &str) -> (String, Vec<Option<char>>) {
        let source = SourceFile::new("config.yaml", document);
        let mut problems = Vec::new();
        let root = yaml::parse(&source, &mut problems).expect("a document");
        assert!(problems.is_empty(), "{problems:?}");
        let Value::Map(entries) = root.value else { panic!("expected a mapping") };
        let node = &entries[0].value;
        let Value::Scalar { text, .. } = &node.value else { panic!("expected a text") };
        let signs = text.char_indices().filter(|(_, sign)| !sign.is_whitespace());
        let places = signs.map(|(at, _)| {
            let at = place(document, node.span.offset, text, at)?;
            document[at..].chars().next()
        });
        (text.clone(), places.collect())
    }

    #[test]
    fn a_sign_is_found_in_every_style() {
        for document in [
            "a: score > 0.5 AND\n  tier = 'é'\nb: 1\n",
            "a: 'tier = ''High'' OR\n  score > 1'\n",
            "a: \"tier = \\\"High\\\"\\n AND \\\n  score > 1\"\n",
            "a: |\n  tier = 'High'\n    AND score > 1\n",
            "a: >-  # folded\n  tier = 'High'\n  AND score > 1\n",
        ] {
            let (text, places) = found(document);
            let signs: Vec<char> = text.chars().filter(|sign| !sign.is_whitespace()).collect();
            for (sign, place) in signs.iter().zip(&places) {
                let place = place.expect("a place");
                // An escape begins with its backslash.
                assert!(place == *sign || place == '\\', "{document}: {sign} at {place}");
            }
            assert!(!signs.is_empty());
        }
    }

    #[test]
    fn behind_the_last_sign_is_the_end_and_an_escape_by_number_is_not_followed() {
        let file = "a: 'x = 1'\n";
        assert_eq!(place(file, 3, "x = 1", 5), Some(9));
        assert_eq!(place("a: \"\\x41 b\"\n", 3, "A b", 2), None);
    }

    proptest! {
        #[test]
        fn a_place_is_never_wrong(file in "\\PC{0,40}", value in "\\PC{0,20}", target in 0_usize..24) {
            if let Some(at) = place(&file, 0, &value, target) {
                let wanted = value.char_indices().find(|(from, sign)| {
                    *from >= target && !sign.is_whitespace()
                });
                let found = file[at..].chars().next();
                let is_right = wanted.is_none_or(|(_, sign)| {
                    found == Some(sign) || found == Some('\\')
                });
                prop_assert!(is_right, "{found:?} for {wanted:?}");
            }
        }
    }
}
