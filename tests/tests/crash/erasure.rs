//! Workers that are killed while they erase.

use cameo_crashpoint::ERASURE;
use cameo_domain::ErasureId;
use cameo_store::{
    By,
    erasures::{self, ErasureState, KeyType, NewErasure},
};
use cameo_tests::{Bundle, Cluster, Process, Role, World, eventually};
use futures_util::{StreamExt, stream};
use tokio::runtime::Handle;

/// Scenarios that run at the same time: most of each is waiting for the lease of the dead.
const AT_ONCE: usize = 4;
const ROWS: u64 = 500;
/// One of the customers who has no visits at first, and is set aside.
const KEY: i64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn who_erases_may_be_killed_at_any_point_and_another_goes_on() {
    let _cluster = Cluster::shared().await;
    let survived: Vec<_> = stream::iter(ERASURE)
        .map(|point| async move {
            let runtime = Handle::current();
            let end = tokio::task::spawn_blocking(move || runtime.block_on(survive(point))).await;
            (point, end)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let failed: Vec<_> =
        survived.iter().filter(|(_, end)| end.is_err()).map(|(point, _)| *point).collect();
    assert!(failed.is_empty(), "these went wrong (see above): {failed:?}");
}

async fn survive(point: &str) {
    let world = World::start().await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let select = format!(
        "SELECT range AS user_id, 1.0::FLOAT AS level,
                CASE WHEN range <> {KEY} THEN range % 7 END AS visits FROM range(1, {ROWS} + 1)"
    );
    world.table("marketing", "shop", "customers", &select).await;
    gender.publish("2024-03-01T18:00:00Z").await;
    for day in 2..=3 {
        world.customers("marketing", ROWS, f64::from(day)).await;
        gender.publish(&format!("2024-03-0{day}T18:00:00Z")).await;
    }
    assert_eq!(world.mirror().await, 3);
    world.make_snapshots().await;
    gender.define_segment("loyal", "gender.score >= 0", &[]).await;
    assert_eq!(world.make_members().await, 1);

    let tenant = &gender.path.tenant;
    let new =
        NewErasure { key: KEY.to_string(), key_type: KeyType::Any, services: None, reason: None };
    let asked = erasures::request(&world.store, tenant, &new, &By::new("test", "test")).await;
    let erasure = asked.expect("a request").into_erasure().erasure;
    let mut worker = Process::dying_at(&world, Role::Worker, point);
    worker.killed().await;
    // It may have been making a file as well, of which the lease is long.
    world
        .sql("update cameo.snapshots set lease_expires_at = now() where lease_expires_at > now()")
        .await;
    world.assert_sound().await;
    let served = gender.served().await.expect("a generation");
    assert!(served.is_whole(ROWS - 1, 3.0), "{point}: readers see {served:?}");

    world.erase().await;
    assert_erased(&world, &gender.path.tenant, erasure, point).await;
    let made = gender.materialisations("loyal").await;
    let members = made.last().expect("the first");
    assert!(
        world.place.artifacts().file_of(&members.sha256).is_none(),
        "{point}: its file is gone"
    );
    // What the dead left half done is gone as well.
    let tables = "select table_name::text from information_schema.tables
                  where table_schema = 'tenant_marketing' and table_name like '%_clean'";
    eventually(&format!("{point}: no copy is left"), async || {
        world.texts(tables).await.is_empty().then_some(())
    })
    .await;
    let served = gender.served().await.expect("a generation");
    assert!(served.is_whole(ROWS - 1, 3.0), "{point}: readers see {served:?}");
    for kept in gender.generations().await {
        let found = world.warehouse.digest(tenant, &gender.path.service, kept.generation).await;
        assert_eq!(found.ok(), kept.digest, "{point}");
    }
    world.assert_sound().await;
}

async fn assert_erased(
    world: &World,
    tenant: &cameo_domain::TenantName,
    erasure: ErasureId,
    point: &str,
) {
    let found = erasures::find(&world.store, tenant, erasure).await.expect("an answer");
    let (record, steps) = found.expect("the erasure");
    assert_eq!(record.state, ErasureState::Done, "{point}: {steps:#?}");
    let removed = |place: &str| -> u64 {
        steps.iter().filter(|step| step.place == place).map(|step| step.rows_removed).sum()
    };
    assert_eq!(
        (removed("table"), removed("quarantine"), removed("segment")),
        (2, 1, 1),
        "{point}: each row is told once: {steps:#?}"
    );
    assert!(steps.iter().all(|step| step.place == "run" || step.rows_found_again == Some(0)));
    let keys = "select key from cameo.erasure_keys";
    assert!(world.texts(keys).await.is_empty(), "{point}: no key is kept");
}
