//! Releases without bundles, for promises that are the store's alone.

use cameo_domain::{Column, DataType, MissedRunPolicy, PredictionSchema, ReleaseId, Sha256, Stage};
use cameo_store::{
    By,
    releases::{NewRelease, ReleaseHashes},
};
use cameo_tests::at;

/// `user_id INT, score FLOAT64`.
pub(crate) fn scores() -> PredictionSchema {
    let columns = [("user_id", DataType::Int), ("score", DataType::Float64)];
    let columns = columns
        .map(|(name, data_type)| Column { name: name.parse().expect("a column name"), data_type });
    PredictionSchema::new(columns.to_vec()).expect("a schema")
}

/// A release in production that is due daily at 18:00 UTC from 1 March 2026 on.
pub(crate) fn release(service: &str, version: u32) -> NewRelease {
    let hash = |part: &str| Sha256::of(format!("{part} of {service} {version}"));
    NewRelease {
        release: ReleaseId(hash("manifest")),
        service: service.parse().expect("a service name"),
        version: format!("{version}.0.0"),
        manifest: serde_json::json!({ "service": service, "version": version }),
        hashes: ReleaseHashes { config: hash("config"), sql: hash("sql"), model: hash("model") },
        schema: scores(),
        cron: "0 18 * * *".to_owned(),
        timezone: "UTC".to_owned(),
        next_due_at: at("2026-03-01T18:00:00Z"),
        missed_run_policy: MissedRunPolicy::Latest,
        missed_run_window_seconds: 24 * 3_600,
        generations_kept: 2,
        stale_after_seconds: 48 * 3_600,
        attempts_max: 3,
        git_commit: None,
        stage: Stage::Production,
        protected: false,
        shadow_runs_min: 0,
        by: By::new("soak", "test"),
        reason: None,
    }
}
