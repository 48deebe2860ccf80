//! API keys, and the keys with which tenants' predictions are sealed.

use std::cell::Cell;

use cameo_access::ApiKey;
use cameo_domain::{Scopes, Services};
use cameo_store::{
    Store,
    keys::{self, NewKey, Rotation},
    limits,
    tenant_keys::{self, WrappedKey},
};
use chrono::{Duration, Utc};

use super::super::sweep::Sweep;
use crate::ground::Ground;

pub(crate) async fn play(sweep: &mut Sweep, ground: &Ground) {
    api_keys(sweep, ground).await;
    sealing_keys(sweep, ground).await;
}

async fn api_keys(sweep: &mut Sweep, ground: &Ground) {
    let crm = ground.tenant("crm", 100).await;
    let new = || {
        let key = ApiKey::generate().expect("random numbers");
        NewKey {
            prefix: key.prefix().to_owned(),
            hash: key.hash(),
            tenant: Some(crm.clone()),
            name: "swept".to_owned(),
            scopes: Scopes::all(),
            services: Services::All,
            created_by: "ann".to_owned(),
            expires_at: None,
        }
    };
    let made = async || new();
    let insert = async |store: &Store, new: NewKey| keys::insert(store, &new).await;
    let kept = sweep.prepared("keys::insert", made, insert).await.expect("kept");
    let prefix = kept.prefix;
    let find = async |store: &Store| keys::find_by_prefix(store, &prefix).await;
    sweep.call("keys::find_by_prefix", find).await.expect("an answer").expect("the key");
    let find = async |store: &Store| keys::find(store, &crm, &prefix).await;
    sweep.call("keys::find", find).await.expect("the key");
    let list = async |store: &Store| keys::list(store, Some(&crm)).await;
    sweep.call("keys::list", list).await.expect("keys");
    let touch = async |store: &Store| keys::touch(store, &prefix).await;
    sweep.call("keys::touch", touch).await.expect("noted");
    let limit = async |store: &Store| limits::limit_key(store, &prefix, Some(9)).await;
    sweep.call("limits::limit_key", limit).await.expect("limited");
    let kept = async || {
        let new = new();
        keys::insert(ground.store(), &new).await.expect("kept");
        new.prefix
    };
    let rotate = async |store: &Store, prefix: String| {
        let successor = ApiKey::generate().expect("random numbers");
        let rotation = Rotation {
            prefix,
            successor: successor.prefix().to_owned(),
            hash: successor.hash(),
            overlap: Duration::minutes(1),
            by: "ann".to_owned(),
            now: Utc::now(),
        };
        keys::rotate(store, Some(&crm), &rotation).await
    };
    sweep.prepared("keys::rotate", kept, rotate).await.expect("rotated");
    let revoke =
        async |store: &Store, prefix: String| keys::revoke(store, Some(&crm), &prefix).await;
    sweep.prepared("keys::revoke", kept, revoke).await.expect("revoked");
}

async fn sealing_keys(sweep: &mut Sweep, ground: &Ground) {
    let crm = ground.tenant("crm", 100).await;
    let version = Cell::new(0);
    let wrapped = |version, master: &str| WrappedKey {
        version,
        wrapped: "only its master key can read it".to_owned(),
        master: master.to_owned(),
    };
    let next = async || {
        version.set(version.get() + 1);
        wrapped(version.get(), "old")
    };
    let add = async |store: &Store, new: WrappedKey| tenant_keys::add(store, &crm, &new).await;
    sweep.prepared("tenant_keys::add", next, add).await.expect("kept");
    let latest = async |store: &Store| tenant_keys::latest(store, &crm).await;
    sweep.call("tenant_keys::latest", latest).await.expect("an answer").expect("a key");
    let find = async |store: &Store| tenant_keys::find(store, &crm, 1).await;
    sweep.call("tenant_keys::find", find).await.expect("an answer").expect("the first");
    let list = async |store: &Store| tenant_keys::wrapped_by(store, "old").await;
    sweep.call("tenant_keys::wrapped_by", list).await.expect("keys");
    let anew = wrapped(1, "new");
    let rewrap = async |store: &Store| tenant_keys::rewrap(store, &crm, &anew).await;
    sweep.call("tenant_keys::rewrap", rewrap).await.expect("wrapped anew");
}
