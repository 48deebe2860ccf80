//! Random conditions, each written twice: for the platform and for Postgres.

use proptest::{prelude::*, sample::select};

use super::tables::SERVICES;

/// One condition in both dialects.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) cameo: String,
    pub(super) postgres: String,
}

impl Written {
    fn both(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { cameo: text.clone(), postgres: text }
    }

    fn differs(cameo: impl Into<String>, postgres: impl Into<String>) -> Self {
        Self { cameo: cameo.into(), postgres: postgres.into() }
    }

    /// Whether it names a column of the service.
    pub(super) fn names(&self, service: &str) -> bool {
        self.cameo.contains(&format!("{service}."))
    }
}

/// Puts parts together in both dialects.
fn joined<const N: usize>(parts: [&Written; N], join: impl Fn([&str; N]) -> String) -> Written {
    Written::differs(
        join(parts.map(|part| part.cameo.as_str())),
        join(parts.map(|part| part.postgres.as_str())),
    )
}

fn column(name: &'static str) -> impl Strategy<Value = Written> + Clone {
    select(SERVICES.to_vec()).prop_map(move |service| Written::both(format!("{service}.{name}")))
}

fn sign() -> impl Strategy<Value = &'static str> + Clone {
    select(vec!["=", "<>", "<", "<=", ">", ">="])
}

fn not() -> impl Strategy<Value = &'static str> + Clone {
    select(vec!["", "not "])
}

fn number() -> impl Strategy<Value = Written> + Clone {
    let leaf = prop_oneof![
        column("i"),
        column("f"),
        (-3_i64..4)
            .prop_map(|value| Written::differs(value.to_string(), format!("({value})::bigint"))),
        (-3_i64..4).prop_map(|value| Written::differs(
            format!("{value}.5"),
            format!("({value}.5)::double precision")
        )),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), select(vec!["+", "-", "*"]), inner.clone()).prop_map(
                |(left, op, right)| {
                    joined([&left, &right], |[left, right]| format!("({left} {op} {right})"))
                }
            ),
            // A quotient is a FLOAT64, and NULL where it is divided by zero.
            (inner.clone(), inner.clone()).prop_map(|(left, right)| Written::differs(
                format!("({} / {})", left.cameo, right.cameo),
                format!(
                    "(({})::double precision / nullif(({})::double precision, 0))",
                    left.postgres, right.postgres
                ),
            )),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| {
                joined([&left, &right], |[left, right]| format!("coalesce({left}, {right})"))
            }),
            inner.prop_map(|inner| joined([&inner], |[inner]| format!("(-({inner}))"))),
        ]
    })
}

fn text() -> impl Strategy<Value = Written> + Clone {
    let constants = vec![
        Written::both("'a'"),
        Written::both("'B'"),
        Written::both("''"),
        Written::both("'é_%'"),
        Written::differs("'it\\'s \\\\ \\n'", "E'it''s \\\\ \\n'"),
    ];
    prop_oneof![
        column("s"),
        column("s").prop_map(|column| joined([&column], |[column]| format!("lower({column})"))),
        column("i").prop_map(|column| Written::differs(
            format!("cast({} as string)", column.cameo),
            format!("({})::text", column.postgres)
        )),
        (column("s"), column("s")).prop_map(|(left, right)| {
            joined([&left, &right], |[left, right]| format!("coalesce({left}, {right})"))
        }),
        select(constants),
    ]
    // Texts are compared by their bytes.
    .prop_map(|text| Written::differs(text.cameo, format!("({}) collate \"C\"", text.postgres)))
}

fn instant() -> impl Strategy<Value = Written> + Clone {
    let constant = "1970-01-01 00:00:00.000001";
    prop_oneof![
        column("t"),
        column("d").prop_map(|column| Written::differs(
            format!("cast({} as timestamp)", column.cameo),
            format!("({})::timestamp at time zone 'UTC'", column.postgres)
        )),
        Just(Written::differs(
            format!("timestamp '{constant}'"),
            format!("timestamptz '{constant}+00'")
        )),
    ]
}

fn compared(
    operand: impl Strategy<Value = Written> + Clone + 'static,
) -> impl Strategy<Value = Written> {
    (operand.clone(), sign(), operand).prop_map(|(left, sign, right)| {
        joined([&left, &right], |[left, right]| format!("({left}) {sign} ({right})"))
    })
}

fn leaf() -> impl Strategy<Value = Written> {
    let patterns = [("a%", "a%"), ("%b", "%b"), ("_", "_"), ("%a_%", "%a_%"), ("%", "%"), ("", "")];
    // With a sign that stands for itself.
    let escaped = [("a\\\\_b", "a\\_b"), ("\\\\%", "\\%")];
    let patterns: Vec<_> = patterns.into_iter().chain(escaped).collect();
    prop_oneof![
        compared(number()),
        compared(text()),
        compared(instant()),
        (column("d"), not()).prop_map(|(day, not)| {
            joined([&day], |[day]| format!("{day} {not}between '1969-12-31' and '1970-01-02'"))
        }),
        (number(), not(), number(), number()).prop_map(|(value, not, low, high)| {
            joined([&value, &low, &high], |[value, low, high]| {
                format!("({value}) {not}between ({low}) and ({high})")
            })
        }),
        (text(), not()).prop_map(|(text, not)| {
            joined([&text], |[text]| format!("({text}) {not}in ('a', 'b', '')"))
        }),
        (column("i"), not()).prop_map(|(number, not)| {
            joined([&number], |[number]| format!("{number} {not}in (0, 2, -1)"))
        }),
        (text(), not(), select(patterns)).prop_map(|(text, not, (ours, theirs))| {
            Written::differs(
                format!("({}) {not}like '{ours}'", text.cameo),
                format!("({}) {not}like '{theirs}'", text.postgres),
            )
        }),
        column("b"),
        (column("b"), column("b")).prop_map(|(left, right)| {
            joined([&left, &right], |[left, right]| format!("coalesce({left}, {right})"))
        }),
        (column("b"), column("b")).prop_map(|(left, right)| {
            joined([&left, &right], |[left, right]| format!("{left} <> {right}"))
        }),
        (select(vec!["s", "d", "t", "f", "id"]), select(SERVICES.to_vec()), not()).prop_map(
            |(name, service, not)| Written::both(format!("{service}.{name} is {not}null"))
        ),
    ]
}

/// A sound condition over some of the services.
pub(super) fn condition() -> BoxedStrategy<Written> {
    let whole = leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), select(vec!["and", "or"]), inner.clone()).prop_map(
                |(left, word, right)| {
                    joined([&left, &right], |[left, right]| format!("({left}) {word} ({right})"))
                }
            ),
            inner.clone().prop_map(|inner| joined([&inner], |[inner]| format!("not ({inner})"))),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| {
                joined([&left, &right], |[left, right]| format!("coalesce({left}, {right})"))
            }),
            (inner, not(), select(vec!["true", "false", "null"])).prop_map(|(inner, not, test)| {
                joined([&inner], |[inner]| format!("({inner}) is {not}{test}"))
            }),
        ]
    });
    let names_some = |written: &Written| SERVICES.iter().any(|service| written.names(service));
    whole.prop_filter("names a column", names_some).boxed()
}
