//! The mutator, and what every target is held to.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use cameo_tests::Draw;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

use crate::alloc;

/// Inputs for each target, unless `CAMEO_FUZZ_INPUTS` says otherwise.
const INPUTS: u64 = 20_000;
/// Seed, unless `CAMEO_FUZZ_SEED` says otherwise.
const SEED: u64 = 0x5EED_CA3E0;
/// Longest input.
const BYTES_MAX: usize = 16 << 10;
/// Longest that one input may take by the clock on the wall, which others on the machine make longer.
const WAIT_MAX: Duration = Duration::from_mins(1);
/// Most mutations of one input.
const MUTATIONS_MAX: u64 = 8;
/// Bytes that parsers give a meaning to.
const TELLING: &[u8] = b"\0\x01\x7f\x80\xff \t\r\n\"'`\\/%.,:;=&?#@!*+-_~|^()[]{}<>09azAZ";

/// A parser, with what it is to be fed.
pub(crate) struct Target {
    /// As in the list of targets.
    pub(crate) name: &'static str,
    /// Sound inputs to begin with.
    pub(crate) corpus: Vec<Vec<u8>>,
    /// Words that the parser knows.
    pub(crate) words: &'static [&'static str],
    /// How many of the inputs it is fed, unless `CAMEO_FUZZ_WHOLE` is set: a slow target gets fewer.
    pub(crate) share: f64,
    /// Longest time of the processor for one input.
    pub(crate) time_max: Duration,
    /// Most memory that is asked for, for one input.
    pub(crate) bytes_max: usize,
}

/// Chance as a mutator needs it: the same seed makes the same inputs everywhere.
struct Random(Draw);

impl Random {
    fn next(&mut self) -> u64 {
        self.0.number()
    }

    #[expect(clippy::cast_possible_truncation, reason = "below a length")]
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> Option<&'a T> {
        choices.get(self.below(choices.len())).copied()
    }

    #[expect(clippy::cast_possible_truncation, reason = "one byte")]
    fn byte(&mut self) -> u8 {
        if self.next().is_multiple_of(2) {
            TELLING[self.below(TELLING.len())]
        } else {
            self.next() as u8
        }
    }
}

/// Feeds mutations of the corpus to `read`. What it returns is whether the input was accepted: where no input or every
/// input is, the target tests nothing.
///
/// # Panics
/// An input that makes `read` panic, takes too long or too much memory, with the way to repeat it.
pub(crate) fn fuzz(target: &Target, mut read: impl FnMut(&[u8]) -> bool) {
    let number = |name: &str, default| {
        env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let (inputs, seed) = (number("CAMEO_FUZZ_INPUTS", INPUTS), number("CAMEO_FUZZ_SEED", SEED));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let inputs = match env::var_os("CAMEO_FUZZ_WHOLE") {
        Some(_) => inputs,
        None => ((inputs as f64 * target.share) as u64).max(100),
    };
    let mut accepted = 0;
    for sound in &target.corpus {
        assert!(read(sound), "{}: the corpus has {}", target.name, shown(sound));
    }
    let mut random = Random(Draw::new(seed));
    for at in 0..inputs {
        let input = mutated(target, &mut random);
        alloc::asked();
        let (started, before) = (Instant::now(), computed());
        let answer = catch_unwind(AssertUnwindSafe(|| read(&input)));
        let (waited, took, asked) =
            (started.elapsed(), computed().saturating_sub(before), alloc::asked());
        let where_ =
            format!("{} input {at} of CAMEO_FUZZ_SEED={seed}: {}", target.name, shown(&input));
        let Ok(was_accepted) = answer else { panic!("panic at {where_}") };
        assert!(took <= target.time_max, "{took:?} for {where_}");
        assert!(waited <= WAIT_MAX, "{took:?} within {waited:?} for {where_}");
        assert!(asked <= target.bytes_max, "{asked} bytes for {where_}");
        accepted += u64::from(was_accepted);
    }
    assert!(accepted < inputs, "{}: everything was accepted", target.name);
}

/// How long the calling thread has computed. Beside others on the machine that is less than has passed.
fn computed() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("what this thread has used");
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

fn mutated(target: &Target, random: &mut Random) -> Vec<u8> {
    let corpus: Vec<&[u8]> = target.corpus.iter().map(Vec::as_slice).collect();
    let mut input = match random.below(10) {
        0 => Vec::new(),
        _ => random.of(&corpus).unwrap_or_default().to_vec(),
    };
    for _ in 0..=random.next() % MUTATIONS_MAX {
        mutate(target, &corpus, random, &mut input);
    }
    input.truncate(BYTES_MAX);
    input
}

fn mutate(target: &Target, corpus: &[&[u8]], random: &mut Random, input: &mut Vec<u8>) {
    let at = random.below(input.len() + 1);
    let end = at + random.below(input.len() - at + 1);
    match random.below(9) {
        // One bit, one byte.
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.byte(),
        2 => input.insert(at, random.byte()),
        // Less, more, elsewhere.
        3 => drop(input.drain(at..end)),
        4 => {
            let piece = input[at..end].to_vec();
            let times = 1 + random.below(64);
            let room = BYTES_MAX.saturating_sub(input.len()) / piece.len().max(1);
            let many = piece.repeat(times.min(room));
            input.splice(at..at, many);
        }
        5 => input.truncate(at),
        // Another's tail.
        6 => {
            let other = random.of(corpus).unwrap_or_default();
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        // A word, a number at the edge.
        7 => {
            let word = random.of(target.words).unwrap_or("0");
            input.splice(at..end, word.bytes());
        }
        _ => {
            let edges = ["-1", "0", "9223372036854775807", "9223372036854775808", "1e999", "NaN"];
            let edge = random.of(&edges).unwrap_or("0");
            input.splice(at..at, edge.bytes());
        }
    }
}

fn shown(input: &[u8]) -> String {
    let start = &input[..input.len().min(400)];
    format!("{} bytes \"{}\"", input.len(), start.escape_ascii())
}
