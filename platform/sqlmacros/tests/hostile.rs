//! Whatever a template holds, rendering it ends soon, in bounded memory, and never with a panic.

use std::{sync::Arc, time::Instant};

use cameo_sqlmacros::{Library, MacroFile, Origin, ProblemKind, render};
use proptest::prelude::*;

/// Far above what a bounded rendering needs on a busy machine.
const SECONDS_MAX: u64 = 20;

fn team(text: &str) -> Arc<Library> {
    let file = MacroFile { name: "macros/a.sql".to_owned(), text: text.into() };
    Arc::new(Library::parse(Origin::Team, &[file]).0)
}

fn refused(text: &str, macros: &str) -> ProblemKind {
    let start = Instant::now();
    let result = render(text, &team(macros));
    assert!(start.elapsed().as_secs() < SECONDS_MAX, "{text}");
    result.map(|rendered| rendered.text.len()).expect_err(text).kind
}

#[test]
fn work_memory_and_nesting_are_bounded() {
    let doubling = "{% set a = 'x' %}".to_owned() + &"{% set a = a ~ a %}".repeat(60) + "{{ a }}";
    let nested = "{% if true %}".repeat(5_000) + &"{% endif %}".repeat(5_000);
    let parentheses = format!("{{{{ {}1{} }}}}", "(".repeat(50_000), ")".repeat(50_000));
    let texts = [
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{% for i in range(1000) %}{% for j in range(1000) %}{% for k in range(1000) %}{% endfor %}{% endfor %}{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{{ [1] * 1000000000 }}",
        "{% set a %}{% for i in range(10000) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endset %}\
         {% for i in range(10000) %}{{ a }}{% endfor %}",
        "{% macro a(n) %}{{ a(n + 1) }}{% endmacro %}{{ a(0) }}",
        "{% macro a(x) %}{{ a(x ~ x) }}{% endmacro %}{{ a('xx') }}",
        &doubling,
        &nested,
        &parentheses,
    ];
    for text in texts {
        let kind = refused(text, "");
        assert!(
            matches!(kind, ProblemKind::Unbounded | ProblemKind::Syntax | ProblemKind::Failed),
            "{text}: {kind:?}"
        );
    }
}

#[test]
fn macros_that_call_each_other_are_bounded() {
    let endless =
        "{% macro a() %}{{ team.b() }}{% endmacro %}{% macro b() %}{{ team.a() }}{% endmacro %}";
    assert_eq!(refused("{{ team.a() }}", endless), ProblemKind::Unbounded);
    // Each call stays below the depth; together they would work for hours.
    let mut tree = String::new();
    for level in 0..7 {
        let below = level + 1;
        tree += &format!(
            "{{% macro m{level}() %}}{{% for i in range(1000) %}}{{{{ team.m{below}() }}}}{{% endfor %}}{{% endmacro %}}"
        );
    }
    tree += "{% macro m7() %}x{% endmacro %}";
    assert_eq!(refused("{{ team.m0() }}", &tree), ProblemKind::Unbounded);
}

#[test]
fn sql_beyond_its_size_is_refused() {
    assert_eq!(
        refused(
            "{% for i in range(9000) %}SELECT 1 AS a, 2 AS b, 3 AS c, 4 AS d, {% endfor %}",
            ""
        ),
        ProblemKind::Unbounded
    );
}

/// Pieces that templates give a meaning to, so that many of the texts parse.
fn template_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "{%-",
        "-%}",
        " ",
        "\n",
        "\r\n",
        "std",
        "team",
        ".",
        "rfm",
        "capped",
        "a",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        "=",
        "==",
        "|",
        "~",
        "*",
        "**",
        "+",
        "-",
        "/",
        "'x'",
        "\"",
        "'",
        "1",
        "2.5",
        "9999999999999",
        "none",
        "true",
        "if",
        "elif",
        "else",
        "endif",
        "for",
        "in",
        "endfor",
        "set",
        "endset",
        "macro",
        "endmacro",
        "call",
        "endcall",
        "raw",
        "endraw",
        "filter",
        "with",
        "loop",
        "range",
        "join",
        "upper",
        "literal",
        "refuse",
        "caller",
        "namespace",
        "not",
        "is",
        "defined",
        "\\",
        "ü",
        "\u{0}",
        "SELECT 1",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_like_a_template_is_answered(text in template_like(), macros in template_like()) {
        let (library, problems) = Library::parse(
            Origin::Team,
            &[MacroFile { name: "macros/a.sql".to_owned(), text: macros.as_str().into() }],
        );
        for problem in problems {
            prop_assert!(macros.get(problem.range).is_some());
        }
        match render(&text, &Arc::new(library)) {
            Ok(rendered) => {
                for at in 0..=rendered.text.len() {
                    prop_assert!(rendered.places.find(at..at + 1).range().start <= text.len());
                }
            }
            Err(problem) => prop_assert!(problem.range.start <= text.len().max(macros.len())),
        }
    }
}
