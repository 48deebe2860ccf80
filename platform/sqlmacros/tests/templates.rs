//! What templates give, and where what they give comes from.

use std::sync::Arc;

use cameo_sqlmacros::{
    Library, MacroFile, Origin, Place, Problem, ProblemKind, Rendered, Where, render,
};

fn team(files: &[(&str, &str)]) -> Arc<Library> {
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| MacroFile { name: (*name).to_owned(), text: (*text).into() })
        .collect();
    let (library, problems) = Library::parse(Origin::Team, &files);
    assert_eq!(problems, []);
    Arc::new(library)
}

fn rendered(text: &str, team: &Arc<Library>) -> Rendered {
    render(text, team).unwrap_or_else(|problem| panic!("{text}\n{problem:?}"))
}

fn refused(text: &str, team: &Arc<Library>) -> Problem {
    match render(text, team) {
        Err(problem) => *problem,
        Ok(rendered) => panic!("{text}\ngave\n{}", rendered.text),
    }
}

fn nobody() -> Arc<Library> {
    Arc::new(Library::empty(Origin::Team))
}

#[test]
fn a_text_without_tags_is_left_as_it_is() {
    for text in
        ["", "SELECT 1", "SELECT '{' AS a, x % 2 # }} %} #}\r\n\n", "\u{feff}SELECT 'ü'\n\n\n"]
    {
        let rendered = rendered(text, &nobody());
        assert_eq!(rendered.text, text);
        assert_eq!(rendered.macros, []);
        assert_eq!(rendered.places.find(3..5), Place::Written(3..5));
    }
}

#[test]
fn tags_leave_nothing_but_what_they_give() {
    let text = "{# why #}\n{% set days = [30, 90] %}\nSELECT\n  {% for day in days %}\n  COUNTIF(d < {{ day }}) \
                AS n_{{ day }}d,\n  {% endfor %}\n  1 AS one\n\n";
    assert_eq!(
        rendered(text, &nobody()).text,
        "SELECT\n  COUNTIF(d < 30) AS n_30d,\n  COUNTIF(d < 90) AS n_90d,\n  1 AS one\n\n"
    );
    assert_eq!(rendered("{% raw %}'{{x}}'{% endraw %}", &nobody()).text, "'{{x}}'");
}

#[test]
fn what_was_written_and_what_a_macro_gave_is_found_again() {
    let text = "SELECT\n  ü,\n  {{ std.safe_divide('a', 'b') }} AS q,\n  {% for n in [1, 2] %}c{{ n }}, {% endfor %}\n  z\n";
    let rendered = rendered(text, &nobody());
    let place = |word: &str| {
        let at = rendered.text.find(word).expect("the word is in the SQL");
        rendered.places.find(at..at + word.len())
    };
    for word in ["ü", "AS q", "z\n"] {
        let Place::Written(range) = place(word) else { panic!("{word} was written") };
        assert_eq!(&text[range], word);
    }
    let Place::Given { by, text: gave } = place("DIVIDE(a") else { panic!("a macro gave it") };
    assert_eq!(&text[by], "std.safe_divide('a', 'b')");
    assert_eq!(&rendered.text[gave], "SAFE_DIVIDE(a, b)");
    let Place::Given { by, .. } = place("2, ") else { panic!("a tag gave it") };
    assert_eq!(&text[by], "n");
}

#[test]
fn macros_are_recorded_with_those_that_they_call() {
    let team = team(&[(
        "macros/baskets.sql",
        "{% macro basket(a, b) %}{{ std.safe_divide(a, b, otherwise=0) }}{% endmacro %}\n\
         {% macro twice(a) %}{{ team.basket(a, a) }}{% endmacro %}\n\
         {% macro unused() %}1{% endmacro %}",
    )]);
    let rendered = rendered("SELECT {{ team.twice('x') }}, {{ team.twice('y') }}", &team);
    assert_eq!(
        rendered.text,
        "SELECT COALESCE(SAFE_DIVIDE(x, x), 0), COALESCE(SAFE_DIVIDE(y, y), 0)"
    );
    let names: Vec<_> = rendered.macros.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["std.safe_divide", "team.basket", "team.twice"]);
    let hash = team.find("twice").expect("it is defined").hash();
    assert_eq!(rendered.macros[2].hash, hash);
}

#[test]
fn a_macro_changes_its_hash_with_its_own_text_alone() {
    let hash = |text: &str| team(&[("a.sql", text)]).find("a").expect("a macro").hash();
    let plain = hash("{% macro a() %}1{% endmacro %}");
    assert_eq!(
        plain,
        hash("{# more #}\n{% macro a() %}1{% endmacro %}{% macro b() %}2{% endmacro %}")
    );
    assert_ne!(plain, hash("{% macro a() %}2{% endmacro %}"));
}

#[test]
fn an_unknown_macro_is_told_with_those_that_there_are() {
    let problem = refused("SELECT\n  {{ std.safe_devide('a', 'b') }}", &nobody());
    assert_eq!((problem.kind, problem.file), (ProblemKind::Unknown, Where::Template));
    let unknown = problem.unknown.expect("names");
    assert_eq!(unknown.found, "std.safe_devide");
    assert!(unknown.known.contains(&"std.safe_divide".to_owned()));
    assert_eq!(problem.range.start, 12);
    let problem = refused("SELECT {{ safe_divide('a', 'b') }}", &nobody());
    assert_eq!(problem.kind, ProblemKind::Unknown);
    assert_eq!(problem.unknown.expect("names").found, "std.safe_divide");
    assert_eq!(refused("{{ team.x() }}", &nobody()).kind, ProblemKind::Unknown);
    assert_eq!(refused("{{ 'a' | uper }}", &nobody()).kind, ProblemKind::Unknown);
}

#[test]
fn wrong_arguments_are_told_at_the_call_with_the_signature() {
    let cases = [
        ("std.capped('a', 1, 2, 3)", "std.capped takes at most 3 arguments, found 4"),
        ("std.capped('a', hihg=3)", "std.capped takes no argument `hihg`"),
        ("std.capped('a', value='b')", "std.capped is given `value` twice"),
        ("std.capped(low=3)", "std.capped needs the argument `value`"),
        ("std.capped(amount, low=3)", "the argument `value` of std.capped has no value"),
        ("std.capped('a')", "std.capped: expected low, high or both"),
        ("std.capped('a', 5, 1)", "std.capped: expected low to be at most high, found 5 and 1"),
        ("std.decile('a', 'b', groups=3)", "std.decile takes no argument `groups`"),
        (
            "std.windows('d', days=30)",
            "std.windows: expected a list of days such as [30, 90, 365], found 30",
        ),
        (
            "std.windows('d', days=[0])",
            "std.count_within: expected a whole number of days from 1, found 0",
        ),
        ("std.tier('a', cuts=[('b', 1.5)])", "std.tier: expected a share from 0 to 1, found 1.5"),
        (
            "std.tier('a', cuts=[('b', 0.5), ('c', 0.7)])",
            "std.tier: expected the highest share first, found 0.5 before 0.7",
        ),
    ];
    for (call, message) in cases {
        let problem = refused(&format!("SELECT {{{{ {call} }}}}"), &nobody());
        assert_eq!(problem.message, message);
        assert_eq!(problem.range, 10..10 + call.len(), "{call}");
    }
}

#[test]
fn a_mistake_inside_a_team_macro_is_told_in_its_file() {
    let text = "{# doc #}\n{% macro a(x) %}{{ x + nothing }}{% endmacro %}\n{% macro b(x) %}{{ std.capped(x) }}{% endmacro %}";
    let team = team(&[("macros/a.sql", text)]);
    for (call, inside) in [("team.a(1)", "x + nothing"), ("team.b('x')", "std.capped(x)")] {
        let problem = refused(&format!("SELECT {{{{ {call} }}}}"), &team);
        assert_eq!(problem.file, Where::MacroFile("macros/a.sql".to_owned()));
        assert_eq!(&text[problem.range], inside);
    }
}

#[test]
fn what_is_undefined_is_told_with_advice() {
    let problem = refused("SELECT {{ amount }}", &nobody());
    assert_eq!(problem.kind, ProblemKind::Undefined);
    assert_eq!(problem.message, "`amount` is undefined");
    let problem = refused("SELECT {{ std.rfm }}", &nobody());
    assert!(problem.expected.expect("advice").starts_with("a call: std.rfm(date, amount"));
}

#[test]
fn a_tag_that_does_not_parse_is_told_at_its_place() {
    for text in
        ["SELECT {{ std.rfm( }}", "SELECT {% if %}", "{% include 'x' %}", "{% macro a( %}", "{{ 'a"]
    {
        let problem = refused(text, &nobody());
        assert_eq!(problem.kind, ProblemKind::Syntax, "{text}");
        assert!(problem.range.end <= text.len(), "{text}: {problem:?}");
    }
}

#[test]
fn files_of_macros_hold_macros_and_comments_alone() {
    let parse = |files: &[(&str, &str)]| {
        let files = files
            .iter()
            .map(|(name, text)| MacroFile { name: (*name).to_owned(), text: (*text).into() });
        Library::parse(Origin::Team, &files.collect::<Vec<_>>()).1
    };
    let one = "{% macro a() %}1{% endmacro %}";
    assert_eq!(parse(&[("a.sql", "{# only a comment #}\n\n")]), []);
    for (text, at) in [
        (format!("{one}\nSELECT 1"), "SELECT 1"),
        (format!("{{% set x = 1 %}}{one}"), "set x = 1"),
        (format!("{one}{{{{ a() }}}}"), "a()"),
    ] {
        let problems = parse(&[("a.sql", &text)]);
        assert_eq!(problems[0].kind, ProblemKind::File);
        assert_eq!(&text[problems[0].range.clone()], at);
    }
    let problems = parse(&[("a.sql", one), ("b.sql", one)]);
    assert_eq!(problems[0].message, "the macro `a` is also defined in a.sql");
    assert_eq!(problems[0].file, Where::MacroFile("b.sql".to_owned()));
}

#[test]
fn literals_and_identifiers_are_written_for_sql() {
    let text = "{{ \"it's \\\\ \" | literal }} {{ 1.5 | literal }} {{ true | literal }} {{ none | literal }} {{ 'a_1' | identifier }}";
    assert_eq!(rendered(text, &nobody()).text, r"'it\'s \\ ' 1.5 TRUE NULL a_1");
    assert_eq!(refused("{{ 'a b' | identifier }}", &nobody()).kind, ProblemKind::Failed);
    assert_eq!(refused("{{ [1] | literal }}", &nobody()).kind, ProblemKind::Failed);
}
