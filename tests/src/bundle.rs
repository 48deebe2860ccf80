//! Writing bundles as teams do.

use std::{
    fmt::{Display, Write},
    fs,
    path::Path,
};

use cameo_bundle::ReleaseManifest;

/// `score = level + visits`, `twin = 2 * score`; see `tests/models/make.py`.
const MODEL: &[u8] = include_bytes!("../models/level.onnx");

/// A bundle in the making: one tenant's service on the model `level.onnx`.
#[derive(Debug, Clone)]
pub struct Bundle {
    pub(crate) tenant: String,
    pub(crate) service: String,
    pub(crate) edit: Option<fn(&mut ReleaseManifest)>,
    version: String,
    cron: String,
    timezone: String,
    settings: String,
    explanation: String,
    sensitive: String,
    release: String,
    null_defaults: String,
    features: String,
    predictions: Option<String>,
    key_type: &'static str,
    runs_max: u32,
    model: Vec<u8>,
}

impl Bundle {
    /// A bundle that is due daily at 18:00 UTC and reads `shop.customers`.
    #[must_use]
    pub fn new(tenant: &str, service: &str) -> Self {
        Self {
            tenant: tenant.to_owned(),
            service: service.to_owned(),
            edit: None,
            version: "0.0.1".to_owned(),
            cron: "0 18 * * *".to_owned(),
            timezone: "UTC".to_owned(),
            settings: String::new(),
            explanation: String::new(),
            sensitive: String::new(),
            release: String::new(),
            null_defaults: String::new(),
            features: "SELECT user_id, level, visits FROM shop.customers".to_owned(),
            predictions: None,
            key_type: "INT",
            runs_max: 2,
            model: MODEL.to_vec(),
        }
    }

    /// `PREDICTION_SCHEDULE` and `PREDICTION_TIMEZONE`.
    #[must_use]
    pub fn schedule(mut self, cron: &str, timezone: &str) -> Self {
        cron.clone_into(&mut self.cron);
        timezone.clone_into(&mut self.timezone);
        self
    }

    /// `VERSION`.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// A key of `RUN_CONFIG`.
    #[must_use]
    pub fn setting(mut self, key: &str, value: impl Display) -> Self {
        let _ = writeln!(self.settings, "  {key}: {value}");
        self
    }

    /// `EXPLANATION_CONFIG`, as YAML in one line.
    #[must_use]
    pub fn explained(mut self, section: &str) -> Self {
        self.explanation = format!("EXPLANATION_CONFIG: {section}\n");
        self
    }

    /// `SENSITIVE`, as YAML in one line.
    #[must_use]
    pub fn sensitive(mut self, names: &str) -> Self {
        self.sensitive = format!("  SENSITIVE: {names}\n");
        self
    }

    /// `RELEASE_CONFIG`, as YAML in one line.
    #[must_use]
    pub fn released(mut self, section: &str) -> Self {
        self.release = format!("RELEASE_CONFIG: {section}\n");
        self
    }

    /// `NULL_DEFAULTS`, as YAML in one line.
    #[must_use]
    pub fn null_defaults(mut self, defaults: &str) -> Self {
        self.null_defaults = format!("  NULL_DEFAULTS: {defaults}\n");
        self
    }

    /// `features.sql`.
    #[must_use]
    pub fn features(mut self, sql: &str) -> Self {
        sql.clone_into(&mut self.features);
        self
    }

    /// `predictions.sql`.
    #[must_use]
    pub fn predictions(mut self, sql: &str) -> Self {
        self.predictions = Some(sql.to_owned());
        self
    }

    /// Customers whose keys are texts: `c/1` instead of 1.
    #[must_use]
    pub fn keyed_by_text(mut self) -> Self {
        self.key_type = "STRING";
        self.features("SELECT CONCAT('c/', CAST(user_id AS STRING)) AS user_id, level, visits FROM shop.customers")
    }

    /// `MAX_CONCURRENT_RUNS` of the tenant.
    #[must_use]
    pub fn runs_max(mut self, runs: u32) -> Self {
        self.runs_max = runs;
        self
    }

    /// `model.onnx`.
    #[must_use]
    pub fn model(mut self, file: Vec<u8>) -> Self {
        self.model = file;
        self
    }

    /// Changes the release beyond what a config may say.
    #[must_use]
    pub fn release(mut self, edit: fn(&mut ReleaseManifest)) -> Self {
        self.edit = Some(edit);
        self
    }

    /// Writes the files to `<root>/<tenant>/<service>`.
    pub(crate) fn write(&self, root: &Path) {
        let tenant = root.join(&self.tenant);
        let folder = tenant.join(&self.service);
        fs::create_dir_all(&folder).expect("a folder");
        let write = |name: &str, bytes: &[u8]| {
            fs::write(folder.join(name), bytes).expect("a file of the bundle");
        };
        fs::write(tenant.join("tenant.yaml"), format!("MAX_CONCURRENT_RUNS: {}\n", self.runs_max))
            .expect("tenant.yaml");
        write("config.yaml", self.config().as_bytes());
        write("features.sql", self.features.as_bytes());
        write("model.onnx", &self.model);
        if let Some(sql) = &self.predictions {
            write("predictions.sql", sql.as_bytes());
        }
    }

    fn config(&self) -> String {
        let Self { service, version, cron, timezone, null_defaults, key_type, .. } = self;
        let mut config = format!(
            "MODEL_CONFIG:
  MODEL_PATH: model.onnx
  FRAMEWORK: BASE
FEATURE_CONFIG:
  FEATURE_SQL_PATH: features.sql
  PREPROCESS_OBJECT_PATH: \"\"
{null_defaults}PREDICTION_CONFIG:
  SERVICE_NAME: {service}
  VERSION: {version}
  PREDICTION_SCHEDULE: \"{cron}\"
  PREDICTION_TIMEZONE: {timezone}
  PREDICTION_NAMES: [user_id, score, twin]
  PREDICTION_NAMES_DATATYPE: [{key_type}, FLOAT64, FLOAT64]
"
        );
        config.push_str(&self.sensitive);
        config.push_str(&self.explanation);
        config.push_str(&self.release);
        if !self.settings.is_empty() {
            let _ = write!(config, "RUN_CONFIG:\n{}", self.settings);
        }
        config
    }
}
