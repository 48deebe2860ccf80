//! Connections, schema, tenants and the audit trail.

use cameo_domain::Services;
use cameo_store::{
    Store,
    audit::{self, AuditFilter},
    invariants, limits, logins,
    lookup::{self, Hint},
    tenants::{self, TenantSettings},
};

use super::super::sweep::{Sweep, options};
use crate::ground::Ground;

pub(crate) async fn play(sweep: &mut Sweep, ground: &Ground) {
    connections(sweep, ground).await;
    hints(sweep).await;
    let crm = ground.tenant("crm", 100).await;
    let settings = TenantSettings { max_concurrent_runs: 100 };
    let ensured = async |store: &Store| tenants::ensure(store, &crm, &settings).await;
    sweep.call("tenants::ensure", ensured).await.expect("a tenant");
    let access = cameo_domain::GroupAccess::default();
    let granted = async |store: &Store| tenants::grant(store, &crm, &access).await;
    sweep.call("tenants::grant", granted).await.expect("granted");
    let found = sweep.call("tenants::find", async |store| tenants::find(store, &crm).await).await;
    assert!(found.expect("an answer").is_some());
    sweep.call("tenants::list", tenants::list).await.expect("tenants");
    let granted = limits::RequestLimits { burst: Some(9), ..Default::default() };
    let grant = async |store: &Store| limits::grant(store, &crm, granted).await;
    sweep.call("limits::grant", grant).await.expect("granted");
    sweep.call("limits::granted", limits::granted).await.expect("limits");
    logins_of_postgres(sweep, ground).await;
    let anchor = sweep.call("audit::anchor::due_anchor", audit::due_anchor).await;
    let anchor = anchor.expect("an answer").expect("something is new");
    let note = async |store: &Store| audit::note_anchor(store, &anchor).await;
    sweep.call("audit::anchor::note_anchor", note).await.expect("noted");
    let verify = async |store: &Store| audit::verify(store, vec![anchor]).await;
    sweep.call("audit::verify::verify", verify).await.expect("followed");
    let filter = AuditFilter { services: Services::All, ..AuditFilter::default() };
    let list = async |store: &Store| audit::list(store, &filter).await;
    sweep.call("audit::list::list", list).await.expect("entries");
    let breaches = sweep.call("invariants::check", invariants::check).await.expect("the check");
    assert!(breaches.is_empty(), "{breaches:#?}");
}

async fn connections(sweep: &mut Sweep, ground: &Ground) {
    let options = options(ground);
    let connect = async |_: &Store| Store::connect(&options).await;
    let store = sweep.call("connect::Store::connect", connect).await.expect("a connection");
    store.close().await;
    sweep.call("connect::Store::ping", Store::ping).await.expect("an answer");
    sweep.call("connect::Store::migrate", Store::migrate).await.expect("up to date");
    let connected = async || Store::connect(&options).await.expect("a connection");
    let close = async |_: &Store, own: Store| own.close().await;
    sweep.prepared("connect::Store::close", connected, close).await;
}

async fn hints(sweep: &mut Sweep) {
    let hints = sweep.call("lookup::hints::listen", lookup::listen).await;
    let mut hints = hints.expect("a listener");
    let next = async |_: &Store| hints.next().await;
    sweep.endless("lookup::hints::Hints::next", 2, next).await;
    let sleeper = std::sync::Arc::new(tokio::sync::Notify::new());
    let wake = async |store: &Store| {
        lookup::wake(store.clone(), |hint| *hint == Hint::Runs, sleeper.clone()).await;
    };
    sweep.endless("lookup::hints::wake", 12, wake).await;
}

/// A login of Postgres, which no two worlds of a cluster share.
async fn logins_of_postgres(sweep: &mut Sweep, ground: &Ground) {
    let crm = ground.tenant("crm", 100).await;
    ground.world.sql("drop role if exists swept_ann; create role swept_ann login").await;
    let grant = async |store: &Store| logins::grant(store, &crm, "swept_ann").await;
    sweep.call("logins::grant", grant).await.expect("granted");
    let list = async |store: &Store| logins::list(store, Some(&crm)).await;
    let found = sweep.call("logins::list", list).await.expect("logins");
    assert!(found.iter().any(|login| login.login == "swept_ann"), "{found:?}");
    let granted = async || {
        let _ = logins::grant(ground.store(), &crm, "swept_ann").await;
    };
    let revoke = async |store: &Store, ()| logins::revoke(store, &crm, "swept_ann").await;
    sweep.prepared("logins::revoke", granted, revoke).await.expect("revoked");
    ground.world.sql("drop role swept_ann").await;
}
