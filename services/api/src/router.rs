//! All routes, with the document that describes them.

use axum::{
    Router, body::Bytes, extract::DefaultBodyLimit, middleware::from_fn_with_state, routing::get,
};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    authorise::authorise,
    envelope::envelope,
    openapi::{self, Document},
    problem::Problem,
    routes::{
        audit, card, explanations, generations, health, lineage, predictions, runs, services,
        tenants,
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
    let batch = OpenApiRouter::new()
        .routes(routes!(predictions::batch_get_predictions))
        .layer(DefaultBodyLimit::max(predictions::BATCH_BODY_BYTES_MAX));
    let (schemas, paths, actions) = routes!(generations::act_on_service);
    let (tenants, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(predictions::get_prediction))
        .merge(batch)
        .routes(routes!(tenants::list_tenants))
        .routes(routes!(services::list_services))
        .routes(routes!(services::get_service))
        .routes(routes!(runs::list_tenant_runs))
        .routes(routes!(runs::list_runs, runs::create_run))
        .routes(routes!(runs::get_run))
        .routes(routes!(generations::list_generations))
        .routes(routes!(explanations::get_explanation))
        .routes(routes!(explanations::get_importance))
        .routes(routes!(lineage::get_lineage))
        .routes(routes!(card::get_card))
        .routes(routes!(audit::list_audit))
        .split_for_parts();
    // The document's path of an action is not one that the router understands.
    let tenants = tenants.route(generations::ACTION_PATH, actions);
    document.paths.merge(paths);
    document.components.get_or_insert_default().schemas.extend(schemas);

    let (open, described) = OpenApiRouter::new()
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .split_for_parts();
    document.merge(described);
    openapi::complete(&mut document);
    (tenants, open, document)
}
