//! Running the binary as a person would, and asking the server that it starts.
#![allow(dead_code, reason = "each test file uses a part of this")]

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// Longest wait for a server to come up or to go down.
const WAIT_MAX: Duration = Duration::from_mins(1);
/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(20);

/// The root of the repository, in which the commands run so that the paths they print are short.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("the crate is in the workspace").to_owned()
}

/// What a command left behind.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// The exit code as expected, and never a panic.
    pub(crate) fn exits(self, code: i32) -> Self {
        let Self { stdout, stderr, .. } = &self;
        assert_eq!(self.code, Some(code), "stdout: {stdout}\nstderr: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in {}{}", self.stdout, self.stderr))
    }
}

/// The binary with nothing of the caller's environment that it would listen to.
pub(crate) fn command<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cameo"));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CAMEO_") || name_text.starts_with("OTEL_") {
            command.env_remove(&name);
        }
    }
    command.env_remove("RUST_LOG").current_dir(root()).args(arguments);
    command
}

/// Runs `cameo` to its end.
pub(crate) fn cameo<S: AsRef<OsStr>>(arguments: &[S]) -> Done {
    let output = command(arguments).output().expect("the binary runs");
    Done {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
    }
}

/// A `cameo up` that belongs to the test, with the data directory that outlives it.
pub(crate) struct Server {
    child: Child,
    data: PathBuf,
    pub(crate) api: String,
}

impl Server {
    /// Starts it on a free port and waits until it says where it listens.
    pub(crate) fn start(data: &Path) -> Self {
        let announcement = data.join("server.json");
        // One that a killed server left would be taken for this one's.
        let _ = fs::remove_file(&announcement);
        let mut child = command(&["up", "--listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(data)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut log = child.stderr.take().expect("it is piped");
        // A full pipe would stop the server.
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = log.read_to_string(&mut text);
            text
        });
        let api = wait_for("the server's announcement", || {
            if child.try_wait().expect("a child").is_some() {
                return Some(Err(()));
            }
            let value: Value = serde_json::from_slice(&fs::read(&announcement).ok()?).ok()?;
            Some(Ok(value["api"].as_str()?.to_owned()))
        });
        let Ok(api) = api else { panic!("it ended early: {}", log.join().expect("its log")) };
        Self { child, data: data.to_owned(), api }
    }

    /// Runs a command against this server.
    pub(crate) fn cameo(&self, arguments: &[&str]) -> Done {
        let mut all: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        all.extend([OsStr::new("--data-dir"), self.data.as_os_str()]);
        cameo(&all)
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, as an init system does.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(id), Signal::SIGTERM).expect("it runs");
        wait_for("the server's end", || self.child.try_wait().expect("a child"))
    }

    /// Kills it on the spot, as an out-of-memory killer does.
    pub(crate) fn kill_dash_nine(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is dead");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer of the API.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// One request in plain HTTP/1.1, as few bytes as a server must understand.
pub(crate) fn ask(api: &str, method: &str, path: &str, key: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(api).expect("the API listens");
    stream.set_read_timeout(Some(WAIT_MAX)).expect("a time limit");
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\nAuthorization: Bearer \
         {key}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, body: body.to_owned() }
}

/// Copies a folder with everything below it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("a copy");
        }
    }
}

/// Replaces a part of a file that must be there.
pub(crate) fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("a text file");
    assert!(text.contains(from), "{} has no `{from}`", file.display());
    fs::write(file, text.replace(from, to)).expect("the file is written");
}

/// The text without what differs from run to run: hashes, instants, bytes and seconds.
pub(crate) fn steady(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut words: Vec<String> = Vec::new();
        for word in line.split(' ') {
            let core = word.trim_matches(|c: char| !c.is_alphanumeric());
            let steady = if core.len() == 12 && core.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                word.replace(core, "<hash>")
            } else if is_date(core) {
                word.replace(core, "<date>")
            } else if is_clock(core) {
                word.replace(core, "<time>")
            } else {
                word.to_owned()
            };
            let counts_bytes = steady.starts_with("bytes");
            if let Some(before) = words.last_mut().filter(|_| counts_bytes) {
                "<n>".clone_into(before);
            }
            words.push(steady);
        }
        lines.push(words.join(" "));
    }
    lines.join("\n")
}

/// `2026-11-21`
fn is_date(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[0].is_ascii_digit()
}

/// `02:29` or `02:29:56Z`
fn is_clock(word: &str) -> bool {
    let bytes = word.as_bytes();
    matches!(bytes.len(), 5 | 9) && bytes[2] == b':' && bytes[0].is_ascii_digit()
}

/// Looks until there is something, for [`WAIT_MAX`] at most.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < WAIT_MAX, "waited in vain for {what}");
        std::thread::sleep(LOOK);
    }
}
