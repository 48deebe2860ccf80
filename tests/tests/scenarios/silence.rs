//! A Postgres that has vanished without a word: connections stay open, and no answer comes.

use std::time::{Duration, Instant};

use cameo_domain::Key;
use cameo_store::{
    ConnectOptions, Store,
    lookup::{self, Reader},
    runs, services,
};
use cameo_tests::{Bundle, Draw, Proxy, World, at};

const PATIENCE: Duration = Duration::from_secs(1);
/// Far less than what the system waits.
const SOON: Duration = Duration::from_secs(8);
const DUE_AT: &str = "2024-03-05T00:00:00Z";
const WAITING: &str = "select count(*) from pg_stat_activity
    where wait_event_type = 'Lock' and datname = current_database()";

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_postgres_that_has_vanished_is_told_and_goes_on_over_another_connection() {
    let world = World::start().await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    world.customers("marketing", 10, 1.0).await;
    gender.publish("2024-03-01T18:00:00Z").await;
    let proxy = Proxy::start(&world, Draw::new(1)).await;
    let options = ConnectOptions::from_url(&proxy.place(&world).database_url).expect("a URL");
    let options = options.patience(PATIENCE).control_connections(2);
    let store = Store::connect(&options).await.expect("a connection");
    let served = lookup::current(&store, None).await.expect("an answer").remove(0);
    let (key, mut reader) = (Key::Int(8), Reader::new(store.clone()));
    lookup::one(&store, &served, &key).await.expect("an answer").expect("a prediction");
    reader.one(&served, &key).await.expect("an answer").expect("a prediction");

    // A transaction waits for a row, and its answer is lost.
    let mut holder = world.connection().await;
    let held = "begin; select from cameo.services for update";
    sqlx::raw_sql(held).execute(&mut holder).await.expect("the row");
    let ask = || {
        let (store, path) = (store.clone(), gender.path.clone());
        async move {
            let due_at = at(DUE_AT);
            runs::create_manual(&store, &path.tenant, &path.service, "asked", due_at, "test").await
        }
    };
    let request = tokio::spawn(ask());
    while sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut holder).await.expect("a number") == 0
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.fall_silent();
    let silent_since = Instant::now();
    sqlx::raw_sql("commit").execute(&mut holder).await.expect("the row is free");
    let lost = request.await.expect("no panic").expect_err("no answer came");
    assert!(lost.is_transient(), "{lost:?}");

    // Look-ups and reads meet the other connections, which are as silent.
    lookup::one(&store, &served, &key).await.expect("over a new one").expect("a prediction");
    reader.one(&served, &key).await.expect("over a new one").expect("a prediction");
    let (tenant, service) = (&gender.path.tenant, &gender.path.service);
    let found = services::find(&store, tenant, service).await.expect("over a new one");
    assert!(found.is_some());
    let run = ask().await.expect("over a new one").into_run();
    assert_eq!(run.due_at, at(DUE_AT));
    assert!(silent_since.elapsed() < SOON, "{:?}", silent_since.elapsed());
    world.assert_sound().await;
}
