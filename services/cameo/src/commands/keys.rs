//! `cameo keys`: API keys.

use std::process::ExitCode;

use anyhow::{Context, bail};
use cameo_access::ApiKey;
use cameo_domain::{Scopes, TenantName};
use cameo_store::{Store, StoreError, keys, limits, tenants};
use chrono::{Duration, Utc};
use serde::Serialize;

use crate::{
    cli::{Global, KeyScope, Keys},
    deployment::{Deployment, actor},
    output::{Output, table},
};

#[derive(Serialize)]
struct Created {
    key: String,
    prefix: String,
    tenant: Option<TenantName>,
    scopes: Scopes,
}

#[derive(Serialize)]
struct Revoked {
    revoked: String,
}

pub(crate) async fn run(global: &Global, keys: Keys, output: Output) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let store = &deployment.store;
    match keys {
        Keys::Create { tenant, admin: _, name, scope, expires_days, rate } => {
            if let Some(tenant) = &tenant {
                must_exist(store, tenant).await?;
            }
            let lifetime = expires_days.map(|days| Duration::days(days.into()));
            let scopes = KeyScope::together(&scope)?;
            let key = create(store, tenant.as_ref(), &name, scopes.clone(), lifetime).await?;
            if rate.is_some() {
                limits::limit_key(store, key.prefix(), rate).await?;
            }
            let (prefix, key) = (key.prefix().to_owned(), key.reveal().to_owned());
            let created = Created { key, prefix, tenant, scopes };
            output.show(&created, |created| {
                let whom =
                    created.tenant.as_ref().map_or("every tenant".to_owned(), ToString::to_string);
                format!(
                    "{}\n{}",
                    output.bold(&created.key),
                    output.dim(&format!(
                        "may {} for {whom}; keep it now, it cannot be shown again",
                        may(&created.scopes)
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
                    &["prefix", "tenant", "name", "scopes", "created", "last used", "state"],
                    listed.iter().map(|key| {
                        vec![
                            key.prefix.clone(),
                            key.tenant.as_ref().map_or("(all)".to_owned(), ToString::to_string),
                            key.name.clone(),
                            key.scopes.to_string(),
                            day(Some(key.created_at)),
                            day(key.last_used_at),
                            state(key).to_owned(),
                        ]
                    }),
                )
            })?;
        }
        Keys::Revoke { prefix } => {
            match keys::revoke(store, None, &prefix).await {
                Err(StoreError::NotFound(_)) => {
                    bail!("no key has the prefix {prefix}; `cameo keys list` shows them all")
                }
                revoked => revoked?,
            };
            output.show(&Revoked { revoked: prefix }, |key| {
                format!("{} no longer works", key.revoked)
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
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

/// Makes a key and keeps its hash.
pub(crate) async fn create(
    store: &Store,
    tenant: Option<&TenantName>,
    name: &str,
    scopes: Scopes,
    lifetime: Option<Duration>,
) -> anyhow::Result<ApiKey> {
    let key = ApiKey::generate().context("the system gave no random bytes")?;
    keys::insert(
        store,
        &keys::NewKey {
            prefix: key.prefix().to_owned(),
            hash: key.hash(),
            tenant: tenant.cloned(),
            name: name.to_owned(),
            scopes,
            created_by: actor(),
            expires_at: lifetime.map(|lifetime| Utc::now() + lifetime),
        },
    )
    .await?;
    Ok(key)
}

fn may(scopes: &Scopes) -> String {
    if *scopes == Scopes::all() { "do everything".to_owned() } else { scopes.to_string() }
}

fn day(instant: Option<chrono::DateTime<Utc>>) -> String {
    instant.map_or_else(|| "-".to_owned(), |instant| instant.format("%Y-%m-%d %H:%M").to_string())
}

fn state(key: &keys::KeyRecord) -> &'static str {
    if key.revoked_at.is_some() {
        "revoked"
    } else if key.expires_at.is_some_and(|end| end <= Utc::now()) {
        "expired"
    } else {
        "active"
    }
}
