//! Models made to break a runtime, each in a process of its own: it refuses them or fails the batch with
//! a reason, and never panics, aborts, hangs or takes the machine's memory.

mod support;

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use cameo_scoring::{Scorer, ScoringLimits};
use serde_json::Value;
use support::{Rows, json, schema};

/// Which case a child process is to judge.
const CASE_VARIABLE: &str = "CAMEO_HOSTILE_CASE";
/// Features of every case.
const WIDTH: usize = 4;
const ROWS: usize = 100;
/// How long one case may take.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Address space of a child and its resident memory, in KiB. A limit on the former makes too large an
/// allocation an abort instead of a burden on the machine.
const ADDRESS_SPACE_KIB: u64 = 8 << 20;
const MEMORY_MAX_KIB: u64 = 1 << 20;
/// Cases that one test judges, so that several run at a time.
const SHARES: usize = 4;

fn batch() -> RecordBatch {
    support::batch(Rows::new(3).matrix(ROWS, WIDTH, false))
}

/// Judges the case of [`CASE_VARIABLE`] in a child process; without one there is nothing to do.
#[test]
#[allow(clippy::print_stdout, reason = "how a child answers")]
fn child() {
    let Ok(name) = std::env::var(CASE_VARIABLE) else { return };
    let case = &json("hostile")[&name];
    let model = support::base64(case["model"].as_str().expect("base64"));
    let batch = batch();
    let verdict = match Scorer::load(&model, None, &schema(&batch), &ScoringLimits::default()) {
        Err(error) => format!("load: {error}"),
        Ok(scorer) => match scorer.score(&batch) {
            Err(error) => format!("score: {error}"),
            Ok(found) => format!("scored {} rows", found.outputs.num_rows()),
        },
    };
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    println!("\nverdict {}", verdict.replace('\n', " "));
    println!("peak {}", peak.trim().trim_end_matches("kB").trim());
}

/// What is wrong with how a case ended, if anything.
fn judge(name: &str, case: &Value) -> Option<String> {
    let program = std::env::current_exe().expect("this test");
    let mut child = Command::new("sh")
        .args(["-c", &format!("ulimit -v {ADDRESS_SPACE_KIB}; exec \"$0\" \"$@\"")])
        .arg(program)
        .args(["--exact", "child", "--nocapture", "--test-threads", "1"])
        .env(CASE_VARIABLE, name)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let started = Instant::now();
    let status = loop {
        match child.try_wait().expect("a child") {
            Some(status) => break status,
            None if started.elapsed() > TIME_MAX => {
                child.kill().expect("a child");
                child.wait().expect("a child");
                return Some("hangs".to_owned());
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let (mut out, mut errors) = (String::new(), String::new());
    child.stdout.take().expect("piped").read_to_string(&mut out).expect("UTF-8");
    child.stderr.take().expect("piped").read_to_string(&mut errors).expect("UTF-8");
    if !status.success() || errors.contains("panicked") {
        return Some(format!("{status}: {errors}"));
    }
    let told = |word: &str| out.lines().find_map(|line| line.strip_prefix(word)).map(str::trim);
    let verdict = told("verdict ").expect("a verdict");
    let peak: u64 = told("peak ").expect("a peak").parse().expect("a number");
    let (stage, says) =
        (case["at"].as_str().expect("a stage"), case["says"].as_str().expect("text"));
    if !verdict.starts_with(&format!("{stage}: ")) {
        Some(format!("expected a refusal when it is to {stage}, found: {verdict}"))
    } else if !verdict.contains(says) {
        Some(format!("the message lacks `{says}`: {verdict}"))
    } else if verdict.len() < 40 || verdict.len() > 1_000 {
        Some(format!("the message is no explanation: {verdict}"))
    } else if peak > MEMORY_MAX_KIB {
        Some(format!("took {peak} KiB: {verdict}"))
    } else {
        None
    }
}

fn share(number: usize) {
    let cases = json("hostile");
    let cases = cases.as_object().expect("cases by name");
    assert!(cases.len() >= 70, "{} cases", cases.len());
    let failures: Vec<String> = cases
        .iter()
        .skip(number)
        .step_by(SHARES)
        .filter_map(|(name, case)| Some(format!("{name}: {}", judge(name, case)?)))
        .collect();
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_hostile_model_is_refused_with_its_reason_first_quarter() {
    share(0);
}

#[test]
fn every_hostile_model_is_refused_with_its_reason_second_quarter() {
    share(1);
}

#[test]
fn every_hostile_model_is_refused_with_its_reason_third_quarter() {
    share(2);
}

#[test]
fn every_hostile_model_is_refused_with_its_reason_last_quarter() {
    share(3);
}
