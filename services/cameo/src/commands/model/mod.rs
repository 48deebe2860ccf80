//! `cameo model`: what is inside a model file.

pub(crate) mod drawing;
mod inspect;
mod speed;
mod steps;
mod text;

use std::process::ExitCode;

use crate::{
    cli::{Global, Model},
    output::Output,
};

pub(crate) async fn run(global: &Global, model: Model, output: Output) -> anyhow::Result<ExitCode> {
    match model {
        Model::Inspect(wanted) => inspect::run(global, wanted, output).await,
    }
}
