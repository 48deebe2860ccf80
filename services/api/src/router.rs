//! All routes, with the document that describes them.

use axum::{
    Router,
    body::Bytes,
    extract::DefaultBodyLimit,
    middleware::{from_fn, from_fn_with_state},
    routing::{MethodRouter, get, post},
};
use cameo_domain::Scope;
use utoipa::OpenApi;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};

use crate::{
    app::App,
    authorise::{authorise, require},
    envelope::envelope,
    openapi::{self, Document},
    problem::Problem,
    routes::{
        audit, card, deployments, explanations, exports, generations, health, lineage, predictions,
        releases, runs, services, tenants, verdicts, webhooks,
    },
};

/// Largest body of a route that says nothing else.
const BODY_BYTES_MAX: usize = 64 << 10;

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
            .layer(from_fn_with_state(app.clone(), envelope))
            .with_state(app.clone());
    }
    let json = Bytes::from(document.to_json().unwrap_or_default());
    let tenants = tenants
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route_layer(from_fn_with_state(app.clone(), authorise));
    tenants
        .merge(open)
        .route(
            "/openapi.json",
            get(move || async move { openapi::document_response(json.clone()) }),
        )
        .route("/docs", get(openapi::docs))
        .fallback(|| async { Problem::not_found() })
        .layer(from_fn_with_state(app.clone(), envelope))
        .with_state(app.clone())
}

/// The routes that need a key, those that need none, and the document of all.
fn routes() -> (Router<App>, Router<App>, utoipa::openapi::OpenApi) {
    let (read, run, promote) = (Scope::Read, Scope::Run, Scope::Promote);
    let (deploy, segment) = (Scope::Deploy, Scope::Segment);
    let batch = OpenApiRouter::new()
        .routes(scoped(read, routes!(predictions::batch_get_predictions)))
        .layer(DefaultBodyLimit::max(predictions::BATCH_BODY_BYTES_MAX));
    let package_bytes = usize::try_from(deployments::BODY_BYTES_MAX).unwrap_or(usize::MAX);
    let bundles = OpenApiRouter::new()
        .routes(scoped(deploy, routes!(deployments::plan_bundle)))
        .routes(scoped(deploy, routes!(deployments::apply_bundle, deployments::list_standing)))
        .layer(DefaultBodyLimit::max(package_bytes));
    let (tenants, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(scoped(read, routes!(predictions::get_prediction)))
        .merge(batch)
        .merge(bundles)
        .routes(scoped(deploy, routes!(deployments::archive_service)))
        .routes(scoped(read, routes!(tenants::list_tenants)))
        .routes(scoped(read, routes!(services::list_services)))
        .routes(scoped(read, routes!(services::get_service)))
        .routes(scoped(read, routes!(runs::list_tenant_runs)))
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
        .routes(scoped(read, routes!(audit::list_audit)))
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
        .split_for_parts();
    // The document's path of an action is not one that the router understands.
    let tenants = tenants
        .route(generations::ACTION_PATH, guarded(promote, post(generations::act_on_service)))
        .route(releases::ACTION_PATH, guarded(promote, post(releases::act_on_release)))
        .route(webhooks::ACTION_PATH, guarded(segment, post(webhooks::act_on_webhook)));
    for (schemas, paths, _) in [
        scoped(promote, routes!(generations::act_on_service)),
        scoped(promote, routes!(releases::promote_release)),
        scoped(promote, routes!(releases::approve_release)),
        scoped(segment, routes!(webhooks::rotate_webhook)),
        scoped(segment, routes!(webhooks::ping_webhook)),
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

/// Routes with the scope that they need: for the caller's key, and in the document.
fn scoped(
    scope: Scope,
    (schemas, mut paths, methods): UtoipaMethodRouter<App>,
) -> UtoipaMethodRouter<App> {
    openapi::declare_scope(&mut paths, scope);
    (schemas, paths, guarded(scope, methods))
}

fn guarded(scope: Scope, methods: MethodRouter<App>) -> MethodRouter<App> {
    methods.route_layer(from_fn(move |caller, request, next| require(scope, caller, request, next)))
}
