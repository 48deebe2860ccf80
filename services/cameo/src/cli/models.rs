//! Looking into models.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// Show what a model takes and gives, its operators and trees, what runs it and how fast, offline.
    Inspect(ModelInspect),
}

#[derive(Debug, Args)]
pub(crate) struct ModelInspect {
    /// The ONNX file; by default the model of the bundle.
    #[arg(required_unless_present = "bundle")]
    pub(crate) model: Option<PathBuf>,
    /// An ONNX file that is chained before the model.
    #[arg(long)]
    pub(crate) preprocess: Option<PathBuf>,
    /// The folder of a bundle: its query gives the features, and each of its predictions is bound.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) bundle: Option<PathBuf>,
}
