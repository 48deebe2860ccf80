//! All routes, with the document that describes them.

use axum::{
    Router,
    body::Bytes,
    extract::DefaultBodyLimit,
    http::{HeaderValue, header},
    routing::{MethodRouter, get, post},
};
use cameo_domain::Scope;
use utoipa::OpenApi;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};

use crate::{
    actions::Actions,
    app::App,
    authorise::{Breadth, Gate, require},
    checked::checked,
    envelope::envelope,
    openapi::{self, Document},
    problem::Problem,
    routes::{
        audit, card, deployments, erasures, explanations, exports, generations, health, keys,
        lineage, me, predictions, profiles, receipts, releases, runs, segments, services,
        suppressions, tenants, verdicts, webhooks,
    },
};

/// The `OpenAPI` document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let (_, _, document) = routes();
    document
}

/// The whole API.
pub(crate) fn router(app: &App) -> Router {
    let (tenants, open, document) = routes();
    if app.config.operations_only {
        return open
            .fallback(|| async { Problem::not_found() })
            .layer(envelope(app, None))
            .with_state(app.clone());
    }
    let json = Bytes::from(document.to_json().unwrap_or_default());
    let tenants = match app.config.constant_answer.clone() {
        Some(answer) => {
            tenants.route(CONSTANT_PATH, guarded(Scope::Read, Breadth::Whole, constant(answer)))
        }
        None => tenants,
    };
    let open = open
        .route(
            "/openapi.json",
            get(move || async move { openapi::document_response(json.clone()) }),
        )
        .route("/docs", get(openapi::docs))
        .fallback(|| async { Problem::not_found() });
    let gate = Gate::new(Actions::of(&document));
    let tenants = tenants.layer(envelope(app, Some(gate)));
    open.layer(envelope(app, None)).merge(tenants).with_state(app.clone())
}

/// See [`crate::Config::constant_answer`].
const CONSTANT_PATH: &str = "/v1/tenants/{tenant}/services/{service}/constant/{key}";

fn constant(answer: Bytes) -> MethodRouter<App> {
    let kind = HeaderValue::from_static("application/json");
    get(move || async move { ([(header::CONTENT_TYPE, kind.clone())], answer.clone()) })
}

/// The routes that need a key, those that need none, and the document of all.
fn routes() -> (Router<App>, Router<App>, utoipa::openapi::OpenApi) {
    let (read, run, promote) = (Scope::Read, Scope::Run, Scope::Promote);
    let (deploy, manage, erase) = (Scope::Deploy, Scope::Manage, Scope::Erase);
    let segment = Scope::Segment;
    let batch = OpenApiRouter::new()
        .routes(scoped(read, routes!(predictions::batch_get_predictions)))
        .layer(DefaultBodyLimit::max(predictions::BATCH_BODY_BYTES_MAX));
    let package_bytes = usize::try_from(deployments::BODY_BYTES_MAX).unwrap_or(usize::MAX);
    let bundles = OpenApiRouter::new()
        .routes(by_service(deploy, routes!(deployments::plan_bundle)))
        .routes(by_service(deploy, routes!(deployments::apply_bundle, deployments::list_standing)))
        .layer(DefaultBodyLimit::max(package_bytes));
    let (tenants, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(scoped(read, routes!(predictions::get_prediction)))
        .merge(batch)
        .merge(bundles)
        .routes(by_service(read, routes!(profiles::get_profile)))
        .routes(by_service(read, routes!(profiles::batch_get_profiles)))
        .routes(scoped(deploy, routes!(deployments::archive_service)))
        .routes(by_service(read, routes!(tenants::list_tenants)))
        .routes(by_service(read, routes!(services::list_services)))
        .routes(scoped(read, routes!(services::get_service)))
        .routes(by_service(read, routes!(runs::list_tenant_runs)))
        .routes(scoped(read, routes!(runs::list_runs)))
        .routes(scoped(run, routes!(runs::create_run)))
        .routes(scoped(read, routes!(runs::get_run)))
        .routes(scoped(read, routes!(generations::list_generations)))
        .routes(scoped(read, routes!(explanations::get_explanation)))
        .routes(scoped(read, routes!(explanations::get_importance)))
        .routes(scoped(read, routes!(releases::list_releases)))
        .routes(scoped(read, routes!(releases::get_history)))
        .routes(scoped(read, routes!(lineage::get_lineage)))
        .routes(scoped(read, routes!(card::get_card)))
        .routes(by_service(read, routes!(audit::list_audit)))
        .routes(scoped(read, routes!(verdicts::list_verdicts)))
        .routes(scoped(read, routes!(exports::export_members)))
        .routes(scoped(read, routes!(exports::export_changes)))
        .routes(scoped(read, routes!(exports::list_consumers)))
        .routes(scoped(read, routes!(exports::acknowledge_changes)))
        .routes(scoped(segment, routes!(webhooks::list_webhooks)))
        .routes(scoped(
            segment,
            routes!(webhooks::get_webhook, webhooks::put_webhook, webhooks::delete_webhook),
        ))
        .routes(scoped(segment, routes!(webhooks::list_deliveries)))
        .routes(scoped(erase, routes!(erasures::erase_customer, erasures::list_erasures)))
        .routes(scoped(erase, routes!(erasures::get_erasure)))
        .routes(scoped(erase, routes!(receipts::get_receipt, receipts::name_receipt)))
        .routes(scoped(erase, routes!(suppressions::list_suppressions)))
        .routes(scoped(erase, routes!(suppressions::lift_suppressions)))
        .routes(by_service(manage, routes!(keys::list_keys, keys::create_key)))
        .routes(scoped(manage, routes!(tenants::get_access)))
        .routes(scoped(read, routes!(segments::list_segments)))
        .routes(scoped(read, routes!(segments::get_segment)))
        .routes(scoped(read, routes!(segments::count_segment)))
        .routes(scoped(segment, routes!(segments::define_segment, segments::remove_segment)))
        .routes(unscoped(routes!(me::get_me)))
        .split_for_parts();
    // The document's path of an action is not one that the router understands.
    let (whole, several) = (Breadth::Whole, Breadth::ByService);
    let key = post(keys::rotate_key).delete(keys::revoke_key);
    let tenants = tenants
        .route(generations::ACTION_PATH, guarded(promote, whole, post(generations::act_on_service)))
        .route(releases::ACTION_PATH, guarded(promote, whole, post(releases::act_on_release)))
        .route(keys::ACTION_PATH, guarded(manage, several, key))
        .route(webhooks::ACTION_PATH, guarded(segment, whole, post(webhooks::act_on_webhook)));
    for (schemas, paths, _) in [
        scoped(promote, routes!(generations::act_on_service)),
        scoped(promote, routes!(releases::promote_release)),
        scoped(promote, routes!(releases::approve_release)),
        scoped(segment, routes!(webhooks::rotate_webhook)),
        scoped(segment, routes!(webhooks::ping_webhook)),
        by_service(manage, routes!(keys::rotate_key)),
        by_service(manage, routes!(keys::revoke_key)),
    ] {
        document.paths.merge(paths);
        document.components.get_or_insert_default().schemas.extend(schemas);
    }

    let (open, described) = OpenApiRouter::new()
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .split_for_parts();
    document.merge(described);
    openapi::complete(&mut document);
    (tenants, open, document)
}

/// Routes with the scope that they need: for the caller, and in the document. Each is about the service
/// that its path names, or closed to callers who may see some services alone.
fn scoped(scope: Scope, routes: UtoipaMethodRouter<App>) -> UtoipaMethodRouter<App> {
    declared(scope, Breadth::Whole, routes)
}

/// The same for routes about several services, which show each caller its own.
fn by_service(scope: Scope, routes: UtoipaMethodRouter<App>) -> UtoipaMethodRouter<App> {
    declared(scope, Breadth::ByService, routes)
}

/// The same for routes that answer every caller that is let in.
fn unscoped((schemas, mut paths, methods): UtoipaMethodRouter<App>) -> UtoipaMethodRouter<App> {
    openapi::declare_scope(&mut paths, None);
    (schemas, paths, methods)
}

fn declared(
    scope: Scope,
    breadth: Breadth,
    (schemas, mut paths, methods): UtoipaMethodRouter<App>,
) -> UtoipaMethodRouter<App> {
    openapi::declare_scope(&mut paths, Some(scope));
    (schemas, paths, guarded(scope, breadth, methods))
}

fn guarded(scope: Scope, breadth: Breadth, methods: MethodRouter<App>) -> MethodRouter<App> {
    methods.route_layer(checked(move |request| require(scope, breadth, request)))
}
