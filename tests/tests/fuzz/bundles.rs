//! What is in a bundle: queries, templates, models; and what else the run of one takes from strangers.

use std::{fs, path::Path, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray},
    datatypes::Schema,
};
use cameo_isolation::frames;
use cameo_scoring::{Scorer, ScoringLimits, inspect};
use cameo_sqlmacros::{Library, MacroFile, Origin, render};
use cameo_warehouse::{
    Parameters,
    googlesql::{Context, to_duckdb},
};
use cameo_webhook::{Address, Reach};

use crate::driver::{Target, fuzz};

/// For what is read in memory.
const QUICK: Duration = Duration::from_secs(1);
/// For models that are loaded and run.
const SLOW: Duration = Duration::from_secs(5);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// The files of a folder of the workspace and of those below it with an ending.
fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    fn below(folder: &Path, ending: &str, found: &mut Vec<Vec<u8>>) {
        let mut entries: Vec<_> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                below(&path, ending, found);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(fs::read(&path).expect("a file"));
            }
        }
    }
    let mut found = Vec::new();
    below(&root().join(folder), ending, &mut found);
    assert!(!found.is_empty(), "{folder} has no {ending}");
    found
}

fn parameters() -> Parameters {
    Parameters::utc("2024-12-01T00:00:00Z".parse().expect("an instant"))
}

/// What is left of SQL without its texts and quoted names, in lower case; none where a quote stays open.
fn outside_quotes(sql: &str) -> Option<String> {
    let (mut outside, mut open) = (String::new(), None);
    for one in sql.chars() {
        match (open, one) {
            (None, '\'' | '"') => open = Some(one),
            (None, _) => outside.extend(one.to_lowercase()),
            // A doubled quote closes and opens again.
            (Some(quote), _) if quote == one => open = None,
            (Some(_), _) => {}
        }
    }
    open.is_none().then_some(outside)
}

/// What the engine could do harm with, were it ever printed as more than a text or a name.
const HARMFUL: &[&str] = &[
    ";",
    "--",
    "/*",
    "read_",
    "_scan(",
    "glob(",
    "getenv",
    "copy ",
    "attach",
    "pragma",
    "install",
    "information_schema",
    "sqlite_master",
    "duckdb_",
];

#[test]
fn queries() {
    let all = files("platform/warehouse/tests/googlesql", ".sql");
    let accepted = |sql: &Vec<u8>| {
        std::str::from_utf8(sql)
            .is_ok_and(|sql| to_duckdb(sql, &Context::lake(parameters())).is_ok())
    };
    let corpus: Vec<Vec<u8>> = all.into_iter().filter(accepted).collect();
    assert!(corpus.len() > 10, "{} queries", corpus.len());
    let target = Target {
        name: "queries",
        corpus,
        words: &[
            "SELECT ",
            " FROM ",
            " WHERE ",
            " GROUP BY 1",
            " QUALIFY ",
            " OVER (",
            "((",
            "))",
            ";",
            "--",
            "/*",
            "*/",
            "''",
            "'",
            "\"",
            "`",
            "r'",
            "b'",
            "'''",
            "\\",
            "@run_time",
            "UNNEST(",
            " AS ",
            "[",
            "]",
            "{",
            "read_csv('/etc/passwd')",
            "getenv('HOME')",
            "INTERVAL 1 DAY",
            "CASE WHEN ",
            " END",
            "::",
            "STRUCT(",
            "SAFE.",
            "`a`.`b`",
            "\u{0}",
            "\u{2028}",
            "\u{2019}",
        ],
        share: 0.2,
        time_max: QUICK,
        bytes_max: 256 << 20,
    };
    fuzz(&target, |input| {
        let sql = String::from_utf8_lossy(input);
        match to_duckdb(&sql, &Context::lake(parameters())) {
            Ok(rewritten) => {
                let outside = outside_quotes(&rewritten.sql);
                let outside = outside.unwrap_or_else(|| panic!("open: {}", rewritten.sql));
                for harmful in HARMFUL {
                    assert!(!outside.contains(harmful), "{harmful} in {}", rewritten.sql);
                }
                true
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                false
            }
        }
    });
}

#[test]
fn templates_and_macros() {
    let mut corpus = files("tenants/crm/macros", ".sql");
    corpus.push(
        b"SELECT {{ 6 * 7 }} AS d FROM shop.orders {# why #}\n\
          {% if 1 == 1 %}WHERE TRUE{% endif %}{% for at in range(3) %}, {{ at }}{% endfor %}"
            .to_vec(),
    );
    let target = Target {
        name: "templates_and_macros",
        corpus,
        words: &[
            "{{",
            "}}",
            "{%",
            "%}",
            "{#",
            "#}",
            "{% macro m(a, b=1) %}",
            "{% endmacro %}",
            "{% for x in range(",
            "{% endfor %}",
            "{% if ",
            "{% set x = ",
            "std.",
            "team.",
            "range(1000000000)",
            " * 1000000000",
            "|join",
            "|replace('a','aaaaaaaa')",
            "self",
            "loop",
            "caller()",
            "{% include 'x' %}",
            "~",
            "**9999",
            "[::-1]",
        ],
        share: 0.1,
        time_max: SLOW,
        bytes_max: 512 << 20,
    };
    fuzz(&target, |input| {
        let text = String::from_utf8_lossy(input);
        let file = MacroFile { name: "macros/time.sql".to_owned(), text: Arc::from(&*text) };
        let (library, problems) = Library::parse(Origin::Team, &[file]);
        let rendered = render(&text, &Arc::new(library));
        if let Err(problem) = &rendered {
            assert!(!problem.message.is_empty());
        }
        rendered.is_ok() || problems.is_empty()
    });
}

/// Features of the models: a matrix, and the columns of those that take some by name.
fn features() -> RecordBatch {
    let floats = |at: usize| -> ArrayRef {
        Arc::new(Float32Array::from(vec![0.0, -1.5, f32::NAN, at as f32, 1e30]))
    };
    let words: ArrayRef = Arc::new(StringArray::from(vec!["red", "", "blue", "grey", "\u{fc}"]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, -1, i64::MAX, 50]));
    let columns = (0..8).map(|at| (format!("f{at}"), floats(at)));
    let named = [("COLOUR", words), ("visits", numbers), ("spend", floats(1)), ("age", floats(2))];
    let named = named.map(|(name, column)| (name.to_owned(), column));
    RecordBatch::try_from_iter(columns.chain(named)).expect("equal lengths")
}

#[test]
fn models() {
    let all = files("platform/scoring/tests/fixtures", ".onnx");
    // What is longer would break off wherever it was changed.
    let corpus: Vec<Vec<u8>> = all.into_iter().filter(|model| model.len() < 12 << 10).collect();
    assert!(corpus.len() > 15, "{} models", corpus.len());
    let target = Target {
        name: "models",
        corpus,
        words: &[
            "TreeEnsembleClassifier",
            "TreeEnsembleRegressor",
            "Scaler",
            "Gather",
            "Reshape",
            "Expand",
            "Tile",
            "Concat",
            "nodes_featureids",
            "nodes_truenodeids",
            "class_ids",
            "ai.onnx.ml",
            "\u{ff}\u{ff}\u{ff}\u{ff}\u{7f}",
            "\u{0}",
        ],
        share: 0.05,
        time_max: SLOW,
        bytes_max: 512 << 20,
    };
    let features = features();
    let matrix = features.project(&[0, 1, 2, 3, 4, 5, 6, 7]).expect("the first eight");
    fuzz(&target, |input| {
        let Ok(signature) = inspect(input) else { return false };
        let by_name = signature.inputs.len() > 1 || signature.feature_names.is_some();
        let batch = if by_name { &features } else { &matrix };
        let schema: &Schema = batch.schema_ref();
        if let Ok(scorer) = Scorer::load(input, None, schema, &ScoringLimits::default()) {
            match scorer.score(batch) {
                Ok(scored) => assert_eq!(
                    scored.outputs.num_rows() + scored.rejected.len(),
                    batch.num_rows(),
                    "each row is scored or left out"
                ),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
        true
    });
}

#[test]
fn answers_of_the_processes_of_models() {
    let features = features();
    let named = features.project(&[8, 9, 10]).expect("three columns");
    let target = Target {
        name: "answers_of_the_processes_of_models",
        corpus: vec![
            frames::answer_with(&features),
            frames::answer_with(&named),
            frames::answer_with(&features.slice(1, 2)),
        ],
        words: &["Scored", "Ranked", "Refused", "rejected", "\u{0}\u{0}\u{0}\u{0}", "{\"row\":99}"],
        share: 0.1,
        // What Arrow panics at is told on standard error, with where.
        time_max: SLOW,
        bytes_max: 192 << 20,
    };
    fuzz(&target, frames::is_answer);
}

#[test]
fn addresses_of_webhooks() {
    let corpus = [
        "https://example.com/hooks/cameo?a=1#b",
        "https://93.184.216.34:8443/x",
        "https://[2606:4700::1111]/",
    ];
    let target = Target {
        name: "addresses_of_webhooks",
        corpus: corpus.map(|text| text.as_bytes().to_vec()).into(),
        words: &[
            "http://",
            "https://",
            "file://",
            "127.0.0.1",
            "0x7f000001",
            "0177.0.0.1",
            "2130706433",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "169.254.169.254",
            "localhost",
            "@",
            "%2e",
            "\u{3002}",
            "\\",
            "//",
            ":0",
            "#",
            "?",
            "\t",
        ],
        share: 1.0,
        time_max: QUICK,
        bytes_max: 1 << 20,
    };
    fuzz(&target, |input| {
        let text = String::from_utf8_lossy(input);
        let Ok(address) = Address::parse(&text, Reach::Public) else { return false };
        let shown = address.to_string();
        assert!(shown.starts_with("https://"), "{shown}");
        let host = shown["https://".len()..].split(['/', '?', '#']).next().unwrap_or_default();
        assert!(!host.contains('@'), "{shown} has a user");
        let host = host.rsplit_once(':').map_or(host, |(name, port)| {
            if port.bytes().all(|digit| digit.is_ascii_digit()) { name } else { host }
        });
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(literal) = host.parse() {
            assert!(Reach::Public.allows(literal), "{shown} is not public");
        }
        true
    });
}
