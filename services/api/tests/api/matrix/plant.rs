//! Two tenants whose data can be told apart wherever it turns up.

use std::{fs, path::Path, sync::Arc};

use axum::http::{Method, StatusCode};
use cameo_api::Config;
use cameo_bundle::load;
use cameo_domain::{GroupAccess, Sha256, TenantName};
use cameo_package::{Package, SigningKey};
use cameo_store::{
    By,
    erasures::{self, KeyType, NewErasure},
    tenants,
};
use tempfile::TempDir;

use super::credentials::{self, Credential};
use crate::{
    issuer::{Issuer, Signer},
    sweep::Names,
    world::{World, dependencies, request},
};

/// The tenants.
pub(crate) const ACORN: &str = "acorn";
pub(crate) const BIRCH: &str = "birch";
/// A service that both have, so that only the tenant tells them apart.
pub(crate) const BOTH: &str = "mulberry";
/// Customers of each service.
const ROWS: i64 = 3;

/// A platform with both tenants, and everybody who may ask.
pub(crate) struct Planted {
    pub(crate) world: World,
    pub(crate) credentials: Vec<Credential>,
    pub(crate) services: Vec<PlantedService>,
    /// Of each tenant, the prefix of the key that reaches all of it.
    pub(crate) prefixes: [(&'static str, String); 2],
    /// A bundle of acorn's mulberry whose `tenant.yaml` lets a group in.
    pub(crate) package: Vec<u8>,
    config: Config,
    _issuer: Issuer,
    _bundle: TempDir,
}

/// A service with what is to be found nowhere else.
pub(crate) struct PlantedService {
    pub(crate) tenant: &'static str,
    pub(crate) service: String,
    run: i64,
    erasure: i64,
    pub(crate) canaries: Vec<String>,
}

impl Planted {
    pub(crate) async fn start() -> Self {
        let signer = Signer::elliptic("one");
        let issuer = Issuer::start(&[&signer]).await;
        let config = Config {
            oidc: Some(issuer.config(&["ES256"])),
            // Receipts are looked for, not refused at once.
            receipt_key: Some(Arc::new(SigningKey::generate().expect("random bytes"))),
            ..Config::default()
        };
        let world = World::start_with(config.clone()).await;
        let mut services = Vec::new();
        for (at, (tenant, service)) in [
            (ACORN, BOTH.to_owned()),
            (ACORN, only(ACORN)),
            (BIRCH, BOTH.to_owned()),
            (BIRCH, only(BIRCH)),
        ]
        .into_iter()
        .enumerate()
        {
            services.push(PlantedService::plant(&world, tenant, service, at).await);
        }
        for tenant in [ACORN, BIRCH] {
            let access = GroupAccess {
                viewer: vec![format!("{tenant}-people")],
                admin: vec![format!("{tenant}-leads")],
                ..GroupAccess::default()
            };
            let tenant: TenantName = tenant.parse().expect("a name");
            tenants::grant(&world.store, &tenant, &access).await.expect("granted");
            let path = format!("/v1/tenants/{tenant}/webhooks/{}", webhook(tenant.as_str()));
            let told = format!(r#"{{"url": "https://{tenant}-told-mark.example/"}}"#);
            let put = request(Method::PUT, &path, Some(&world.admin), Some(&told));
            assert_eq!(world.send(put).await.status, StatusCode::CREATED);
        }
        let (credentials, prefixes) = credentials::all(&world, &issuer, &signer).await;
        let (bundle, package) = packed(&format!("{ACORN}/{BOTH}"));
        Self {
            world,
            credentials,
            services,
            prefixes,
            package,
            config,
            _issuer: issuer,
            _bundle: bundle,
        }
    }

    /// An API over the same data that remembers nobody.
    pub(crate) fn forget(&mut self) {
        let (store, metrics) = (self.world.store.clone(), cameo_runtime::metrics::Metrics::new());
        let dependencies = dependencies(store, metrics, self.world.lake.path());
        let forever = tokio_util::sync::CancellationToken::new();
        self.world.api = cameo_api::router(self.config.clone(), dependencies, forever);
    }

    /// How the paths of a service are filled.
    pub(crate) fn names(&self, tenant: &str, service: &str) -> Names {
        let planted = self.service(tenant, service);
        Names {
            run: planted.run.to_string(),
            erasure: planted.erasure.to_string(),
            release: version(tenant, service),
            prefix: self.prefix(tenant).to_owned(),
            segment: segment(tenant),
            webhook: webhook(tenant),
            ..Names::of(tenant, service)
        }
    }

    pub(crate) fn prefix(&self, tenant: &str) -> &str {
        let found = self.prefixes.iter().find(|(of, _)| *of == tenant);
        &found.expect("a planted tenant").1
    }

    fn service(&self, tenant: &str, service: &str) -> &PlantedService {
        let is_it = |found: &&PlantedService| found.tenant == tenant && found.service == service;
        self.services.iter().find(is_it).expect("a planted service")
    }

    /// What may not be in an answer to this credential.
    pub(crate) fn forbidden(&self, credential: &Credential) -> Vec<String> {
        let mut forbidden = Vec::new();
        for tenant in [ACORN, BIRCH] {
            if !credential.sees_tenant(tenant) {
                forbidden.push(tenant.to_owned());
                forbidden.push(self.prefix(tenant).to_owned());
            }
            let hidden = self.services.iter().filter(|planted| {
                planted.tenant == tenant && !credential.sees(tenant, &planted.service)
            });
            for planted in hidden {
                forbidden.extend(planted.canaries.iter().cloned());
                if credential.sees_tenant(tenant) {
                    // Who sees some services of a tenant learns of no other, of no wider key, and of nothing
                    // that concerns all of them.
                    forbidden.push(planted.service.clone());
                    forbidden.push(format!("{tenant}-people"));
                    forbidden.push(self.prefix(tenant).to_owned());
                }
            }
        }
        forbidden
    }
}

impl PlantedService {
    async fn plant(world: &World, tenant: &'static str, service: String, at: usize) -> Self {
        let name: TenantName = tenant.parse().expect("a name");
        let settings = tenants::TenantSettings { max_concurrent_runs: 2 };
        tenants::ensure(&world.store, &name, &settings).await.expect("a tenant");
        let mark = mark(tenant, &service);
        let commit = format!("{at}c0ffee{}", "0".repeat(33));
        let release = world
            .apply_version(tenant, &service, &version(tenant, &service), |new| {
                new.by = By::new(format!("{mark}-actor"), format!("{mark}-origin"));
                new.reason = Some(format!("{mark}-reason"));
                new.git_commit = Some(commit.clone());
                new.hashes.config = Sha256::of(format!("{mark} config"));
            })
            .await;
        // Scores that no other service has: they begin with these digits, which no time or hash has by chance.
        let score = format!("7{at}35153535");
        let first: f64 = format!("{score}00").parse().expect("a number");
        world.publish(tenant, &service, chrono::Utc::now(), ROWS, first).await;
        // Nobody whom the service knows: its predictions stay as they are.
        let erased = NewErasure {
            key: "999".to_owned(),
            key_type: KeyType::Any,
            services: Some(vec![service.parse().expect("a name")]),
            reason: Some(format!("{mark}-erased")),
        };
        let by = By::new(format!("{mark}-eraser"), "test");
        let erased = erasures::request(&world.store, &name, &erased, &by).await.expect("erased");
        let listed = cameo_store::runs::RunFilter {
            tenant: Some(name),
            service: Some(service.parse().expect("a name")),
            ..cameo_store::runs::RunFilter::default()
        };
        let runs = cameo_store::runs::list(&world.store, &listed).await.expect("runs");
        let config = Sha256::of(format!("{mark} config")).to_string();
        Self {
            tenant,
            service,
            run: runs[0].run.0,
            erasure: erased.into_erasure().erasure.0,
            canaries: vec![mark, commit, release, score, config],
        }
    }
}

/// The service that this tenant alone has.
pub(crate) fn only(tenant: &str) -> String {
    format!("{tenant}_only")
}

/// The webhook that this tenant alone has.
pub(crate) fn webhook(tenant: &str) -> String {
    format!("{tenant}_told")
}

/// The segment that this tenant alone has.
pub(crate) fn segment(tenant: &str) -> String {
    format!("{tenant}_loyal")
}

fn mark(tenant: &str, service: &str) -> String {
    format!("{tenant}-{service}-mark")
}

fn version(tenant: &str, service: &str) -> String {
    format!("1.0.0-{}", mark(tenant, service).replace('_', "-"))
}

/// A sound bundle of a service, as it is sent.
fn packed(path: &str) -> (TempDir, Vec<u8>) {
    let place = tempfile::tempdir().expect("a temporary folder");
    let folder = place.path().join(path);
    let (tenant, service) = path.split_once('/').expect("a path");
    let config = format!(
        "MODEL_CONFIG: {{MODEL_PATH: model.onnx, FRAMEWORK: BASE}}\n\
         FEATURE_CONFIG: {{FEATURE_SQL_PATH: features.sql}}\n\
         PREDICTION_CONFIG:\n  SERVICE_NAME: {service}\n  VERSION: 0.1.0\n  \
         PREDICTION_SCHEDULE: \"0 4 * * *\"\n  PREDICTION_NAMES: [id, level]\n  \
         PREDICTION_NAMES_DATATYPE: [INT, FLOAT64]\n"
    );
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/level.onnx");
    let model = fs::read(model).expect("a model");
    fs::create_dir_all(&folder).expect("a folder");
    for (file, content) in [
        (folder.join("config.yaml"), config.as_bytes()),
        (folder.join("features.sql"), b"SELECT id, level FROM demo.levels\n"),
        (folder.join("model.onnx"), &model),
        (place.path().join(tenant).join("tenant.yaml"), b"ACCESS: {ADMIN: [mallory]}\n"),
    ] {
        fs::write(file, content).expect("a file");
    }
    let bundle = load(&folder).expect("a sound bundle");
    let package = Package::pack(&bundle, None, None).expect("a package");
    (place, package)
}
