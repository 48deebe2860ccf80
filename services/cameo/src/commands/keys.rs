//! `cameo keys`: API keys.

use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use cameo_access::ApiKey;
use cameo_domain::{Scopes, ServiceName, Services, TenantName};
use cameo_store::{
    Store, StoreError,
    keys::{self, KeyRecord, Rotation},
    limits, services, tenants,
};
use chrono::{Duration, Utc};
use serde::Serialize;

use crate::{
    cli::{Global, KeyScope, Keys},
    commands::master_key,
    deployment::{Deployment, actor},
    output::{Output, table},
};

#[derive(Serialize)]
struct Created {
    key: String,
    prefix: String,
    tenant: Option<TenantName>,
    scopes: Scopes,
    services: Services,
}

#[derive(Serialize)]
struct Rotated {
    key: String,
    prefix: String,
    replaced: KeyRecord,
}

#[derive(Serialize)]
struct Revoked {
    revoked: String,
}

pub(crate) async fn run(global: &Global, keys: Keys, output: Output) -> anyhow::Result<ExitCode> {
    if let Keys::NewMaster { file } = &keys {
        return master_key::make(file, output);
    }
    let deployment = Deployment::find(global).await?;
    let store = &deployment.store;
    match keys {
        // It needs no server, and is made above.
        Keys::NewMaster { .. } => {}
        Keys::RotateTenantKey { tenant } => {
            return master_key::rotate(&deployment, tenant, output).await;
        }
        Keys::Rewrap { from } => return master_key::rewrap(&deployment, &from, output).await,
        Keys::Create { tenant, admin: _, name, scope, service, expires_days, rate } => {
            if let Some(tenant) = &tenant {
                must_exist(store, tenant).await?;
                must_have(store, tenant, &service).await?;
            }
            let services = if service.is_empty() { Services::All } else { Services::Only(service) };
            let lifetime = expires_days.map(|days| Duration::days(days.into()));
            let scopes = KeyScope::together(&scope)?;
            let wanted = Wanted { tenant: tenant.as_ref(), name: &name, scopes, lifetime };
            let key = wanted.create(store, services.clone()).await?;
            if rate.is_some() {
                limits::limit_key(store, key.prefix(), rate).await?;
            }
            let (prefix, key) = (key.prefix().to_owned(), key.reveal().to_owned());
            let created = Created { key, prefix, tenant, scopes, services };
            output.show(&created, |created| {
                let whom = whom(created.tenant.as_ref(), &created.services);
                format!(
                    "{}\n{}",
                    output.bold(&created.key),
                    output.dim(&format!(
                        "may {} for {whom}; keep it now, it cannot be shown again",
                        may(created.scopes)
                    )),
                )
            })?;
        }
        Keys::List => {
            let listed = keys::list(store, None).await?;
            output.show(&listed, |listed| {
                if listed.is_empty() {
                    return "no keys yet; `cameo keys create <tenant>` makes one".to_owned();
                }
                table(
                    &["prefix", "for", "name", "scopes", "created", "last used", "state"],
                    listed.iter().map(|key| {
                        vec![
                            key.prefix.clone(),
                            whom(key.tenant.as_ref(), &key.services),
                            key.name.clone(),
                            key.scopes.to_string(),
                            day(Some(key.created_at)),
                            day(key.last_used_at),
                            state(key),
                        ]
                    }),
                )
            })?;
        }
        Keys::Rotate { prefix, overlap } => {
            let made = ApiKey::generate().context("the system gave no random bytes")?;
            let rotation = Rotation {
                prefix,
                successor: made.prefix().to_owned(),
                hash: made.hash(),
                overlap,
                by: actor(),
                now: Utc::now(),
            };
            let rotated = keys::rotate(store, None, &rotation).await;
            let rotated = rotated.map_err(|error| told(error, &rotation.prefix))?;
            let key = made.reveal().to_owned();
            let rotated = Rotated { key, prefix: rotated.new.prefix, replaced: rotated.old };
            output.show(&rotated, |rotated| {
                let (old, end) = (&rotated.replaced.prefix, day(rotated.replaced.expires_at));
                format!(
                    "{}\n{}",
                    output.bold(&rotated.key),
                    output.dim(&format!(
                        "may do what {old} may, which works until {end} UTC; keep it now, it cannot be \
                         shown again"
                    )),
                )
            })?;
        }
        Keys::Revoke { prefix } => {
            let revoked = keys::revoke(store, None, &prefix).await;
            revoked.map_err(|error| told(error, &prefix))?;
            output.show(&Revoked { revoked: prefix }, |key| {
                format!("{} no longer works", key.revoked)
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn told(error: StoreError, prefix: &str) -> anyhow::Error {
    match error {
        StoreError::NotFound(_) => {
            anyhow!("no key has the prefix {prefix}; `cameo keys list` shows them all")
        }
        error => error.into(),
    }
}

async fn must_exist(store: &Store, tenant: &TenantName) -> anyhow::Result<()> {
    let known = tenants::list(store).await?;
    if known.iter().any(|record| record.tenant == *tenant) {
        return Ok(());
    }
    let names: Vec<_> = known.iter().map(|record| record.tenant.to_string()).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    bail!("no tenant {tenant} is here (there is {names}); `cameo apply` registers tenants")
}

async fn must_have(
    store: &Store,
    tenant: &TenantName,
    wanted: &[ServiceName],
) -> anyhow::Result<()> {
    for service in wanted {
        if services::find(store, tenant, service).await?.is_none() {
            bail!("tenant {tenant} has no service {service}; `cameo plan` shows those of a tree");
        }
    }
    Ok(())
}

/// What a key shall be.
struct Wanted<'a> {
    tenant: Option<&'a TenantName>,
    name: &'a str,
    scopes: Scopes,
    lifetime: Option<Duration>,
}

impl Wanted<'_> {
    async fn create(&self, store: &Store, services: Services) -> anyhow::Result<ApiKey> {
        let key = ApiKey::generate().context("the system gave no random bytes")?;
        let new = keys::NewKey {
            prefix: key.prefix().to_owned(),
            hash: key.hash(),
            tenant: self.tenant.cloned(),
            name: self.name.to_owned(),
            scopes: self.scopes,
            services,
            created_by: actor(),
            expires_at: self.lifetime.map(|lifetime| Utc::now() + lifetime),
        };
        keys::insert(store, &new).await?;
        Ok(key)
    }
}

/// Makes a key for all services and keeps its hash.
pub(crate) async fn create(
    store: &Store,
    tenant: Option<&TenantName>,
    name: &str,
    scopes: Scopes,
    lifetime: Option<Duration>,
) -> anyhow::Result<ApiKey> {
    Wanted { tenant, name, scopes, lifetime }.create(store, Services::All).await
}

fn may(scopes: Scopes) -> String {
    if scopes == Scopes::all() { "do everything".to_owned() } else { scopes.to_string() }
}

fn day(instant: Option<chrono::DateTime<Utc>>) -> String {
    instant.map_or_else(|| "-".to_owned(), |instant| instant.format("%Y-%m-%d %H:%M").to_string())
}

fn whom(tenant: Option<&TenantName>, services: &Services) -> String {
    let Some(tenant) = tenant else { return "every tenant".to_owned() };
    match services.names() {
        None => tenant.to_string(),
        Some(names) => {
            let paths: Vec<_> = names.iter().map(|name| format!("{tenant}/{name}")).collect();
            paths.join(", ")
        }
    }
}

fn state(key: &KeyRecord) -> String {
    if key.revoked_at.is_some() {
        return "revoked".to_owned();
    }
    match (&key.successor, key.is_active(Utc::now())) {
        (_, false) => "expired".to_owned(),
        (Some(successor), true) => format!("rotated to {successor}, until {}", day(key.expires_at)),
        (None, true) => "active".to_owned(),
    }
}
