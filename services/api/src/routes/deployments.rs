//! Bundles from a pipeline of git: what one would change, registering it, taking its service out of use.
//!
//! A bundle comes as the package that `cameo package` makes. A key with the scope `deploy` may do this and
//! nothing else. The work is that of `cameo plan` and `cameo apply`, in [`cameo_registry`]; it happens on
//! threads of its own, because a model that is inspected must not delay a look-up.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    Extension, Json,
    extract::{Request, State},
};
use cameo_access::Caller;
use cameo_bundle::{Diagnostic, discover};
use cameo_checkpoint::{Check, passes};
use cameo_domain::{Scope as KeyScope, Scopes, ServicePath, Services, TenantName};
use cameo_package::{Package, limits::PACKAGE_BYTES_MAX};
use cameo_registry::{
    AppliedBundle, ApplyError, TreeOutcome, Wanted,
    plan::{ChangePlan, PlanError, SAMPLE_CUSTOMERS_MAX, Scope, Server, TenantChange, plan},
};
use cameo_store::{Store, services, tenants};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use utoipa::{IntoParams, ToSchema};

use crate::{
    acting::Acting,
    app::{App, Deployments},
    authorise::{lacks, visible},
    body,
    extract::{PathParams, QueryParams},
    openapi::example,
    problem::{Code, Problem, ProblemBody},
};

/// Routes on which answers take as long as it takes to look at a bundle.
pub(crate) const TIMED_PATHS: [&str; 2] =
    ["/v1/tenants/{tenant}/plans", "/v1/tenants/{tenant}/releases"];
/// Largest package.
pub(crate) const BODY_BYTES_MAX: u64 = PACKAGE_BYTES_MAX;
/// Why a service is archived, for the ledger.
const ARCHIVED: &str = "its bundle was removed";

/// How a bundle is planned.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PlanQuery {
    /// Customers on which a changed service is run, without writing anything, up to 100,000; none unless
    /// given.
    #[param(minimum = 0, maximum = 100_000, example = 10_000)]
    sample: Option<u32>,
}

/// How a bundle is applied.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ApplyQuery {
    /// Whether the service may break its consumers; the ledger keeps that it was accepted.
    #[param(example = false)]
    accept_breaking: Option<bool>,
}

/// What became of a bundle.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Applied {
    /// The service's new state, as `cameo apply -o json` prints it.
    #[schema(value_type = Object, example = json!({"path": "marketing/gender", "applied": "changed", "stage": "production"}))]
    service: AppliedBundle,
    /// The tenant's settings, where they changed.
    #[schema(value_type = Vec<Object>)]
    tenants: Vec<TenantChange>,
}

/// What a team's services are, to be compared with a tree of bundles.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StandingList {
    /// By name.
    services: Vec<Standing>,
}

/// The release of a service: what is in production, else what came last.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Standing {
    /// The team's service.
    #[schema(example = "gender")]
    service: String,
    /// The release.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    release: String,
    /// Where it stands.
    #[schema(example = "production")]
    stage: String,
    /// The generation that readers are served; `null` where nothing is published.
    #[schema(required = true, example = 42)]
    generation: Option<i64>,
}

/// List what stands where
///
/// The release and stage of every service of the team: with it a pipeline sends only bundles that differ,
/// and finds services whose bundle was removed.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/releases",
    operation_id = "listStanding", tag = "releases",
    params(("tenant" = String, Path, description = "The team.", example = "marketing")),
    responses((status = 200, description = "The services", body = StandingList)))]
pub(crate) async fn list_standing(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    path: PathParams,
) -> Result<Json<StandingList>, Problem> {
    let tenant = path.tenant()?;
    let own = visible(&caller, &tenant, Check::StandingListed);
    let services = services::list(&app.store, Some(&tenant)).await?.into_iter();
    let services = services.filter(|service| own.contain(service.path.service.as_str()));
    let standing = services.map(|service| Standing {
        service: service.path.service.to_string(),
        release: service.release.to_string(),
        stage: service.stage.to_string(),
        generation: service.current_generation.map(|generation| generation.0),
    });
    Ok(Json(StandingList { services: standing.collect() }))
}

/// A service that was taken out of use.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ArchiveResult {
    /// The team.
    #[schema(example = "marketing")]
    tenant: String,
    /// The team's service.
    #[schema(example = "gender")]
    service: String,
    /// Its releases that were in use; none where it was archived before.
    releases: Vec<String>,
}

/// Plan a bundle
///
/// Says what applying the bundle would change, as `cameo plan -o json` does, without changing anything. The
/// body is a package as `cameo package` makes it.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/plans",
    operation_id = "planBundle", tag = "releases",
    params(("tenant" = String, Path, description = "The team.", example = "marketing"), PlanQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "What would change", body = Object),
        (status = 422, description = "The bundle has problems; `findings` lists them", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::UnsoundBundle)))))]
pub(crate) async fn plan_bundle(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    path: PathParams,
    QueryParams(query): QueryParams<PlanQuery>,
    request: Request,
) -> Result<Json<ChangePlan>, Problem> {
    let sample = query.sample.unwrap_or_default();
    if sample > SAMPLE_CUSTOMERS_MAX {
        let detail = format!("expected a `sample` of 0 to {SAMPLE_CUSTOMERS_MAX}, found {sample}");
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let sent = Sent::receive(&app, &caller, path.tenant()?, request).await?;
    let store = app.store.clone();
    let planned = aside(async move {
        let (deployments, folder) = (&sent.deployments, &sent.folder);
        let server = deployments.server(&store);
        let found = discover(folder);
        let planned = plan(server, found, &Scope::Bundles, sample).await;
        planned.map_err(|error| match error {
            PlanError::Unsound(problems) => sent.unsound(problems),
            PlanError::Store(error) => error.into(),
            error @ PlanError::Run { .. } => Problem::new(Code::UnsoundBundle, told(&error)),
        })
    });
    Ok(Json(planned.await?))
}

/// Apply a bundle
///
/// Registers the bundle as a release, which enters the stage that its config names. Applying the same bundle
/// again changes nothing. The body is a package as `cameo package` makes it. Where `ACCESS` in its
/// `tenant.yaml` changes, the caller needs the scope `manage` as well, and what it gives to groups.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/releases",
    operation_id = "applyBundle", tag = "releases",
    params(("tenant" = String, Path, description = "The team.", example = "marketing"), ApplyQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "What became of it", body = Applied),
        (status = 409, description = "Consumers would break, and nobody accepted that", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::BreaksConsumers))),
        (status = 422, description = "The bundle has problems; `findings` lists them", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::UnsoundBundle)))))]
pub(crate) async fn apply_bundle(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    acting: Acting,
    path: PathParams,
    QueryParams(query): QueryParams<ApplyQuery>,
    request: Request,
) -> Result<Json<Applied>, Problem> {
    let sent = Sent::receive(&app, &caller, path.tenant()?, request).await?;
    let Acting { store, by } = acting;
    let applied = aside(async move {
        sent.may_grant(&store, &caller).await?;
        let accepted: Vec<ServicePath> = query
            .accept_breaking
            .unwrap_or_default()
            .then(|| sent.service.clone())
            .into_iter()
            .collect();
        let wanted = Wanted {
            root: &sent.folder,
            scope: Some(Scope::Bundles),
            accepted: &accepted,
            prune: false,
            commit: sent.commit.as_deref(),
            by,
        };
        let outcome = cameo_registry::apply(sent.deployments.server(&store), &wanted).await;
        match outcome.map_err(refused)? {
            TreeOutcome::Unsound { problems } => Err(sent.unsound(problems)),
            TreeOutcome::Breaks { breaking } => {
                let detail = "consumers of the service would break; where they are ready, send \
                              accept_breaking=true";
                Err(Problem::new(Code::BreaksConsumers, detail).with_findings(&breaking))
            }
            TreeOutcome::Applied(tree) => Ok(tree),
        }
    });
    let tree = applied.await?;
    let service = tree.services.into_iter().next().ok_or_else(Problem::internal)?;
    Ok(Json(Applied { service, tenants: tree.tenants }))
}

/// Take a service out of use
///
/// Archives every release of the service, so that nothing of it is due any more. What is published stays
/// served for 30 days.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/services/{service}",
    operation_id = "archiveService", tag = "releases",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
    ),
    responses((status = 200, description = "What was archived", body = ArchiveResult)))]
pub(crate) async fn archive_service(
    State(app): State<App>,
    acting: Acting,
    path: PathParams,
) -> Result<Json<ArchiveResult>, Problem> {
    let service = super::services::existing(&app, &path).await?;
    let path = ServicePath::new(path.tenant()?, service);
    let archived = cameo_registry::archive(&acting.store, &path, ARCHIVED, &acting.by).await?;
    Ok(Json(ArchiveResult {
        tenant: path.tenant.to_string(),
        service: path.service.to_string(),
        releases: archived.releases.iter().map(ToString::to_string).collect(),
    }))
}

/// A bundle that was sent, unpacked for as long as it is looked at.
struct Sent {
    deployments: Deployments,
    service: ServicePath,
    commit: Option<String>,
    /// The bundle's folder.
    folder: PathBuf,
    place: TempDir,
    _turn: tokio::sync::OwnedSemaphorePermit,
}

impl Sent {
    async fn receive(
        app: &App,
        caller: &Caller,
        tenant: TenantName,
        request: Request,
    ) -> Result<Self, Problem> {
        let deployments = app.deployments.clone();
        // Each may hold a model in memory.
        let turn = deployments.turns.clone().try_acquire_owned().map_err(|_| {
            Problem::new(Code::Overloaded, "other bundles are being looked at; try again soon")
        })?;
        let bytes = body::receive_large(request, app).await?;
        let trusted = deployments.trusted_keys.clone();
        let unpacked = tokio::task::spawn_blocking(move || {
            let place = tempfile::tempdir().map_err(|error| {
                tracing::error!(%error, "cannot make a temporary folder");
                Problem::internal()
            })?;
            let unpacked = Package::unpack(&bytes, place.path(), trusted.as_deref());
            let unpacked =
                unpacked.map_err(|error| Problem::new(Code::InvalidPackage, told(&error)))?;
            Ok::<_, Problem>((place, unpacked))
        });
        let (place, unpacked) = unpacked.await.map_err(|_| Problem::internal())??;
        if !passes(Check::TenantOfBundle, unpacked.service.tenant == tenant) {
            let found = &unpacked.service;
            let detail = format!("expected a bundle of tenant {tenant}, found one of {found}");
            return Err(Problem::new(Code::InvalidPackage, detail));
        }
        let own = visible(caller, &tenant, Check::ServiceOfBundle);
        if !own.contain(unpacked.service.service.as_str()) {
            return Err(Problem::not_found());
        }
        let (service, commit) = (unpacked.service, unpacked.commit);
        let folder = unpacked.folder;
        if own != Services::All && defines_segments(&folder) {
            let detail = "the bundle has SEGMENT_CONFIG, and segments are about all services of the tenant \
                          together; this API key is for some of them alone";
            return Err(Problem::new(Code::MissingScope, detail));
        }
        Ok(Self { deployments, service, commit, folder, place, _turn: turn })
    }

    /// Refuses to give groups more than the caller has. Who may register bundles could else let anybody in.
    async fn may_grant(&self, store: &Store, caller: &Caller) -> Result<(), Problem> {
        let known = tenants::list(store).await?;
        for tenant in discover(&self.folder).tenants {
            let record = known.iter().find(|record| record.tenant == tenant.name);
            let before = record.map(|record| record.access.clone()).unwrap_or_default();
            let wanted = &tenant.config.access;
            if *wanted == before {
                continue;
            }
            let own = caller.grant(tenant.name.as_str());
            let own = own.map_or(Scopes::NONE, |grant| grant.scopes);
            let mut needed = vec![KeyScope::Manage];
            needed.extend(wanted.granted_beyond(&before));
            for scope in needed {
                if !passes(Check::GrantOfBundle, own.allow(scope)) {
                    return Err(lacks(caller, scope, own));
                }
            }
        }
        Ok(())
    }

    /// The bundle's problems, named as whoever sent it knows the files.
    fn unsound(&self, mut problems: Vec<Diagnostic>) -> Problem {
        for problem in &mut problems {
            problem.relative_to(self.place.path());
        }
        let detail = match problems.iter().find(|problem| problem.is_error()) {
            Some(first) => format!("{first}; `findings` has all problems"),
            None => "the bundle has problems".to_owned(),
        };
        Problem::new(Code::UnsoundBundle, detail).with_findings(&problems)
    }
}

/// Whether a bundle defines segments. One that cannot be read defines nothing, and is refused later.
fn defines_segments(folder: &Path) -> bool {
    discover(folder).bundles.iter().any(|bundle| !bundle.config.segments.is_empty())
}

impl Deployments {
    fn server<'a>(&'a self, store: &'a cameo_store::Store) -> Server<'a> {
        Server {
            store,
            artifacts: &self.artifacts,
            warehouse: &self.warehouse,
            seals: self.seals,
            isolation: &self.isolation,
        }
    }
}

/// Does the work on a thread for work that takes long. It is done also where the caller has gone.
async fn aside<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(work)).await;
    done.unwrap_or_else(|error| {
        tracing::error!(%error, "looking at a bundle ended early");
        Err(Problem::internal())
    })
}

fn refused(error: ApplyError) -> Problem {
    match error {
        ApplyError::Store(error) => error.into(),
        ApplyError::Artifact { .. } => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a model was not stored");
            Problem::new(Code::Unavailable, "the model cannot be stored now; try again")
        }
        error => Problem::new(Code::UnsoundBundle, told(&error)),
    }
}

/// An error and its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
