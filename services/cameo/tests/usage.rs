//! The command line itself: its help, and what it says when it is used wrongly.

mod support;

use support::{cameo, command};

/// Wrong usage, as in sysexits.h.
const EXIT_USAGE: i32 = 64;

#[test]
fn help_tells_every_command_and_every_exit_code() {
    insta::assert_snapshot!("help", cameo(&["--help"]).exits(0).stdout);
    for command in [
        "up",
        "new",
        "check",
        "plan",
        "package",
        "run",
        "explain",
        "importance",
        "keys",
        "audit",
        "lineage",
    ] {
        insta::assert_snapshot!(format!("help-{command}"), cameo(&[command, "-h"]).exits(0).stdout);
    }
}

#[test]
fn wrong_usage_exits_64_and_says_what_was_expected() {
    for (arguments, expected) in [
        (&[][..], "Usage: cameo"),
        (&["bogus"][..], "unrecognized subcommand 'bogus'"),
        (&["run", "crm/clv"][..], "--now"),
        (
            &["run", "--now", "CRM"][..],
            "`CRM` is not a valid service path: expected tenant/service",
        ),
        (&["keys", "create"][..], "<TENANT>"),
        (&["keys", "create", "crm", "--admin"][..], "--admin"),
        (&["keys", "create", "--admin", "--service", "clv"][..], "--service"),
        (&["keys", "rotate", "1a2b3c4d", "--overlap", "31d"][..], "up to 30d"),
        (&["keys", "rotate", "1a2b3c4d", "--overlap", "a day"][..], "such as 24h"),
        (&["up", "--oidc-algorithms", "HS256"][..], "`HS256` is no algorithm for tokens"),
        (&["serve"][..], "--role"),
        (&["serve", "--role", "oracle"][..], "possible values: api, scheduler, worker, mirror"),
        (&["up", "--customers", "5"][..], "--demo"),
        (&["demo-data", "--customers", "100000001"][..], "100000000"),
        (&["runs", "--limit", "0"][..], "1..=1000"),
        (&["audit", "list", "--since", "yesterday"][..], "expected a day such as 2026-03-01"),
        (&["audit", "list", "CRM/clv"][..], "`CRM` is not a valid"),
        (
            &["bench", "check", "--database-url", "postgres://127.0.0.1/other"][..],
            "--database-url says nothing to this command",
        ),
        (&["--data-dir", "elsewhere", "schema"][..], "--data-dir says nothing to this command"),
        (&["check", "-o", "yaml"][..], "possible values: human, json, markdown, sarif, github"),
    ] {
        let refused = cameo(arguments).exits(EXIT_USAGE);
        assert!(refused.stderr.contains(expected), "{arguments:?}: {}", refused.stderr);
    }
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command(&["check", "tests/fixtures/bundles/46-many-problems-at-once"])
        .stdout(writer)
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(1), "it still says that there are problems");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_schema_for_editors_is_printed_as_it_is_kept() {
    let kept = std::fs::read_to_string(support::root().join("deploy/config.schema.json"));
    assert_eq!(cameo(&["schema"]).exits(0).stdout, kept.expect("the schema is in deploy/"));
}

#[test]
fn without_a_server_a_command_says_how_to_get_one_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let data = place.path().join("mistyped");
    for arguments in [&["runs"][..], &["doctor"], &["plan"], &["keys", "list"]] {
        let mut all = arguments.to_vec();
        let folder = data.display().to_string();
        all.extend(["--data-dir", &folder]);
        let refused = cameo(&all).exits(1);
        assert_eq!(
            refused.stderr,
            format!(
                "error: no server runs in {folder}; start one with `cameo up`, name its folder with \
                 --data-dir, or name a Postgres server with CAMEO_DATABASE_URL\n"
            )
        );
        assert!(!data.exists(), "a mistyped folder is not made");
    }
}
