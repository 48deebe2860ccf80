//! What tenants and keys may ask of the API.

use cameo_domain::{Scopes, Services, Sha256};
use cameo_store::{
    StoreError,
    keys::{self, NewKey},
    limits::{self, KeyRate, RequestLimits},
};

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenant_is_granted_is_kept_audited_and_read_back() {
    let world = World::start().await;
    let crm = world.tenant("crm", 2).await;
    let before = limits::granted(&world.store).await.expect("limits");
    assert_eq!(before.tenants[0].limits, RequestLimits::default(), "nothing is said yet");
    let granted =
        RequestLimits { requests_per_second: Some(50), burst: None, concurrent_requests: Some(4) };
    limits::grant(&world.store, &crm, granted).await.expect("granted");
    let after = limits::granted(&world.store).await.expect("limits");
    assert_eq!((after.tenants[0].tenant.as_str(), after.tenants[0].limits), ("crm", granted));
    // Other settings of the tenant leave it alone.
    world.tenant("crm", 3).await;
    assert_eq!(limits::granted(&world.store).await.expect("limits"), after);
    let nobody = "nobody".parse().expect("a name");
    let missing = limits::grant(&world.store, &nobody, granted).await;
    assert!(matches!(missing, Err(StoreError::NotFound(_))), "{missing:?}");
    assert!(
        world.sql("update cameo.tenants set concurrent_requests = 0").await.is_err(),
        "a tenant that may ask nothing would be one that is gone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_be_allowed_less_until_it_ends() {
    let world = World::start().await;
    let new = NewKey {
        prefix: "1a2b3c4d".to_owned(),
        hash: Sha256::of("key"),
        tenant: Some("crm".parse().expect("a name")),
        name: "test".to_owned(),
        scopes: Scopes::all(),
        services: Services::All,
        created_by: "test".to_owned(),
        expires_at: None,
    };
    keys::insert(&world.store, &new).await.expect("a key");
    assert_eq!(limits::granted(&world.store).await.expect("limits").keys, []);
    limits::limit_key(&world.store, "1a2b3c4d", Some(7)).await.expect("limited");
    let expected = KeyRate { prefix: "1a2b3c4d".to_owned(), requests_per_second: 7 };
    assert_eq!(limits::granted(&world.store).await.expect("limits").keys, [expected]);
    keys::revoke(&world.store, None, "1a2b3c4d").await.expect("revoked");
    assert_eq!(limits::granted(&world.store).await.expect("limits").keys, []);
}
