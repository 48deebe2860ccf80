//! Where models work, and the one place where those of a run do.

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use cameo_scoring::ModelSignature;

use crate::{
    Allowance, Fault, child,
    message::{Answer, Request},
    process::Process,
};

/// Where the models of others work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolation {
    /// In this process, which a model can then take with it: for one's own models.
    None,
    /// In children, each of which is this program.
    Process(Program),
}

/// What a child runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The file.
    pub path: PathBuf,
    /// What it is told before its allowance, so that it calls [`child::serve`].
    pub arguments: Vec<OsString>,
}

impl Program {
    /// The program that runs now, also where its file was replaced meanwhile. Its `main` must begin with
    /// [`child::allowance`].
    #[must_use]
    pub fn this() -> Self {
        Self { path: PathBuf::from("/proc/self/exe"), arguments: vec![child::ARGUMENT.into()] }
    }
}

impl Isolation {
    /// Starts what the models of one run work in.
    ///
    /// # Errors
    /// [`Fault::Start`].
    pub fn start(&self, allowance: Allowance) -> Result<Host, Fault> {
        match self {
            Self::None => Ok(Host { process: None, kept: Vec::new() }),
            Self::Process(program) => {
                let (process, kept) = Process::start(program, allowance)?;
                Ok(Host { process: Some(Arc::new(process)), kept })
            }
        }
    }
}

/// What the models of one run work in. Clones share it; it ends with the last of them.
#[derive(Debug, Clone)]
pub struct Host {
    pub(crate) process: Option<Arc<Process>>,
    kept: Vec<String>,
}

impl Host {
    /// This process.
    #[must_use]
    pub fn here() -> Self {
        Self { process: None, kept: Vec::new() }
    }

    /// Reads the signature of a model, as [`cameo_scoring::inspect`].
    ///
    /// # Errors
    /// [`Fault::Model`] for one that is refused.
    pub fn inspect(&self, model: &[u8]) -> Result<ModelSignature, Fault> {
        let Some(process) = &self.process else {
            return cameo_scoring::inspect(model).map_err(|error| Fault::of_model(&error));
        };
        match process.ask(&Request::Inspect, &[model])? {
            (Answer::Inspected(signature), _) => Ok(signature),
            (other, _) => Err(unasked(process, &other)),
        }
    }

    /// What the system did not let the child give up, in words; empty where it is confined as it should be.
    #[must_use]
    pub fn kept(&self) -> &[String] {
        &self.kept
    }

    /// Memory that the child has in use, in bytes; none where there is no child any more.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        self.process.as_ref()?.resident_bytes()
    }

    /// Ends the child when it is dropped, whoever still waits for an answer.
    #[must_use]
    pub fn stops(&self) -> StopsHost {
        StopsHost(self.process.clone())
    }
}

/// Ends a child when it is dropped: who waits for an answer gets [`Fault::Stopped`].
#[derive(Debug)]
pub struct StopsHost(Option<Arc<Process>>);

impl Drop for StopsHost {
    fn drop(&mut self) {
        if let Some(process) = &self.0 {
            process.end(Fault::Stopped);
        }
    }
}

/// An answer to another question: whoever gives it is not to be asked again.
pub(crate) fn unasked(process: &Process, answer: &Answer) -> Fault {
    let text: String = format!("{answer:?}").chars().take(200).collect();
    process.end(Fault::Protocol(format!("it answered what was not asked: {text}")))
}

/// An answer that does not fit its question.
pub(crate) fn unsound(process: &Process, problem: impl std::fmt::Display) -> Fault {
    process.end(Fault::Protocol(problem.to_string()))
}
