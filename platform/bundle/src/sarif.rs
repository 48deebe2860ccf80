//! Diagnostics as SARIF 2.1.0, which code scanning services show at the lines of a pull request.

use std::path::{Component, Path};

use serde_json::{Value, json};

use crate::{
    code::Code,
    diagnostic::{Diagnostic, Severity},
};

/// The standard's schema.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// What relative paths are relative to.
const ROOT: &str = "%SRCROOT%";

/// One run of the linter as a SARIF log. Relative paths count from the repository's root.
///
/// Columns are counted in characters from 1, as in every other output, and the log says so. Rules
/// are those that were broken, in the order of their codes.
#[must_use]
pub fn render_sarif(diagnostics: &[Diagnostic], version: &str) -> String {
    let mut codes: Vec<Code> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "cameo",
                "version": version,
                "rules": codes.iter().map(|code| rule(*code)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": diagnostics.iter().map(|found| result(found, &codes)).collect::<Vec<_>>(),
        }],
    });
    format!("{log:#}")
}

fn rule(code: Code) -> Value {
    let explanation = code.explain();
    let mut help = format!("{} {}", explanation.cause, explanation.cure);
    let mut markdown =
        format!("**Cause:** {}\n\n**What to do:** {}", explanation.cause, explanation.cure);
    if let Some(example) = explanation.example {
        help.push_str(&format!(" Instead of: {} Write: {}", example.wrong, example.right));
        markdown.push_str(&format!(
            "\n\nInstead of\n\n```\n{}\n```\n\nwrite\n\n```\n{}\n```",
            example.wrong, example.right
        ));
    }
    json!({
        "id": code.to_string(),
        "name": format!("{code:?}"),
        "shortDescription": { "text": explanation.title },
        "fullDescription": { "text": explanation.cause },
        "help": { "text": help, "markdown": markdown },
    })
}

fn result(found: &Diagnostic, codes: &[Code]) -> Value {
    let level = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut region = json!({ "startLine": 1, "startColumn": 1 });
    if let Some(span) = found.span {
        region = json!({
            "startLine": span.line,
            "startColumn": span.column,
            "endLine": span.line,
            "endColumn": found.end_column(),
        });
    }
    if let Some(excerpt) = &found.excerpt {
        region["snippet"] = json!({ "text": excerpt });
    }
    json!({
        "ruleId": found.code.to_string(),
        "ruleIndex": codes.binary_search(&found.code).unwrap_or_default(),
        "level": level,
        "message": { "text": found.in_full() },
        "locations": [{ "physicalLocation": {
            "artifactLocation": place(&found.file),
            "region": region,
        }}],
    })
}

fn place(file: &Path) -> Value {
    let mut parts = Vec::new();
    for part in file.components() {
        match part {
            Component::Normal(name) => parts.push(encoded(name.as_encoded_bytes())),
            Component::ParentDir => parts.push("..".to_owned()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    let path = parts.join("/");
    if file.is_absolute() {
        json!({ "uri": format!("file:///{path}") })
    } else {
        json!({ "uri": path, "uriBaseId": ROOT })
    }
}

/// A name in a URL.
fn encoded(name: &[u8]) -> String {
    let mut text = String::new();
    for byte in name {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(*byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_url() {
        let relative = place(Path::new("./tenants/crm/50% off/config.yaml"));
        assert_eq!(relative["uri"], "tenants/crm/50%25%20off/config.yaml");
        assert_eq!(relative["uriBaseId"], ROOT);
        let absolute = place(Path::new("/srv/ä/config.yaml"));
        assert_eq!(absolute, json!({ "uri": "file:///srv/%C3%A4/config.yaml" }));
    }
}
