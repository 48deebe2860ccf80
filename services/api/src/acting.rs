//! On whose behalf a request changes something, for the audit trail.

use std::{net::IpAddr, sync::Arc};

use axum::{Extension, extract::FromRequestParts, http::request::Parts};
use cameo_access::Caller;
use cameo_store::{By, Store};

use crate::{
    app::App,
    extract::{PathParams, TENANT},
    problem::{Code, Problem},
};

/// The address that a request's connection comes from: of the proxy, where there is one, because
/// what a header says of an address anybody can write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The database on behalf of the caller and, where the route names a tenant, for that one alone. A
/// handler that changes something takes this one.
pub(crate) struct Acting {
    pub(crate) store: Store,
    /// The caller, as rows name it.
    pub(crate) by: By,
}

impl FromRequestParts<App> for Acting {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        // Behind `authorise` there always is a caller; a route outside has nobody to act for.
        let Extension(caller) = Extension::<Arc<Caller>>::from_request_parts(parts, app)
            .await
            .map_err(|_| Problem::new(Code::Unauthenticated, "the route takes no API key"))?;
        let origin = match parts.extensions.get::<Peer>() {
            Some(Peer(address)) => format!("api {address}"),
            None => "api".to_owned(),
        };
        let by = By::new(caller.actor(), origin);
        let store = app.store.acting(by.clone());
        let params = PathParams::from_request_parts(parts, app).await?;
        let store = match params.find(TENANT) {
            Some(_) => store.confined(params.tenant()?),
            None => store,
        };
        Ok(Self { store, by })
    }
}
