//! The best items of each customer: published, looked up, mirrored, rolled back, quarantined.

use std::{fs, path::PathBuf};

use axum::http::StatusCode;
use cameo_domain::RunState;
use cameo_store::outbox;
use cameo_tests::{Service, World, eventually};
use serde_json::{Value, json};

const CUSTOMERS: u64 = 60;
const TOP_N: usize = 3;

/// Offers with their weights of visits and level, and their bonus.
type Offer = (&'static str, f64, f64, f64);

/// `tie_a` and `tie_b` are worth the same to everyone; the key decides.
const OFFERS: [Offer; 6] = [
    ("visit_often", 2.0, 0.0, 0.0),
    ("tie_b", 0.5, 1.0, 1.0),
    ("tie_a", 0.5, 1.0, 1.0),
    ("high_level", 0.0, 3.0, -1.0),
    ("nobody", -1.0, -1.0, -5.0),
    ("everybody", 0.0, 0.0, 4.0),
];

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/ranking/marketing/offers")
}

async fn offers(world: &World, offers: &[Offer]) {
    let rows: Vec<String> = offers
        .iter()
        .map(|(offer, visits, level, bonus)| format!("('{offer}', {visits}, {level}, {bonus})"))
        .collect();
    let select = format!(
        "SELECT offer_id, visits_weight::DOUBLE AS visits_weight, level_weight::DOUBLE AS level_weight,
             bonus::DOUBLE AS bonus, DATE '2024-12-31' AS valid_until
         FROM (VALUES {}) AS offers(offer_id, visits_weight, level_weight, bonus)",
        rows.join(", ")
    );
    world.table("marketing", "shop", "offers", &select).await;
}

/// What sorting every pair gives.
fn expected(user: u64, level: f64, offers: &[Offer]) -> Vec<Value> {
    let visits = f64::from(u32::try_from(user % 7).expect("small"));
    let score =
        |(_, by_visits, by_level, bonus): &Offer| visits * by_visits + level * by_level + bonus;
    let mut sorted: Vec<&Offer> = offers.iter().collect();
    sorted.sort_by(|a, b| score(b).total_cmp(&score(a)).then(a.0.cmp(b.0)));
    let ranked = (1..).zip(sorted.into_iter().take(TOP_N));
    ranked
        .map(|(rank, offer)| json!({"rank": rank, "offer_id": offer.0, "score": score(offer)}))
        .collect()
}

/// A bundle like the fixture, changed before it is applied.
async fn changed(world: &World, change: impl FnOnce(&PathBuf)) -> Service<'_> {
    let folder = world.place.folder.join("changed/marketing/offers");
    fs::create_dir_all(&folder).expect("a folder");
    for entry in fs::read_dir(fixture()).expect("the fixture") {
        let file = entry.expect("a file").path();
        fs::copy(&file, folder.join(file.file_name().expect("a name"))).expect("a copy");
    }
    change(&folder);
    world.apply_folder(&folder).await
}

async fn answered(world: &World, service: &Service<'_>, key: &str, user: u64) -> Value {
    let url = format!("{}/predictions/{user}", service.url());
    let answer = world.get(key, &url).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()["predictions"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_ranks_publishes_the_best_items_of_each_customer() {
    let world = World::start().await;
    world.customers("marketing", CUSTOMERS, 1.0).await;
    offers(&world, &OFFERS).await;
    let service = world.apply_folder(&fixture()).await;
    let run = service.execute("2024-03-01T18:00:00Z").await;
    assert_eq!(run.state, RunState::Published, "{run:#?}");
    let counts = run.counts.expect("counts");
    assert_eq!((counts.rows_read, counts.rows_scored), (CUSTOMERS, CUSTOMERS), "of customers");
    let first = run.generation.expect("a generation");

    let key = world.key(Some("marketing")).await;
    for user in [1, 7, 60] {
        let found = answered(&world, &service, &key, user).await;
        assert_eq!(found, Value::from(expected(user, 1.0, &OFFERS)), "customer {user}");
    }
    let batch = format!("{}/predictions:batchGet", service.url());
    let many = world.post(&key, &batch, &json!({"keys": [3, 999, 2]})).await.json();
    assert_eq!(many["results"][0]["predictions"], Value::from(expected(3, 1.0, &OFFERS)));
    assert_eq!(many["results"][1], json!({"key": 999, "status": "not_found"}));
    assert_eq!(many["results"][2]["predictions"], Value::from(expected(2, 1.0, &OFFERS)));
    let listed = world.get(&key, &service.url()).await.json();
    assert_eq!((&listed["top_n"], &listed["columns"][1]["name"]), (&json!(TOP_N), &json!("rank")));

    // Other offers, another generation; and back.
    offers(&world, &OFFERS[3..]).await;
    let second = service.publish("2024-03-02T18:00:00Z").await;
    shows(&world, &service, &key, expected(6, 1.0, &OFFERS[3..])).await;
    let rollback = format!("{}:rollback", service.url());
    let back = world.post(&key, &rollback, &json!({})).await;
    assert_eq!(
        back.json(),
        json!({"generation": first.0, "previous": second.0, "release": null}),
        "{back:?}"
    );
    shows(&world, &service, &key, expected(6, 1.0, &OFFERS)).await;

    assert_eq!(world.mirror().await, 2);
    let (tenant, name) = (&service.path.tenant, &service.path.service);
    let mirrored = world.warehouse.digest(tenant, name, first).await.expect("the digest");
    assert_eq!(mirrored.rows, CUSTOMERS * TOP_N as u64);
    let recorded = outbox::list(&world.store, tenant, name).await.expect("the outbox");
    assert!(recorded.iter().all(|row| row.completed_at.is_some()), "{recorded:#?}");
    world.assert_sound().await;
}

async fn shows(world: &World, service: &Service<'_>, key: &str, expected: Vec<Value>) {
    eventually("the API follows", async || {
        let found = answered(world, service, key, 6).await;
        (found == Value::from(expected.clone())).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_that_cannot_be_scored_is_quarantined_with_all_its_rows() {
    let world = World::start().await;
    let select = "SELECT range AS user_id, 1.0::FLOAT AS level,
        CASE WHEN range % 10 = 0 THEN NULL ELSE range % 7 END AS visits FROM range(1, 101)";
    world.table("marketing", "shop", "customers", select).await;
    offers(&world, &OFFERS).await;
    let service = world.apply_folder(&fixture()).await;
    let run = service.execute("2024-03-01T18:00:00Z").await;
    let counts = run.counts.expect("counts");
    assert_eq!((counts.rows_read, counts.rows_scored, counts.rows_quarantined), (100, 90, 10));
    let key = world.key(Some("marketing")).await;
    let missing = world.get(&key, &format!("{}/predictions/10", service.url())).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let rows = service.generations().await[0].digest.expect("a digest").rows;
    assert_eq!(rows, 90 * TOP_N as u64);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_sql_may_refine_the_rows_of_a_ranking() {
    let world = World::start().await;
    world.customers("marketing", CUSTOMERS, 1.0).await;
    offers(&world, &OFFERS).await;
    let service = changed(&world, |folder| {
        let sql = "SELECT user_id, rank, offer_id, score - MAX(score) OVER (PARTITION BY user_id) AS score
             FROM model_outputs";
        fs::write(folder.join("predictions.sql"), sql).expect("predictions.sql");
    })
    .await;
    service.publish("2024-03-01T18:00:00Z").await;
    let key = world.key(Some("marketing")).await;
    let found = answered(&world, &service, &key, 4).await;
    let best = expected(4, 1.0, &OFFERS);
    let gap = |row: &Value| {
        row["score"].as_f64().expect("a score") - best[0]["score"].as_f64().expect("one")
    };
    let gaps: Vec<f64> = best.iter().map(gap).collect();
    let scores: Vec<f64> = found
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["score"].as_f64().expect("a score"))
        .collect();
    assert_eq!(scores, gaps);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_that_cannot_be_ranked_halt_the_run_with_the_reason() {
    let world = World::start().await;
    world.customers("marketing", CUSTOMERS, 1.0).await;
    offers(&world, &OFFERS).await;
    let service = world.apply_folder(&fixture()).await;
    service.publish("2024-03-01T18:00:00Z").await;

    offers(&world, &[OFFERS[0], OFFERS[1], OFFERS[0]]).await;
    let twice = service.execute("2024-03-02T18:00:00Z").await;
    let reason = twice.reason.expect("a reason");
    assert_eq!((twice.state, reason.code.as_str()), (RunState::Halted, "items"));
    assert!(reason.message.contains("item `visit_often` occurs more than once"), "{reason:?}");

    // All offers have ended by then.
    offers(&world, &OFFERS).await;
    let ended = service.execute("2025-03-02T18:00:00Z").await;
    assert_eq!(ended.reason.expect("a reason").code, "items_empty");
    let key = world.key(Some("marketing")).await;
    let found = answered(&world, &service, &key, 2).await;
    assert_eq!(found, Value::from(expected(2, 1.0, &OFFERS)), "what was served stays served");
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_keys_is_bounded_by_the_rows_that_it_may_meet() {
    let world = World::start().await;
    world.customers("marketing", CUSTOMERS, 1.0).await;
    offers(&world, &OFFERS).await;
    let service = changed(&world, |folder| {
        let config = folder.join("config.yaml");
        let text = fs::read_to_string(&config).expect("the config");
        fs::write(config, text.replace("TOP_N: 3", "TOP_N: 1000")).expect("the config");
    })
    .await;
    service.publish("2024-03-01T18:00:00Z").await;
    let key = world.key(Some("marketing")).await;
    let batch = format!("{}/predictions:batchGet", service.url());
    let keys = |count: u64| json!({"keys": (1..=count).collect::<Vec<_>>()});
    let most = world.post(&key, &batch, &keys(100)).await;
    assert_eq!(most.status, StatusCode::OK, "{most:?}");
    let first = most.json()["results"][0]["predictions"].as_array().map(Vec::len);
    assert_eq!(first, Some(OFFERS.len()), "there are fewer items than N");
    let more = world.post(&key, &batch, &keys(101)).await;
    assert_eq!(more.status, StatusCode::UNPROCESSABLE_ENTITY, "{more:?}");
    assert!(
        more.json()["detail"].as_str().expect("a detail").contains("at most 100 keys, found 101")
    );
}
