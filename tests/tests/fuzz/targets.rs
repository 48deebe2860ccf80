//! Everything that reads what strangers send.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::http::{HeaderMap, Request, Uri, header};
use cameo_access::{ApiKey, OidcConfig, PresentedKey, TokenAlgorithm, oidc::check_header};
use cameo_bundle::{discover, load, render_human};
use cameo_domain::{
    Column, DataType, Key, PredictionSchema, Scopes, ServiceName, ServicePath, TenantName,
};
use cameo_package::Package;
use cameo_segment::{
    Catalog, Condition,
    cursor::{Cursor, CursorKey, Listing},
};

use crate::driver::{Target, fuzz};

/// For parsers of a line of text.
const QUICK: Duration = Duration::from_millis(250);
/// A condition of this length stays within all bounds however it is written.
const CERTAINLY_SHORT_BYTES: usize = 512;
/// For those that read files.
const SLOW: Duration = Duration::from_secs(3);

fn texts(corpus: &[&str]) -> Vec<Vec<u8>> {
    corpus.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn api_keys() {
    let key = || ApiKey::generate().expect("random numbers").reveal().as_bytes().to_vec();
    let target = Target {
        name: "api_keys",
        corpus: (0..8).map(|_| key()).collect(),
        words: &["cameo", "cameo_", "_", "Bearer "],
        share: 1.0,
        time_max: QUICK,
        bytes_max: 64 << 10,
    };
    fuzz(&target, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return false };
        let Ok(key) = PresentedKey::parse(text) else { return false };
        assert!(text.contains(key.prefix()), "the key names itself");
        let _ = key.hash();
        true
    });
}

#[test]
fn headers_of_tokens() {
    // {"alg":"RS256","kid":"a"} and {"alg":"ES256","kid":"b","typ":"JWT"}; the rest is nobody's.
    let target = Target {
        name: "headers_of_tokens",
        corpus: texts(&[
            "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.e30.c2ln",
            "eyJhbGciOiJFUzI1NiIsImtpZCI6ImIiLCJ0eXAiOiJKV1QifQ.e30.c2ln",
        ]),
        words: &[".", "eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzI1NiJ9", "=", "-_", "+/", "e30"],
        share: 1.0,
        time_max: QUICK,
        bytes_max: 1 << 20,
    };
    let algorithms =
        ["RS256", "ES256"].map(|name| name.parse::<TokenAlgorithm>().expect("an algorithm"));
    let config = OidcConfig::new("https://issuer.example", "cameo", &algorithms).expect("a config");
    fuzz(&target, |input| {
        let text = String::from_utf8_lossy(input);
        match check_header(&config, &text) {
            Ok(()) => true,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                false
            }
        }
    });
}

#[test]
fn cursors() {
    let (tenant, segment) = ("crm".parse().expect("a name"), "loyal".parse().expect("a name"));
    let key = CursorKey::new(b"a secret of this test");
    let cursor = |listing, after| key.seal(&tenant, &segment, &Cursor { listing, after });
    let members = Listing::Members { materialisation: 7 };
    let changes = Listing::Changes { since: 6, materialisation: 7, attributes: true };
    let sealed = [cursor(members, Key::Int(-17)), cursor(changes, Key::String("c-17".to_owned()))];
    let target = Target {
        name: "cursors",
        corpus: sealed.iter().map(|text| text.as_bytes().to_vec()).collect(),
        words: &["A", "AAAA", "_", "-", "=", "+", "/"],
        share: 1.0,
        time_max: QUICK,
        bytes_max: 256 << 10,
    };
    fuzz(&target, |input| {
        let text = String::from_utf8_lossy(input);
        let opened = key.open(&tenant, &segment, &text);
        if let Ok(cursor) = &opened {
            let is_ours = sealed.contains(&key.seal(&tenant, &segment, cursor));
            assert!(is_ours, "a cursor that nobody gave was taken: {cursor:?}");
        }
        opened.is_ok()
    });
}

#[test]
fn conditions_of_segments() {
    let schema = |columns: &[(&str, DataType)]| {
        let column = |(name, data_type): &(&str, DataType)| Column {
            name: name.parse().expect("a column"),
            data_type: *data_type,
        };
        PredictionSchema::new(columns.iter().map(column).collect()).expect("a schema")
    };
    let service = |name: &str| name.parse::<ServiceName>().expect("a service");
    let key = ("user_id", DataType::Int);
    let services = BTreeMap::from([
        (service("gender"), schema(&[key, ("female_percentile", DataType::Float64)])),
        (service("clv"), schema(&[key, ("tier", DataType::String), ("at", DataType::Timestamp)])),
        (service("churn"), schema(&[key, ("churned", DataType::Bool), ("day", DataType::Date)])),
    ]);
    let catalog = Catalog::new(services);
    let target = Target {
        name: "conditions_of_segments",
        corpus: texts(&[
            "gender.female_percentile >= 0.8 and clv.tier = 'High' and not coalesce(churn.churned, false)",
            "clv.tier in ('High', 'Low') or clv.tier like 'H%' or clv.tier is null",
            "churn.day between date '2026-01-01' and date '2026-02-01'",
        ]),
        words: &[
            " and ",
            " or ",
            "not ",
            "((",
            "))",
            "case when ",
            "in (",
            "--",
            "/*",
            "*/",
            "''",
            "`",
            "cast(",
            " as int64)",
            "timestamp '",
            "select ",
            "-",
            "nan",
            "::",
            " is not true",
        ],
        share: 0.5,
        time_max: QUICK,
        bytes_max: 32 << 20,
    };
    fuzz(&target, |input| {
        let text = String::from_utf8_lossy(input);
        match Condition::parse(&text, &catalog) {
            Ok(condition) => {
                // The names of services that are added may make a long one too long.
                if text.len() < CERTAINLY_SHORT_BYTES {
                    let canonical = condition.to_string();
                    let again = Condition::parse(&canonical, &catalog);
                    let again = again.expect("its own text is read");
                    assert_eq!(again.to_string(), canonical, "and is the same");
                }
                true
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                false
            }
        }
    });
}

#[test]
fn keys_of_customers() {
    let target = Target {
        name: "keys_of_customers",
        corpus: texts(&["17", "-9223372036854775808", "c-17", "\u{fc}\u{4e16}"]),
        words: &["\0", "+1", "00", "1_000", "\u{661}"],
        share: 1.0,
        time_max: QUICK,
        bytes_max: 256 << 10,
    };
    fuzz(&target, |input| {
        let text = String::from_utf8_lossy(input);
        let mut accepted = false;
        for declared in [DataType::Int, DataType::String, DataType::Float64] {
            match Key::parse(&text, declared) {
                Ok(key) => {
                    accepted = true;
                    let again = Key::parse(&key.to_string(), declared);
                    assert_eq!(again, Ok(key), "a key is read back from what it prints");
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
        accepted
    });
}

#[test]
fn names_and_scopes() {
    let target = Target {
        name: "names_and_scopes",
        corpus: texts(&["marketing/gender", "crm/clv_bgnbd", "read", "all"]),
        words: &["/", "..", "read,run", "sensitive", "\u{212a}"],
        share: 1.0,
        time_max: QUICK,
        bytes_max: 1 << 20,
    };
    fuzz(&target, |input| {
        let text = String::from_utf8_lossy(input);
        let path = text.parse::<ServicePath>();
        if let Ok(path) = &path {
            assert_eq!(path.to_string(), text, "a path is what was written");
            assert!(!text.contains("..") && !text.contains('"'), "it is used as an identifier");
        }
        let is_tenant = text.parse::<TenantName>().is_ok();
        let words: Vec<&str> = text.split(',').collect();
        path.is_ok() | is_tenant | Scopes::from_words(&words).is_ok()
    });
}

#[test]
fn request_targets_and_headers() {
    let target = Target {
        name: "request_targets_and_headers",
        corpus: texts(&[
            "/v1/tenants/marketing/services/gender/predictions/17",
            "/v1/tenants/crm/services/clv/runs?limit=2&cursor=5&state=queued",
            "/v1/tenants/crm/services/clv/predictions/%C3%BC%20%2F",
        ]),
        words: &["%00", "%ff", "%2e%2e", "//", "?", "#", "http://", ":batchGet", "{tenant}", "*"],
        share: 0.5,
        time_max: QUICK,
        bytes_max: 1 << 20,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    // The router with the API's own templates, and nothing behind it.
    let mut router = axum::Router::new();
    for template in templates() {
        router = router.route(&template, axum::routing::any(echo));
    }
    fuzz(&target, |input| {
        let Ok(uri) = Uri::try_from(input) else { return false };
        let mut headers = HeaderMap::new();
        if let Ok(value) = header::HeaderValue::from_bytes(input) {
            headers.insert(header::AUTHORIZATION, value);
        }
        let mut request = Request::new(axum::body::Body::empty());
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let answer = runtime.block_on(tower::ServiceExt::oneshot(router.clone(), request));
        let status = answer.expect("a router never fails").status();
        assert!(!status.is_server_error(), "{status}");
        status.is_success()
    });
}

async fn echo(params: axum::extract::RawPathParams) -> String {
    params.iter().flat_map(|(name, value)| [name, "=", value, "\n"]).collect()
}

/// The templates of the API's document that a router understands.
fn templates() -> Vec<String> {
    let document = cameo_api::document();
    let paths = document.paths.paths.keys();
    paths.filter(|path| !path.contains("}:")).cloned().collect()
}

const CONFIG: &str = "MODEL_CONFIG: {MODEL_PATH: model.onnx, FRAMEWORK: BASE}\n\
    FEATURE_CONFIG: {FEATURE_SQL_PATH: features.sql}\n\
    PREDICTION_CONFIG:\n  SERVICE_NAME: gender\n  VERSION: 0.1.0\n  \
    PREDICTION_SCHEDULE: \"0 4 * * *\"\n  PREDICTION_NAMES: [id, score]\n  \
    PREDICTION_NAMES_DATATYPE: [INT, FLOAT64]\n";
const TENANT: &str = "OWNERS: [team@example.com]\nMAX_CONCURRENT_RUNS: 2\nLIMITS:\n  BURST: 5\n";

#[test]
fn yaml_of_bundles_and_tenants() {
    let target = Target {
        name: "yaml_of_bundles_and_tenants",
        corpus: texts(&[CONFIG, TENANT]),
        words: &[
            "MODEL_CONFIG",
            "PREDICTION_CONFIG:",
            "LIMITS:",
            "&a ",
            "*a",
            "<<: *a",
            "!!binary ",
            "? ",
            "| ",
            ">- ",
            "{",
            "[",
            "---\n",
            "\t",
            "\u{feff}",
            "0x10",
            "1e400",
            ".nan",
        ],
        share: 0.03,
        time_max: SLOW,
        bytes_max: 256 << 20,
    };
    let root = tempfile::tempdir().expect("a folder");
    let folder = bundle(root.path());
    fuzz(&target, |input| {
        fs::write(folder.join("config.yaml"), input).expect("a config");
        fs::write(root.path().join("marketing/tenant.yaml"), input).expect("a tenant");
        let found = discover(root.path());
        let told = render_human(&found.diagnostics, false);
        assert!(found.diagnostics.is_empty() || !told.is_empty());
        // No file is a sound config and a sound tenant at once.
        load(&folder).is_ok() || !found.tenants.is_empty()
    });
}

#[test]
fn packages() {
    let root = tempfile::tempdir().expect("a folder");
    let sound = load(&bundle(root.path())).expect("a sound bundle");
    let sound = Package::pack(&sound, None, None).expect("a package");
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(sound.as_slice()).read_to_end(&mut tar).expect("a gzip");
    let target = |name, corpus| Target {
        name,
        corpus,
        words: &["ustar", "manifest.json", "../", "\0\0\0\0", "sha256", "\"bytes\":"],
        share: 0.1,
        time_max: SLOW,
        bytes_max: 64 << 20,
    };
    fuzz(&target("packages", vec![sound]), unpack);
    // Past the checksum of the compression.
    fuzz(&target("archives in packages", vec![tar]), |input| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(input).expect("memory");
        unpack(&encoder.finish().expect("memory"))
    });
}

fn unpack(package: &[u8]) -> bool {
    let into = tempfile::tempdir().expect("a folder");
    let unpacked = Package::unpack(package, into.path(), None);
    if unpacked.is_err() {
        let left = fs::read_dir(into.path()).expect("the folder").count();
        assert_eq!(left, 0, "what is refused leaves nothing behind");
    }
    unpacked.is_ok()
}

/// A sound bundle below `root`; its folder.
fn bundle(root: &Path) -> PathBuf {
    let folder = root.join("marketing/gender");
    fs::create_dir_all(&folder).expect("a folder");
    for (name, text) in
        [("config.yaml", CONFIG), ("features.sql", "select 1 as id, 2.0 as x"), ("model.onnx", "x")]
    {
        fs::write(folder.join(name), text).expect("a file");
    }
    folder
}
