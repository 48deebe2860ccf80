//! The private Postgres, as its users and its operators meet it.

mod client;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cameo_runtime::postgres::{EmbeddedPostgres, PostgresError, PostgresSettings};
use client::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Set in a child process of a test: the data directory that it shall start Postgres in.
const HOLDER_VARIABLE: &str = "CAMEO_TEST_POSTGRES_HOLDER";
const PATIENCE: Duration = Duration::from_secs(30);

fn start(dir: &Path) -> EmbeddedPostgres {
    EmbeddedPostgres::start(dir, &PostgresSettings::default()).expect("Postgres starts")
}

fn query(postgres: &EmbeddedPostgres, sql: &str) -> Vec<String> {
    Client::connect(&postgres.connection()).query(sql)
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn is_alive(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.starts_with(" Z")))
}

fn kill_dead(process: u32) {
    let process = i32::try_from(process).expect("a process id");
    kill(Pid::from_raw(process), Signal::SIGKILL).expect("the process is killed");
}

#[test]
fn what_was_committed_is_there_after_a_stop_and_a_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = start(dir.path());
    query(&first, "CREATE TABLE kept (key bigint); INSERT INTO kept VALUES (7)");
    assert_eq!(query(&first, "SHOW fsync"), ["on"]);
    assert_eq!(query(&first, "SHOW wal_level"), ["minimal"]);
    assert_eq!(query(&first, "SHOW listen_addresses"), [""]);
    let process = first.process_id().expect("it runs");
    first.stop();
    assert!(!is_alive(process), "stop returns when the server has ended");

    let second = start(dir.path());
    assert_eq!(query(&second, "SELECT key FROM kept"), ["7"]);
    let log = fs::read_to_string(dir.path().join("postgres.log")).expect("the log");
    assert!(!log.contains("automatic recovery in progress"), "it was stopped cleanly: {log}");
}

#[test]
fn a_killed_server_is_started_again_while_its_owner_lives() {
    let dir = tempfile::tempdir().expect("a folder");
    let postgres = start(dir.path());
    query(&postgres, "CREATE TABLE kept (key bigint); INSERT INTO kept VALUES (7)");
    let idle = Client::connect(&postgres.connection());
    for restarts in 1..=3 {
        kill_dead(postgres.process_id().expect("it runs"));
        eventually("the server runs again", || postgres.restarts() == restarts);
        assert_eq!(query(&postgres, "SELECT key FROM kept"), ["7"]);
    }
    drop(idle);
}

#[test]
fn a_backend_that_is_busy_does_not_keep_a_killed_server_from_coming_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let postgres = start(dir.path());
    let mut busy = Client::connect(&postgres.connection());
    busy.send("SELECT count(*) FROM generate_series(1, 2000000000) AS n WHERE n % 7 = 3");
    kill_dead(postgres.process_id().expect("it runs"));
    eventually("the server runs again", || postgres.restarts() == 1);
    assert_eq!(query(&postgres, "SELECT 1"), ["1"]);
}

#[test]
fn a_second_start_on_the_same_folder_is_refused_and_names_the_holder() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = start(dir.path());
    let refusal = EmbeddedPostgres::start(dir.path(), &PostgresSettings::default())
        .expect_err("the folder is in use");
    assert!(
        matches!(&refusal, PostgresError::InUse { holder, .. } if *holder == std::process::id().to_string()),
        "{refusal}"
    );
    assert_eq!(query(&first, "SELECT 1"), ["1"], "the first is untouched");
}

#[test]
fn a_cluster_of_another_version_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().expect("a folder");
    start(dir.path()).stop();
    fs::write(dir.path().join("data/PG_VERSION"), "99\n").expect("the version is changed");
    let refusal = EmbeddedPostgres::start(dir.path(), &PostgresSettings::default())
        .expect_err("the versions differ");
    assert!(
        matches!(refusal, PostgresError::VersionMismatch { found: 99, binaries, .. } if binaries < 99),
        "{refusal}"
    );
}

#[test]
fn a_stale_lock_file_that_names_a_live_stranger_does_not_keep_the_server_down() {
    let dir = tempfile::tempdir().expect("a folder");
    start(dir.path()).stop();
    let stale = format!("{}\n{}\n0\n5432\n\n\n\nready\n", std::process::id(), dir.path().display());
    fs::write(dir.path().join("data/postmaster.pid"), stale).expect("a stale lock file");
    let postgres = start(dir.path());
    assert_eq!(query(&postgres, "SELECT 1"), ["1"]);
}

#[test]
fn a_long_path_gets_a_short_private_folder_for_the_socket() {
    let dir = tempfile::tempdir().expect("a folder");
    let long = dir.path().join("a-long-name-".repeat(8)).join("and-one-more");
    let postgres = start(&long);
    assert!(!postgres.connection().socket_dir.starts_with(dir.path()));
    assert_eq!(query(&postgres, "SELECT current_user"), ["cameo"]);
}

#[test]
fn started_as_root_below_a_closed_folder_the_database_is_kept_where_its_user_may_go() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let closed = tempfile::tempdir().expect("a folder");
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).expect("it is closed");
    let dir = closed.path().join("cameo");
    let first = start(&dir);
    query(&first, "CREATE TABLE kept (key bigint); INSERT INTO kept VALUES (7)");
    first.stop();
    assert_eq!(query(&start(&dir), "SELECT key FROM kept"), ["7"]);

    let location = fs::read_to_string(dir.join("location")).expect("where the database is");
    assert!(location.starts_with("/var/lib/cameo/cluster-"), "{location}");
    fs::remove_dir_all(&location).expect("the database is removed");
    let refusal = EmbeddedPostgres::start(&dir, &PostgresSettings::default())
        .expect_err("an empty database in its place would look like lost data");
    assert!(matches!(refusal, PostgresError::LocationGone { .. }), "{refusal}");
}

#[test]
fn a_killed_parent_leaves_no_orphan_and_the_next_start_finds_the_data() {
    if let Some(dir) = std::env::var_os(HOLDER_VARIABLE) {
        hold(Path::new(&dir));
    }
    let dir = tempfile::tempdir().expect("a folder");
    let mut holder = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture"])
        .arg("a_killed_parent_leaves_no_orphan_and_the_next_start_finds_the_data")
        .env(HOLDER_VARIABLE, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the holder starts");
    let output = BufReader::new(holder.stdout.take().expect("its output"));
    let process: u32 = output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.split("postmaster=").nth(1)?.trim().parse().ok())
        .expect("the holder tells the process id of its server");
    assert!(is_alive(process));
    holder.kill().expect("the holder is killed");
    holder.wait().expect("the holder ends");

    // At once, while the orphan may still be shutting down.
    let postgres = start(dir.path());
    assert_eq!(query(&postgres, "SELECT key FROM kept"), ["7"]);
    assert_ne!(postgres.process_id(), Some(process));
    eventually("the orphan has ended", || !is_alive(process));
}

#[expect(clippy::print_stdout, reason = "the parent test reads it")]
fn hold(dir: &Path) -> ! {
    let postgres = start(dir);
    query(&postgres, "CREATE TABLE kept (key bigint); INSERT INTO kept VALUES (7)");
    println!("\npostmaster={}", postgres.process_id().expect("it runs"));
    loop {
        thread::park();
    }
}
