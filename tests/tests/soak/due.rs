//! Many services that come due in the same minute.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cameo_runtime::metrics::resident_bytes;
use cameo_store::runs;
use cameo_tests::{Bundle, World, eventually, report, rounds};
use tokio::task::AbortHandle;

const TENANTS: u32 = 20;
const ROWS: u64 = 100;
/// Services in CI.
const SHORT: u32 = 80;

/// The most memory that this process has had since the beginning, by samples: database aside, everything is in it.
fn watch_memory() -> (Arc<AtomicU64>, AbortHandle) {
    let peak = Arc::new(AtomicU64::new(0));
    let noted = Arc::clone(&peak);
    let watching = tokio::spawn(async move {
        loop {
            noted.fetch_max(resident_bytes().unwrap_or_default(), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    (peak, watching.abort_handle())
}

async fn left(world: &World) -> u64 {
    let counts = runs::counts(&world.store).await.expect("the database answers");
    counts.iter().map(|(_, _, runs)| runs).sum()
}

/// Waits until all runs have ended, however many they are, as long as some do.
async fn worked_off(world: &World) {
    loop {
        let before = left(world).await;
        if before == 0 {
            return;
        }
        eventually("further runs end", async || (left(world).await < before).then_some(())).await;
    }
}

/// The most claims that one tenant was ahead of another at any time while both had runs waiting.
fn lead_max(turns: &[String], of_each: usize) -> usize {
    let mut claimed: BTreeMap<&str, usize> =
        turns.iter().map(|tenant| (tenant.as_str(), 0)).collect();
    let mut lead = 0;
    for tenant in turns {
        *claimed.entry(tenant).or_default() += 1;
        let waiting = claimed.values().filter(|claims| **claims < of_each);
        let most = claimed.values().max().copied().unwrap_or_default();
        lead = lead.max(waiting.map(|claims| most - claims).max().unwrap_or_default());
    }
    lead
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_due_in_the_same_minute_all_run_and_tenants_take_turns() {
    let world = World::start().await;
    let of_each = rounds(SHORT).div_ceil(TENANTS);
    let services = u64::from(of_each * TENANTS);
    for tenant in 0..TENANTS {
        let tenant = format!("team_{tenant:02}");
        world.customers(&tenant, ROWS, 1.0).await;
        for service in 0..of_each {
            world.apply(&Bundle::new(&tenant, &format!("s{service}"))).await;
        }
    }
    let before = resident_bytes().unwrap_or_default();
    let decided = Instant::now();
    world.advance_to("2024-03-01T18:00:30Z").await;
    let decided = decided.elapsed();
    let waiting = runs::waiting(&world.store).await.expect("the queue");
    assert_eq!(waiting.len(), TENANTS as usize);
    assert!(waiting.iter().all(|waiting| waiting.runs == u64::from(of_each)), "{waiting:?}");

    let (peak, watching) = watch_memory();
    let began = Instant::now();
    let worker = world.worker(world.worker_config()).await;
    worked_off(&world).await;
    let worked = began.elapsed();
    worker.stop().await;
    watching.abort();

    let ended = "select state || ' ' || count(*) from cameo.runs group by state";
    assert_eq!(world.texts(ended).await, [format!("published {services}")]);
    let once = "select count(*)::text from (select from cameo.due_instants
                group by tenant, service having count(*) = 1) s";
    assert_eq!(world.texts(once).await, [services.to_string()], "each was due once");
    let turns = world.texts("select tenant from cameo.runs order by started_at").await;
    let lead = lead_max(&turns, of_each as usize);
    assert!(lead <= 1, "tenants with runs waiting took turns, but one was {lead} claims ahead");
    world.assert_sound().await;

    let waits = world
        .texts(
            "select round(extract(epoch from percentile_cont(share) within group
                 (order by started_at - created_at))::numeric, 1)::text
             from cameo.runs, unnest(array[0.5, 0.99]) share group by share order by share",
        )
        .await;
    let [median, slow] = waits.as_slice() else { panic!("two percentiles: {waits:?}") };
    let mebibytes = |bytes: u64| bytes / (1 << 20);
    report(
        "services due in the same minute",
        &[
            ("services", &services),
            ("tenants", &TENANTS),
            ("seconds to decide what is due", &format!("{:.1}", decided.as_secs_f64())),
            ("seconds to run them all", &format!("{:.1}", worked.as_secs_f64())),
            ("runs per second", &format!("{:.1}", services as f64 / worked.as_secs_f64())),
            ("wait from due to claimed, median, seconds", median),
            ("the same, 99th percentile", slow),
            ("claims that a tenant was ahead, at most", &lead),
            ("memory before, MiB", &mebibytes(before)),
            ("memory at most, MiB", &mebibytes(peak.load(Ordering::Relaxed))),
        ],
    );
}
