//! `features.sql`, wrapped so that it gives some of its rows.

use cameo_domain::{ColumnName, Key};

/// The customers whose key's hash begins low: the same ones whenever the data is the same, and an
/// even sample of all. The key alone decides, so an engine can leave the others out before it
/// aggregates.
pub(super) fn sample(features: &str, key: &ColumnName, below: Option<&str>, rows: u32) -> String {
    let hash = format!("TO_HEX(MD5(CAST(`{key}` AS STRING)))");
    let chosen = match below {
        Some(below) => format!("{hash} < '{below}'"),
        None => format!("`{key}` IS NOT NULL"),
    };
    let features = without_end(features);
    format!(
        "SELECT * FROM (\n{features}\n) AS features\nWHERE {chosen}\n\
         ORDER BY {hash}, `{key}` LIMIT {rows}"
    )
}

/// The first customers in the order of their keys: the same ones whenever the data is the same.
pub(crate) fn first(features: &str, key: &ColumnName, rows: u32) -> String {
    let features = without_end(features);
    format!("SELECT * FROM (\n{features}\n) AS features\nORDER BY `{key}` LIMIT {rows}")
}

/// The row of one customer.
pub(super) fn one(features: &str, name: &ColumnName, key: &Key) -> String {
    let key = match key {
        Key::Int(key) => key.to_string(),
        Key::String(text) => literal(text),
    };
    let features = without_end(features);
    format!("SELECT * FROM (\n{features}\n) AS features\nWHERE `{name}` = {key} LIMIT 2")
}

/// A string literal of GoogleSQL.
fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for character in text.chars() {
        match character {
            '\\' | '\'' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            _ => quoted.push(character),
        }
    }
    quoted.push('\'');
    quoted
}

/// The query without the semicolon that may end it: within parentheses there is none.
fn without_end(sql: &str) -> &str {
    let mut rest = sql;
    while let Some(next) = rest.find(['\'', '"', '`', '-', '#', '/', ';']) {
        let (before, from) = (sql.len() - rest.len() + next, &rest[next..]);
        let length = match from.as_bytes() {
            [b';', ..] => return &sql[..before],
            [b'-', b'-', ..] | [b'#', ..] => from.find('\n'),
            [b'/', b'*', ..] => from.find("*/").map(|end| end + 2),
            [quote @ (b'\'' | b'"' | b'`'), ..] => quoted_length(from, char::from(*quote)),
            _ => Some(1),
        };
        let Some(length) = length else { break };
        rest = &from[length..];
    }
    sql
}

/// The bytes of the literal or name that `text` begins with; tripled quotes read as three literals.
fn quoted_length(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return Some(at + character.len_utf8()),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_statement_is_found_outside_of_texts_and_comments() {
        for (sql, expected) in [
            ("SELECT 1", "SELECT 1"),
            ("SELECT 1;\n-- done; really", "SELECT 1"),
            (
                "SELECT ';' AS a, `b;` -- c;\n, \"d;\" FROM t ;",
                "SELECT ';' AS a, `b;` -- c;\n, \"d;\" FROM t ",
            ),
            ("SELECT 'it\\'s;' /* ; */ # ;\n;", "SELECT 'it\\'s;' /* ; */ # ;\n"),
            ("SELECT 3-2, 4/2", "SELECT 3-2, 4/2"),
            ("SELECT 1 -- the last line;", "SELECT 1 -- the last line;"),
        ] {
            assert_eq!(without_end(sql), expected);
        }
    }

    #[test]
    fn a_text_key_cannot_leave_its_literal() {
        let name: ColumnName = "id".parse().expect("a name");
        let key = Key::String("a' OR '1'='1\\".to_owned());
        let sql = one("SELECT 1 AS id;", &name, &key);
        assert!(sql.contains(r"WHERE `id` = 'a\' OR \'1\'=\'1\\' LIMIT 2"), "{sql}");
    }
}
