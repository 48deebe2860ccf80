//! A child from its parent's side: questions, answers, and how it ended.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    io::{BufReader, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::signal::Signal,
};

use crate::{
    Allowance, Fault, Program,
    message::{Answer, Request},
    wire::{self, Frame},
};

/// How long a child may take until it waits for work.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// What a pipe holds: a batch then takes few turns between the two sides.
const PIPE_BYTES: i32 = 1 << 20;
/// How much of what a child says last is kept.
const LAST_WORDS_BYTES: usize = 4 << 10;
/// How much of it a reason repeats.
const LAST_WORDS_SHOWN: usize = 160;
/// What the standard library says before it aborts for want of memory, and for want of stack.
const NO_MEMORY: &str = "memory allocation of";
const NO_STACK: &str = "has overflowed its stack";

type Reply = Result<Frame<Answer>, Fault>;

/// A child that waits for questions. It ends with this value.
#[derive(Debug)]
pub(crate) struct Process {
    shared: Arc<Shared>,
    stdin: Mutex<ChildStdin>,
    numbers: AtomicU64,
    pub(crate) allowance: Allowance,
    id: u32,
}

/// What the thread that reads answers works with.
#[derive(Debug)]
struct Shared {
    child: Mutex<Child>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<u64, SyncSender<Reply>>,
    /// Why there will be no more answers.
    ended: Option<Fault>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} waiting, ended {:?}", self.waiting.len(), self.ended)
    }
}

impl Process {
    /// Starts a child; gives also what the system did not let it give up.
    ///
    /// # Errors
    /// [`Fault::Start`] where it does not start or is no such program.
    pub(crate) fn start(
        program: &Program,
        allowance: Allowance,
    ) -> Result<(Self, Vec<String>), Fault> {
        let failed = |error: std::io::Error| Fault::Start(error.to_string());
        let mut child = command(program, allowance).spawn().map_err(failed)?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Fault::Start("it has no pipes".to_owned()));
        };
        // Smaller pipes are slower and nothing else.
        let _ = fcntl(&stdin, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        let _ = fcntl(&stdout, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        let id = child.id();
        let shared = Arc::new(Shared { child: Mutex::new(child), state: Mutex::default() });
        let ready = shared.expect(0);
        let process = Self {
            shared: Arc::clone(&shared),
            stdin: Mutex::new(stdin),
            numbers: AtomicU64::new(1),
            allowance,
            id,
        };
        thread::Builder::new()
            .name("model-answers".to_owned())
            .spawn(move || shared.read(stdout, stderr, allowance))
            .map_err(failed)?;
        let answer = process.wait(0, &ready?, START_TIME_MAX, "to start");
        match answer.map_err(|fault| Fault::Start(fault.to_string()))?.message {
            Answer::Ready { kept } => Ok((process, kept)),
            other => Err(Fault::Start(format!("it said {other:?} when it was to be ready"))),
        }
    }

    /// Asks and waits for the answer. Any number of threads may ask at the same time.
    ///
    /// # Errors
    /// [`Fault`], and the child has ended with all but [`Fault::Model`].
    pub(crate) fn ask(
        &self,
        request: &Request,
        parts: &[&[u8]],
    ) -> Result<(Answer, Vec<Vec<u8>>), Fault> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let answer = self.shared.expect(number)?;
        // Where this fails the child is gone, and the reader of answers says why.
        let _ = wire::write(&mut *lock(&self.stdin), number, request, parts);
        let frame = self.wait(number, &answer, self.allowance.call_time, request.doing())?;
        match frame.message {
            Answer::Refused(problem) => Err(Fault::refused(&problem)),
            message => Ok((message, frame.parts)),
        }
    }

    /// Says what needs no answer.
    pub(crate) fn tell(&self, request: &Request) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let _ = wire::write(&mut *lock(&self.stdin), number, request, &[]);
    }

    fn wait(
        &self,
        number: u64,
        answer: &Receiver<Reply>,
        limit: Duration,
        doing: &'static str,
    ) -> Reply {
        match answer.recv_timeout(limit) {
            Ok(reply) => reply,
            Err(RecvTimeoutError::Timeout) => Err(self.shared.end(Fault::Time { doing, limit })),
            Err(RecvTimeoutError::Disconnected) => {
                let unanswered = format!("question {number} got no answer");
                Err(self.shared.end(Fault::Protocol(unanswered)))
            }
        }
    }

    /// Ends the child, which is then in the state that `fault` tells. Gives why it really ended.
    pub(crate) fn end(&self, fault: Fault) -> Fault {
        self.shared.end(fault)
    }

    /// Memory that the child has in use, in bytes.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1_024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.shared.end(Fault::Stopped);
    }
}

impl Shared {
    /// Makes room for an answer.
    fn expect(&self, number: u64) -> Result<Receiver<Reply>, Fault> {
        let mut state = lock(&self.state);
        if let Some(fault) = &state.ended {
            return Err(fault.clone());
        }
        let (sender, receiver) = sync_channel(1);
        state.waiting.insert(number, sender);
        Ok(receiver)
    }

    /// The first reason counts.
    fn end(&self, fault: Fault) -> Fault {
        let reason = lock(&self.state).ended.get_or_insert(fault).clone();
        // Reaped by the thread that reads answers, which then sees their end. A child that has ended already
        // cannot be killed, which is as well.
        let _ = lock(&self.child).kill();
        reason
    }

    /// Hands answers to those who wait until there are no more, and says why.
    fn read(&self, stdout: ChildStdout, stderr: ChildStderr, allowance: Allowance) {
        let words =
            thread::Builder::new().name("model-words".to_owned()).spawn(move || last_words(stderr));
        let mut answers = BufReader::new(stdout);
        let broken = loop {
            match wire::read::<Answer>(&mut answers) {
                Ok(Some(frame)) => {
                    let waiting = lock(&self.state).waiting.remove(&frame.number);
                    // Whoever asked may have given up.
                    if let Some(waiting) = waiting {
                        let _ = waiting.send(Ok(frame));
                    }
                }
                Ok(None) => break None,
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break None,
                Err(error) => break Some(Fault::Protocol(error.to_string())),
            }
        };
        if let Some(fault) = broken {
            self.end(fault);
        }
        let status = {
            let mut child = lock(&self.child);
            // Dying it has its status already; a child that merely has nothing more to say gets one.
            let _ = child.kill();
            child.wait()
        };
        let words = words.ok().and_then(|words| words.join().ok()).unwrap_or_default();
        let mut state = lock(&self.state);
        let fault = state.ended.get_or_insert_with(|| why(status.ok(), &words, allowance)).clone();
        for (_, waiting) in state.waiting.drain() {
            let _ = waiting.send(Err(fault.clone()));
        }
    }
}

fn command(program: &Program, allowance: Allowance) -> Command {
    let mut command = Command::new(&program.path);
    command
        .args(&program.arguments)
        .args(allowance.to_arguments())
        // No credentials, and nothing else that it need not know.
        .env_clear()
        .envs(std::env::var_os(LIBRARIES).map(|path: OsString| (LIBRARIES, path)))
        .envs(ALLOCATOR)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // What a terminal sends to its foreground must not end a run that may still finish.
        .process_group(0);
    command
}

/// An allocator that takes a gigabyte at once, to use it later, would use up its allowance.
const ALLOCATOR: [(&str, &str); 1] = [("MIMALLOC_ARENA_EAGER_COMMIT", "0")];
/// Where the system's loader looks for shared libraries.
const LIBRARIES: &str = "LD_LIBRARY_PATH";

/// Why a child has ended that nobody here has ended.
fn why(status: Option<ExitStatus>, words: &str, allowance: Allowance) -> Fault {
    let Some(status) = status else { return Fault::Killed };
    let told = |line: &&str| !line.trim().is_empty() && !line.starts_with("note: ");
    let last = words.lines().rev().find(told).unwrap_or_default();
    let last: String = last.trim().chars().take(LAST_WORDS_SHOWN).collect();
    let said = if last.is_empty() { String::new() } else { format!("; it last said: {last}") };
    let Some(signal) = status.signal() else {
        let code = status.code().unwrap_or_default();
        return Fault::Crashed {
            how: format!("its process ended by itself with code {code}{said}"),
        };
    };
    let name = Signal::try_from(signal).map_or_else(
        |_| signal.to_string(),
        |signal| signal.as_str().trim_start_matches("SIG").to_owned(),
    );
    match Signal::try_from(signal) {
        Ok(Signal::SIGXCPU) => Fault::CpuTime { limit: allowance.cpu_time },
        Ok(Signal::SIGKILL) => Fault::Killed,
        Ok(Signal::SIGABRT) if words.contains(NO_MEMORY) => {
            Fault::Memory { limit_mb: allowance.memory_bytes >> 20 }
        }
        Ok(Signal::SIGABRT) if words.contains(NO_STACK) => {
            Fault::Crashed { how: format!("its stack overflowed, signal {name}") }
        }
        _ => Fault::Crashed { how: format!("signal {name}{said}") },
    }
}

/// The end of what a child says.
fn last_words(mut stderr: ChildStderr) -> String {
    let mut last: Vec<u8> = Vec::new();
    let mut chunk = [0; LAST_WORDS_BYTES];
    while let Ok(count @ 1..) = stderr.read(&mut chunk) {
        last.extend_from_slice(&chunk[..count]);
        let surplus = last.len().saturating_sub(LAST_WORDS_BYTES);
        last.drain(..surplus);
    }
    let text = String::from_utf8_lossy(&last);
    text.chars().map(|one| if one.is_control() && one != '\n' { ' ' } else { one }).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing can be half done while one of these is locked, but a frame, after which the child refuses all.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
