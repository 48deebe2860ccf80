//! `cameo model`: what is inside a model file.

mod inspect;
mod speed;
mod steps;
mod text;

use std::process::ExitCode;

pub(crate) use self::inspect::read_file;
use crate::{
    cli::{Global, Model},
    output::Output,
};

pub(crate) async fn run(global: &Global, model: Model, output: Output) -> anyhow::Result<ExitCode> {
    match model {
        Model::Inspect(wanted) => inspect::run(global, wanted, output).await,
    }
}
