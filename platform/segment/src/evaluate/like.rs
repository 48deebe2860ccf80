//! `LIKE`.

use crate::condition::node::Piece;

/// Whether the whole text fits the pattern.
///
/// Only the last `%` is ever widened, so the time is bounded by the product of both lengths.
pub(crate) fn is_like(text: &str, pattern: &[Piece]) -> bool {
    let (mut rest, mut at) = (text, 0);
    // What follows the last `%`, and where in the text that was tried.
    let mut widened: Option<(usize, &str)> = None;
    loop {
        let first = rest.chars().next();
        match (pattern.get(at), first) {
            (Some(Piece::Any), _) => {
                at += 1;
                widened = Some((at, rest));
                continue;
            }
            (Some(Piece::One), Some(character)) => {
                at += 1;
                rest = &rest[character.len_utf8()..];
                continue;
            }
            (Some(Piece::Just(wanted)), Some(character)) if *wanted == character => {
                at += 1;
                rest = &rest[character.len_utf8()..];
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        let Some((after, from)) = widened else { return false };
        let Some(skipped) = from.chars().next() else { return false };
        rest = &from[skipped.len_utf8()..];
        at = after;
        widened = Some((after, rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_the_whole_text_by_characters() {
        let pattern = |text: &str| -> Vec<Piece> {
            let piece = |character| match character {
                '%' => Piece::Any,
                '_' => Piece::One,
                other => Piece::Just(other),
            };
            text.chars().map(piece).collect()
        };
        let fits =
            [("", ""), ("abc", "a%"), ("abc", "%c"), ("abc", "%b%"), ("é", "_"), ("aab", "%ab")];
        for (text, like) in fits {
            assert!(is_like(text, &pattern(like)), "{text} LIKE {like}");
        }
        let misses =
            [("a", ""), ("", "_"), ("abc", "a"), ("abc", "%a"), ("éé", "_"), ("abc", "%b")];
        for (text, like) in misses {
            assert!(!is_like(text, &pattern(like)), "{text} LIKE {like}");
        }
    }
}
