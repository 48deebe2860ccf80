//! The other side: what a child does from its first moment.

mod confine;
mod objects;

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufReader},
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, channel},
    },
    thread,
};

use arrow::array::RecordBatch;

use crate::{
    Allowance,
    child::objects::Objects,
    message::{Answer, Request},
    wire::{self, Frame},
};

/// What a program is told that is to be a child; its allowance follows.
pub const ARGUMENT: &str = "model-process";

/// Deep graphs are walked by recursion.
const STACK_BYTES: usize = 8 << 20;

/// The allowance of a child, where the arguments of this process make it one. Whoever may start children
/// asks this before anything else.
#[must_use]
pub fn allowance(arguments: impl IntoIterator<Item = OsString>) -> Option<Allowance> {
    let arguments: Vec<OsString> = arguments.into_iter().skip(1).collect();
    let (first, rest) = arguments.split_first()?;
    if first == ARGUMENT { Allowance::from_arguments(rest) } else { None }
}

/// Works as a child until its parent ends or closes its input.
#[must_use]
pub fn serve(allowance: Allowance) -> ExitCode {
    serve_watched(allowance, |_| {})
}

/// As [`serve`], with a look at each batch of features before it is scored: how tests have a model that does
/// what none can that passes the checks.
#[doc(hidden)]
pub fn serve_watched(
    allowance: Allowance,
    watch: impl Fn(&RecordBatch) + Send + Sync + 'static,
) -> ExitCode {
    // Whatever goes wrong here, the parent sees the end of the pipe, the code, and what is said last.
    work(allowance, watch).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn work(
    allowance: Allowance,
    watch: impl Fn(&RecordBatch) + Send + Sync + 'static,
) -> io::Result<()> {
    // Files of our own, whose writes are whole and whose reads are buffered once.
    let questions = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let answers = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let answers = Arc::new(Mutex::new(answers));
    let objects = Arc::new(Objects::new(Box::new(watch)));
    // There are no more questions than the parent has threads that wait.
    let (hand_over, taken) = channel::<Frame<Request>>();
    let taken = Arc::new(Mutex::new(taken));
    let mut kept = confine::limit(allowance);
    for _ in 0..allowance.threads {
        let (taken, objects) = (Arc::clone(&taken), Arc::clone(&objects));
        let answers = Arc::clone(&answers);
        thread::Builder::new()
            .name("model".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || answer_all(&taken, &objects, &answers))?;
    }
    // With all threads there, none can be made any more.
    kept.extend(confine::close());
    say(&answers, 0, &Answer::Ready { kept }, &[])?;
    let mut questions = BufReader::new(questions);
    while let Some(frame) = wire::read::<Request>(&mut questions)? {
        if hand_over.send(frame).is_err() {
            break;
        }
    }
    // What still works on a question works for nobody.
    Ok(())
}

fn answer_all(
    questions: &Mutex<Receiver<Frame<Request>>>,
    objects: &Objects,
    answers: &Mutex<File>,
) {
    loop {
        let next = questions.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Frame { number, message, parts }) = next else { return };
        let answered = catch_unwind(AssertUnwindSafe(|| objects.answer(message, parts)));
        // A panic has had its words, which the parent hears: half an answer is none.
        let Ok(answered) = answered else { std::process::abort() };
        let (answer, parts) =
            answered.unwrap_or_else(|problem| (Answer::Refused(problem), Vec::new()));
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        if say(answers, number, &answer, &parts).is_err() {
            return;
        }
    }
}

fn say(answers: &Mutex<File>, number: u64, answer: &Answer, parts: &[&[u8]]) -> io::Result<()> {
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    wire::write(&mut *answers, number, answer, parts)
}
