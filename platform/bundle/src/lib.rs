//! The files of a service into a checked [`Bundle`].
//!
//! Everything that is wrong is reported at once, each problem with its place in a file, a stable
//! code, what was expected and the nearest known name. Reading touches the bundle's folder and, for
//! artifacts, the object store; no database and no query engine.

mod access_config;
mod anchors;
pub mod artifact;
mod artifact_files;
mod bundle;
mod card;
mod code;
mod column_type;
mod config;
mod diagnostic;
mod discover;
mod example;
mod explanation_config;
mod explanation_steps;
mod files;
mod folded;
mod github;
mod macros;
mod manifest;
mod nearest;
mod null_default_steps;
mod null_defaults;
mod paths;
mod prediction_config;
mod ranking_config;
mod ranking_steps;
mod reader;
mod release_config;
mod render;
mod run_config;
mod sarif;
mod schema;
mod segment_config;
mod source;
mod sql;
mod steps;
mod tenant;
mod yaml;

pub use cameo_sqlmacros::MacroUse;

pub use artifact::{ArtifactError, ArtifactStore, MODEL_BYTES_MAX};
pub use bundle::{Bundle, CARD_FILE, CONFIG_FILE, PREDICTIONS_SQL_FILE, load, other_format};
pub use code::{Code, CodeError, Explanation};
pub use config::{Config, FeatureConfig, Framework, ModelConfig, PredictionConfig};
pub use diagnostic::{Diagnostic, Located, Severity, Span};
pub use discover::{BUNDLES_MAX, Discovery, discover, looks_like_bundle};
pub use example::Example;
pub use explanation_config::{
    ExplanationConfig, ExplanationMethod, ExplanationSection, ExplanationStore,
};
pub use files::{BundleFile, FILES_MAX};
pub use github::render_github;
pub use macros::{MACRO_FILES_MAX, MACROS_FOLDER};
pub use manifest::{Hashes, ReleaseManifest};
pub use null_defaults::{DeclaredDefault, NullDefault, NullDefaults};
pub use paths::PathError;
pub use prediction_config::COLUMNS_MAX;
pub use ranking_config::{RankingConfig, RankingSettings};
pub use release_config::ReleaseConfig;
pub use render::render_human;
pub use run_config::RunConfig;
pub use sarif::render_sarif;
pub use schema::{json_schema, tenant_json_schema};
pub use segment_config::{SEGMENTS_MAX, SegmentSection};
pub use source::{SourceFile, TEXT_BYTES_MAX};
pub use sql::SqlFile;
pub use steps::{ModelPort, StepColumn, Steps, check_steps};
pub use tenant::{TENANT_FILE, Tenant, TenantConfig, TenantLimits};
pub use yaml::NESTING_MAX;
