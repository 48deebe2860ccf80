//! Sound bundles are read whole.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cameo_bundle::{
    Code, ExplanationConfig, ExplanationMethod, ExplanationStore, NullDefault, NullDefaults,
    ReleaseManifest, discover, load,
};
use cameo_domain::{ColumnName, DataType, MissedRunPolicy, Sha256};

const CONFIG: &str = r#"
MODEL_CONFIG:
  MODEL_PATH: gs://profiling-models/gender/2026-11-01/model.onnx
  FRAMEWORK: BASE
FEATURE_CONFIG:
  FEATURE_SQL_PATH: features.sql
  PREPROCESS_OBJECT_PATH: ""
PREDICTION_CONFIG:
  SERVICE_NAME: gender
  VERSION: 0.0.1
  PREDICTION_SCHEDULE: "00 18 * * *"
  PREDICTION_NAMES: [user_id, male_percentile, tier]
  PREDICTION_NAMES_DATATYPE:
    - STRING
    - FLOAT64
    - STRING
RUN_CONFIG:
  MISSED_RUN_POLICY: ALL
  GENERATIONS_KEPT: 5
"#;

/// A tenants folder with marketing/gender.
fn tenants() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary folder");
    let folder = root.path().join("marketing/gender");
    fs::create_dir_all(&folder).expect("the bundle's folder");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file");
    write("config.yaml", CONFIG);
    write("features.sql", "SELECT user_id, age FROM demo.customers\n");
    write("predictions.sql", "SELECT * FROM model_outputs\n");
    write("CARD.md", "# Gender\n");
    fs::write(root.path().join("marketing/tenant.yaml"), "OWNERS: [a@example.com]\n")
        .expect("the tenant's file");
    root
}

fn shipped(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tenants").join(below)
}

#[test]
fn a_bundle_is_read_with_its_defaults() {
    let root = tenants();
    let bundle = load(&root.path().join("marketing/gender")).expect("a sound bundle");
    assert_eq!(bundle.path.to_string(), "marketing/gender");
    let prediction = &bundle.config.prediction;
    assert_eq!(prediction.schedule.to_string(), "00 18 * * * UTC");
    assert_eq!(prediction.schema().key().data_type, DataType::String);
    assert_eq!(prediction.names[1].span.line, 12);
    assert_eq!(bundle.config.run.missed_run_policy, MissedRunPolicy::All);
    assert_eq!((bundle.config.run.generations_kept, bundle.config.run.attempts_max), (5, 3));
    assert_eq!(bundle.config.features.preprocess_object_path, None);
    assert_eq!(bundle.card, None, "a card without front matter is for people alone");
}

#[test]
fn discovery_takes_a_folder_of_tenants_a_tenant_or_a_bundle() {
    let root = tenants();
    for below in ["", "marketing", "marketing/gender", "marketing/gender/."] {
        let found = discover(&root.path().join(below));
        assert!(found.diagnostics.is_empty(), "{below}: {:?}", found.diagnostics);
        let names: Vec<_> = found.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        assert_eq!(names, ["marketing"], "{below}");
        assert_eq!(found.tenants[0].config.owners, ["a@example.com"], "{below}");
        assert_eq!(found.bundles.len(), 1, "{below}");
    }
    let nothing = discover(&root.path().join("marketing/gender/nowhere"));
    assert_eq!(nothing.diagnostics[0].code, Code::NothingFound);
}

#[test]
fn the_shipped_tenants_are_sound() {
    let found = discover(&shipped(""));
    assert!(found.diagnostics.is_empty(), "{:#?}", found.diagnostics);
    let paths: Vec<_> = found.bundles.iter().map(|bundle| bundle.path.to_string()).collect();
    assert_eq!(paths, ["crm/clv", "crm/clv_bgnbd", "marketing/gender"]);
}

#[test]
fn a_file_beyond_its_limit_is_refused_before_it_is_parsed() {
    let root = tenants();
    let folder = root.path().join("marketing/gender");
    fs::write(folder.join("config.yaml"), "#".repeat(300_000)).expect("a large config");
    let problems = load(&folder).expect_err("it is too large");
    assert_eq!(problems[0].code, Code::FileTooLarge);
}

#[test]
fn a_release_is_what_its_content_is() {
    let root = tenants();
    let folder = root.path().join("marketing/gender");
    let model = Sha256::of(b"model");
    let manifest = |commit: Option<&str>| {
        let bundle = load(&folder).expect("a sound bundle");
        ReleaseManifest::new(&bundle, model, None, commit.map(str::to_owned))
    };
    let first = manifest(Some("abc"));
    assert_eq!(first.id(), manifest(None).id(), "the commit is no content");
    let read: ReleaseManifest = serde_json::from_str(&first.to_json()).expect("it reads back");
    assert_eq!(read, first);
    insta::assert_json_snapshot!(first);
    fs::write(folder.join("predictions.sql"), "SELECT user_id FROM model_outputs\n")
        .expect("another query");
    assert_ne!(first.id(), manifest(None).id(), "the query is content");
}

#[test]
fn defaults_for_nulls_travel_with_the_release_and_are_content() {
    let root = tenants();
    let folder = root.path().join("marketing/gender");
    let manifest = |defaults: &str| {
        let key = "  FEATURE_SQL_PATH: features.sql\n";
        let config = CONFIG.replace(key, &format!("{key}{defaults}"));
        fs::write(folder.join("config.yaml"), config).expect("a config");
        let bundle = load(&folder).unwrap_or_else(|problems| panic!("{problems:?}"));
        ReleaseManifest::new(&bundle, Sha256::of(b"model"), None, None)
    };
    let plain = manifest("");
    assert!(!plain.to_json().contains("null_defaults"), "older releases keep their ids");
    let declared = manifest(
        "  NULL_DEFAULTS: {age: 40, Spend: -7.5, whole: 7.0, loyal: true, city: Kyoto, code: \"0\"}\n",
    );
    let expected = [
        ("age", NullDefault::Integer(40)),
        ("Spend", NullDefault::Number(-7.5)),
        ("whole", NullDefault::Number(7.0)),
        ("loyal", NullDefault::Boolean(true)),
        ("city", NullDefault::Text("Kyoto".to_owned())),
        ("code", NullDefault::Text("0".to_owned())),
    ];
    let expected = expected.map(|(column, value)| (column.to_owned(), value));
    assert_eq!(declared.null_defaults, NullDefaults::from(expected));
    let read: ReleaseManifest = serde_json::from_str(&declared.to_json()).expect("it reads back");
    assert_eq!(read, declared);
    let other = manifest("  NULL_DEFAULTS: {age: 41}\n");
    let another = manifest("  NULL_DEFAULTS: {age: 42}\n");
    assert_ne!(other.id(), another.id());
    assert_ne!(other.hashes.config, another.hashes.config);
}

#[test]
fn segments_travel_with_the_release_as_they_are_written_and_are_content() {
    let root = tenants();
    let folder = root.path().join("marketing/gender");
    let manifest = |section: &str| {
        fs::write(folder.join("config.yaml"), format!("{CONFIG}{section}")).expect("a config");
        let bundle = load(&folder).unwrap_or_else(|problems| panic!("{problems:?}"));
        ReleaseManifest::new(&bundle, Sha256::of(b"model"), None, None)
    };
    let plain = manifest("");
    assert!(!plain.to_json().contains("segments"), "older releases keep their ids");
    let section = "SEGMENT_CONFIG:\n  - NAME: men\n    CONDITION: >-\n      male_percentile >= 0.8\n      \
                   AND clv.tier = 'High'\n    ATTRIBUTES: [tier, clv.score]\n    HOLD_OUT: {PERCENT: \
                   12.5, SALT: spring}\n";
    let declaring = manifest(section);
    let segment = &declaring.segments[0];
    assert_eq!(segment.name.as_str(), "men");
    assert_eq!(segment.draft.condition, "male_percentile >= 0.8 AND clv.tier = 'High'");
    assert_eq!(segment.draft.attributes, ["tier", "clv.score"]);
    let held_out = segment.draft.hold_out.as_ref().map(|share| (share.percent(), share.salt()));
    assert_eq!(held_out, Some((12.5, "spring")));
    let read: ReleaseManifest = serde_json::from_str(&declaring.to_json()).expect("it reads back");
    assert_eq!(read, declaring);
    // What others have is taken on trust; a column without a service is the bundle's own.
    let read = segment.read(&declaring.path.service, &declaring.schema).expect("a definition");
    assert_eq!(read.definition.condition, "gender.male_percentile >= 0.8 AND clv.tier = 'High'");
    assert_ne!(declaring.id(), manifest(&section.replace("0.8", "0.9")).id());
    // Sealed predictions, and explanations, are no more to be had than in segments of the API.
    let sensitive = CONFIG.replace("RUN_CONFIG:", "  SENSITIVE: [tier]\nRUN_CONFIG:");
    let by_tier = "SEGMENT_CONFIG: [{NAME: high, CONDITION: tier = 'High'}]\n";
    fs::write(folder.join("config.yaml"), format!("{sensitive}{by_tier}")).expect("a config");
    let problems = load(&folder).expect_err("a sealed prediction");
    assert_eq!(problems[0].code, Code::SegmentNameUnknown);
}

#[test]
fn a_card_with_front_matter_travels_with_the_release_and_is_content() {
    let root = tenants();
    let folder = root.path().join("marketing/gender");
    let manifest = |card: &str| {
        fs::write(folder.join("CARD.md"), card).expect("a card");
        let bundle = load(&folder).unwrap_or_else(|problems| panic!("{problems:?}"));
        ReleaseManifest::new(&bundle, Sha256::of(b"model"), None, None)
    };
    let plain = manifest("# Gender\n");
    assert!(!plain.to_json().contains("card"), "older releases keep their ids");
    let card = "---\nOWNER: science\nPURPOSE: coupons\nLIMITS: no prices\nTRAINING_DATA: year 2026\n---\n# Gender\n";
    let carried = manifest(card);
    let read: ReleaseManifest = serde_json::from_str(&carried.to_json()).expect("it reads back");
    assert_eq!(read, carried);
    assert_eq!(carried.card.as_ref().map(|card| card.owner.as_str()), Some("science"));
    assert_ne!(carried.id(), plain.id());
    assert_ne!(carried.id(), manifest(&card.replace("science", "sales")).id());
}

#[test]
fn every_shipped_bundle_has_a_card() {
    for bundle in discover(&shipped("")).bundles {
        assert!(bundle.card.is_some(), "{} has none", bundle.path);
    }
}

#[test]
fn explanations_are_a_column_of_what_is_published_where_they_are_stored() {
    let root = tenants();
    let folder = root.path().join("marketing/gender");
    let manifest = |section: &str| {
        fs::write(folder.join("config.yaml"), format!("{CONFIG}{section}")).expect("a config");
        let bundle = load(&folder).expect("a sound bundle");
        ReleaseManifest::new(&bundle, Sha256::of(b"model"), None, None)
    };
    let plain = manifest("");
    assert!(!plain.to_json().contains("explanation"), "older releases keep their ids");
    let stored = manifest("EXPLANATION_CONFIG: {}\n");
    let columns: Vec<_> = stored.schema.columns().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["user_id", "male_percentile", "tier", "explanation"]);
    assert_eq!(stored.explanation, Some(ExplanationConfig::default()));

    let asked = "EXPLANATION_CONFIG: {STORE: ON_DEMAND, METHOD: KERNEL, OUTPUT: p_1, SAMPLES: 64, \
                 BACKGROUND_ROWS: 200, COHORTS: [country, Segment]}\n";
    let asked = manifest(asked);
    assert_eq!(asked.schema, plain.schema, "nothing is stored with a prediction");
    let settings = asked.explanation.clone().expect("the section");
    assert_eq!(settings.method, ExplanationMethod::Kernel);
    assert_eq!(settings.store, ExplanationStore::OnDemand);
    assert_eq!((settings.output.as_deref(), settings.samples), (Some("p_1"), Some(64)));
    assert_eq!(settings.background_rows, 200);
    let cohorts: Vec<_> = settings.cohorts.iter().map(ColumnName::as_str).collect();
    assert_eq!(cohorts, ["country", "Segment"]);
    let read: ReleaseManifest = serde_json::from_str(&asked.to_json()).expect("it reads back");
    assert_eq!(read, asked);
}
