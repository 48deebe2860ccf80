//! What models work in during tests. Beside what the product's child does it has a model that no check would
//! let through: a level below −900 in the features makes it overflow its stack, loop, or worse.

use std::{
    fs::File,
    hint::black_box,
    io::{Write, stderr, stdout},
    net::TcpStream,
    process::{Command, ExitCode, abort, exit},
};

use arrow::{
    array::{AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use cameo_isolation::child;
use nix::sys::signal::{Signal, raise};

/// More than a child may say in vain.
const WORDS: usize = 1 << 20;

fn main() -> ExitCode {
    match child::allowance(std::env::args_os()) {
        Some(allowance) => child::serve_watched(allowance, spring),
        None => ExitCode::FAILURE,
    }
}

/// Does what the lowest level says, once scoring has begun.
fn spring(features: &RecordBatch) {
    let Some(levels) = features.column_by_name("level") else { return };
    let Ok(levels) = cast(levels, &DataType::Float64) else { return };
    let lowest = levels.as_primitive::<Float64Type>().iter().flatten().fold(0.0, f64::min);
    #[expect(clippy::cast_possible_truncation, reason = "a small number")]
    match lowest as i64 {
        -901 => {
            black_box(deep(0));
        }
        -902 => abort(),
        // The first one takes the standard library's own handler away.
        -903 => {
            let _ = (raise(Signal::SIGSEGV), raise(Signal::SIGSEGV));
        }
        -904 => endless(),
        -905 => greedy(),
        -906 => panic!("the model has lost its mind"),
        -907 => {
            let _ = stdout().write_all(&[0xff; 64]).and_then(|()| stdout().flush());
        }
        -908 => curious(),
        -909 => {
            let _ = stderr().write_all("words ".repeat(WORDS).as_bytes());
            exit(3);
        }
        _ => {}
    }
}

#[expect(unconditional_recursion, reason = "that is the fault")]
fn deep(depth: u64) -> [u64; 64] {
    let mut below = black_box(deep(black_box(depth + 1)));
    below[0] += depth;
    below
}

fn endless() -> ! {
    loop {
        black_box(());
    }
}

fn greedy() {
    let mut all = Vec::new();
    loop {
        all.push(black_box(vec![1_u8; 16 << 20]));
    }
}

/// Tries what a child must not be able to do, and dies of whatever it can.
fn curious() {
    let network = TcpStream::connect(("127.0.0.1", 1)).err().map(|error| error.kind());
    let read = File::open("/etc/passwd").err().map(|error| error.kind());
    let written = File::create("/tmp/cameo-test-model").err().map(|error| error.kind());
    let program = Command::new("/bin/true").spawn().err().map(|error| error.kind());
    let thread = std::thread::Builder::new().spawn(|| ()).err().map(|error| error.kind());
    let refused = Some(std::io::ErrorKind::PermissionDenied);
    for (what, found) in [
        ("the network", network),
        ("a file", read),
        ("a new file", written),
        ("a program", program),
        ("a thread", thread),
    ] {
        assert!(found == refused, "it can have {what}: {found:?}");
    }
    let known = ["LD_LIBRARY_PATH", "MIMALLOC_ARENA_EAGER_COMMIT"];
    for (name, _) in std::env::vars_os() {
        assert!(known.iter().any(|known| name == *known), "it is told of {}", name.display());
    }
}
