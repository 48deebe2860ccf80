//! Why predictions are what they are.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::http::StatusCode;
use cameo_bundle::ReleaseManifest;
use cameo_domain::{Key, RunState};
use cameo_isolation::Host;
use cameo_pipeline::{ExplainedCustomer, ModelFiles, Plan, RunError, explain_one};
use cameo_store::{
    explanations::{self, Importance},
    releases,
};
use cameo_tests::{Bundle, Service, World, at, eventually};
use cameo_warehouse::{Parameters, ReadOptions};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row};

const DUE: &str = "2024-03-01T18:00:00Z";
/// What the model computes in float32, times what is summed here.
const TOLERANCE: f64 = 1e-4;

/// A customer as the generation's table has it.
struct Told {
    user: i64,
    twin: f64,
    contributions: BTreeMap<String, f64>,
    values: BTreeMap<String, Value>,
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0)
}

/// Customers with different levels, so that both features matter.
async fn customers(world: &World, rows: u64) {
    let select = format!(
        "SELECT range AS user_id, (range % 11 / 2.0)::FLOAT AS level, range % 7 AS visits,
                CASE WHEN range % 10 = 0 THEN NULL WHEN range % 3 = 0 THEN 'JP' ELSE 'DE' END AS country
         FROM range(1, {rows} + 1)"
    );
    world.table("marketing", "shop", "customers", &select).await;
}

async fn importance(service: &Service<'_>, world: &World) -> Importance {
    let path = &service.path;
    let found = explanations::find(&world.store, &path.tenant, &path.service, None).await;
    found.expect("the database answers").expect("a generation").importance.expect("explained")
}

/// The rows of the current generation.
async fn told(world: &World) -> Vec<Told> {
    let served =
        cameo_store::lookup::current(&world.store, None).await.expect("pointers").remove(0);
    let sql = format!(
        "select user_id, twin, explanation from {:?}.{:?} order by user_id",
        served.table.schema, served.table.name
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .fetch_all(&mut world.connection().await)
        .await
        .expect("the table is there");
    let told = rows.iter().map(|row| {
        let text: String = row.get("explanation");
        let list: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        let name = |one: &Value| one["feature"].as_str().expect("a name").to_owned();
        Told {
            user: row.get("user_id"),
            twin: row.get("twin"),
            contributions: list
                .iter()
                .map(|one| (name(one), one["contribution"].as_f64().expect("a number")))
                .collect(),
            values: list.iter().map(|one| (name(one), one["value"].clone())).collect(),
        }
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_contributions_and_the_base_value_add_up_to_the_prediction() {
    let world = World::start().await;
    customers(&world, 20_000).await;
    let gender =
        world.apply(&Bundle::new("marketing", "gender").explained("{BACKGROUND_ROWS: 100}")).await;
    gender.publish(DUE).await;
    let Importance { explanation, .. } = importance(&gender, &world).await;
    assert_eq!((explanation.output.as_str(), explanation.stored), ("twin", true));
    assert_eq!(explanation.rows, 20_000);
    let rows = told(&world).await;
    assert_eq!(rows.len(), 20_000);
    for Told { user, twin, contributions, values } in &rows {
        let sum = explanation.base_value + contributions.values().sum::<f64>();
        assert!(near(sum, *twin), "customer {user}: {sum}, not {twin}: {contributions:?}");
        if let Some(visits) = values.get("visits") {
            assert_eq!(*visits, json!(user % 7));
        }
    }
    // What the API, the view and the mirror say is what the table holds.
    let key = world.key(Some("marketing")).await;
    let url = format!("{}/predictions/18", gender.url());
    let answer = eventually("the API has the news", async || {
        let answer = world.get(&key, &url).await;
        Some(answer).filter(|answer| answer.status == StatusCode::OK)
    })
    .await;
    let list = &answer.json()["predictions"]["explanation"];
    let found = list.as_array().expect("a list");
    assert_eq!(found.len(), rows[17].contributions.len());
    let asked = world.get(&key, &format!("{url}/explanation")).await.json();
    assert_eq!(&asked["explanation"], list);
    assert_eq!(asked["base_value"], json!(explanation.base_value));
    assert_eq!(world.mirror().await, 1, "count and checksum of the mirror are compared");
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn importance_is_what_the_rows_add_up_to_in_all_and_in_each_cohort() {
    let world = World::start().await;
    customers(&world, 20_000).await;
    let bundle = Bundle::new("marketing", "gender")
        .features("SELECT user_id, level, visits, country FROM shop.customers")
        .explained("{TOP_K: 32, BACKGROUND_ROWS: 50, COHORTS: [country, visits]}");
    let gender = world.apply(&bundle).await;
    gender.publish(DUE).await;
    let rows = told(&world).await;
    let Importance { explanation, features, cohorts } = importance(&gender, &world).await;
    assert_eq!(explanation.rows, 20_000);
    let check = |of: &str, listed: &[explanations::FeatureImportance], rows: &[&Told]| {
        for one in listed {
            let sizes = rows.iter().map(|row| row.contributions.get(&one.feature).unwrap_or(&0.0));
            let count = rows.len() as f64;
            let absolute = sizes.clone().map(|size| size.abs()).sum::<f64>() / count;
            let mean = sizes.sum::<f64>() / count;
            assert!(near(one.mean_absolute, absolute), "{of}: {one:?}, rows give {absolute}");
            assert!(near(one.mean, mean), "{of}: {one:?}, rows give {mean}");
        }
    };
    check("all", &features, &rows.iter().collect::<Vec<_>>());
    let country = |user: i64| match user {
        _ if user % 10 == 0 => "(missing)",
        _ if user % 3 == 0 => "JP",
        _ => "DE",
    };
    let values: Vec<_> =
        cohorts.iter().map(|one| (one.column.as_str(), one.value.as_str())).collect();
    assert_eq!(values[..3], [("country", "DE"), ("country", "JP"), ("country", "(missing)")]);
    assert_eq!(values.len(), 3 + 7, "{values:?}");
    for cohort in &cohorts {
        let of_it = rows.iter().filter(|row| match cohort.column.as_str() {
            "country" => country(row.user) == cohort.value,
            _ => (row.user % 7).to_string() == cohort.value,
        });
        let of_it: Vec<_> = of_it.collect();
        assert_eq!(cohort.rows, of_it.len() as u64, "{} {}", cohort.column, cohort.value);
        check(&cohort.value, &cohort.features, &of_it);
    }
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_sql_passes_explanations_on_or_is_told_how() {
    let world = World::start().await;
    customers(&world, 1_000).await;
    let bundle = |sql: &str| {
        Bundle::new("marketing", "gender").explained("{BACKGROUND_ROWS: 50}").predictions(sql)
    };
    let ranked = "SELECT user_id, score, PERCENT_RANK() OVER (ORDER BY score) AS twin, explanation
                  FROM model_outputs";
    let gender = world.apply(&bundle(ranked)).await;
    gender.publish(DUE).await;
    let Importance { explanation, .. } = importance(&gender, &world).await;
    for row in told(&world).await {
        let score = (row.user % 11) as f64 / 2.0 + (row.user % 7) as f64;
        let sum = explanation.base_value + row.contributions.values().sum::<f64>();
        assert!(near(sum, 2.0 * score), "customer {}: {sum}, not {}", row.user, 2.0 * score);
    }

    let forgotten = "SELECT user_id, score, twin FROM model_outputs";
    let changed = "SELECT user_id, score, twin, CONCAT('because ', explanation) AS explanation
                   FROM model_outputs";
    for (sql, due, code) in [
        (forgotten, "2024-03-02T18:00:00Z", "prediction_missing"),
        (changed, "2024-03-03T18:00:00Z", "explanation_changed"),
    ] {
        world.apply(&bundle(sql)).await;
        let run = gender.execute(due).await;
        assert_eq!(run.state, RunState::Halted, "{run:#?}");
        let reason = run.reason.expect("a reason");
        assert_eq!(reason.code, code, "{reason}");
        assert!(reason.message.contains("`explanation`"), "{reason}");
    }
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_of_a_release_are_compared_with_the_same_customers() {
    let world = World::start().await;
    customers(&world, 3_000).await;
    let bundle = Bundle::new("marketing", "gender").explained("{STORE: ON_DEMAND}");
    let gender = world.apply(&bundle).await;
    gender.publish(DUE).await;
    let first = importance(&gender, &world).await;
    assert!(!first.explanation.stored && first.explanation.rows > 0, "{first:?}");
    // Everybody's level rises: the base value stays, and the contributions tell.
    world.customers("marketing", 3_000, 100.0).await;
    gender.publish("2024-03-02T18:00:00Z").await;
    let second = importance(&gender, &world).await;
    assert!(near(second.explanation.base_value, first.explanation.base_value), "{second:?}");
    let rows = "select rows::text from cameo.explanation_backgrounds";
    assert_eq!(world.texts(rows).await, ["1000"], "one background, kept with the release");
    // A new release looks anew.
    let gender = world.apply(&bundle.version("0.0.2")).await;
    gender.publish("2024-03-03T18:00:00Z").await;
    let third = importance(&gender, &world).await;
    assert!(third.explanation.base_value > 150.0, "{third:?}");
    world.assert_sound().await;
}

/// Explains one customer on demand, as `cameo explain` does.
async fn on_demand(
    world: &World,
    service: &Service<'_>,
    key: Key,
) -> Result<Option<ExplainedCustomer>, RunError> {
    let path = &service.path;
    let record = releases::current(&world.store, &path.tenant, &path.service).await;
    let record = record.expect("the database answers").expect("a release");
    let manifest: ReleaseManifest = serde_json::from_value(record.manifest).expect("a manifest");
    let model = world.place.artifacts().get(&manifest.model).await.expect("the model").to_vec();
    let files = Arc::new(ModelFiles { model, preprocess: None });
    let warehouse = world.warehouse.as_ref();
    let parameters = Parameters::utc(at(DUE));
    let host = Host::here();
    let plan = Plan::prepare(manifest, Arc::clone(&files), warehouse, parameters, host).await?;
    let read =
        ReadOptions { memory_limit_bytes: 512 << 20, threads: 1, partitions: 1, batch_rows: 100 };
    explain_one(&plan, files, &world.store, warehouse, &read, &key).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_on_demand_is_the_one_that_a_run_stores() {
    let world = World::start().await;
    customers(&world, 1_000).await;
    let bundle = Bundle::new("marketing", "gender")
        // A query that ends as people end them, and is read within another one.
        .features("SELECT user_id, level, visits\nFROM shop.customers; -- everybody; really")
        .explained("{BACKGROUND_ROWS: 200}");
    let gender = world.apply(&bundle).await;
    gender.publish(DUE).await;
    let rows = told(&world).await;
    let found = on_demand(&world, &gender, Key::Int(18)).await.expect("explained");
    let found = found.expect("customer 18");
    assert_eq!(found.outputs["twin"].as_f64(), Some(rows[17].twin));
    assert!(near(found.explained, rows[17].twin), "{found:?}");
    assert_eq!(found.contributions.len(), 2);
    for one in &found.contributions {
        let stored = rows[17].contributions.get(&one.feature).copied().unwrap_or_default();
        assert!(near(one.contribution, stored), "{one:?}, stored {stored}");
    }
    let base = importance(&gender, &world).await.explanation.base_value;
    assert!((found.explanation.base_value - base).abs() < 1e-9);
    assert!(on_demand(&world, &gender, Key::Int(0)).await.expect("asked").is_none());
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_customers_publishes_none_and_explains_none() {
    let world = World::start().await;
    customers(&world, 0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender").explained("{TOP_K: 1}")).await;
    gender.publish(DUE).await;
    let path = &gender.path;
    let found = explanations::find(&world.store, &path.tenant, &path.service, None).await;
    assert_eq!(found.expect("an answer").expect("a generation").importance, None);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_explained_as_asked_halts_with_the_reason() {
    let world = World::start().await;
    customers(&world, 100).await;
    let bundle = Bundle::new("marketing", "gender");
    for (section, due, code) in [
        ("{METHOD: TREE_PATH}", DUE, "explanation"),
        ("{OUTPUT: triplet}", "2024-03-02T18:00:00Z", "explanation"),
        ("{COHORTS: [country]}", "2024-03-03T18:00:00Z", "cohort_missing"),
    ] {
        let gender = world.apply(&bundle.clone().explained(section)).await;
        let run = gender.execute(due).await;
        assert_eq!(run.state, RunState::Halted, "{section}: {run:#?}");
        let reason = run.reason.expect("a reason");
        assert_eq!(reason.code, code, "{section}: {reason}");
    }
    let gender = world.apply(&bundle.explained("{STORE: NONE}")).await;
    gender.publish("2024-03-04T18:00:00Z").await;
    let path = &gender.path;
    let found = explanations::find(&world.store, &path.tenant, &path.service, None).await;
    assert_eq!(found.expect("an answer").expect("a generation").importance, None);
    world.assert_sound().await;
}

/// The demo's tree ensemble, as a team that has never heard of explanations would write it.
fn clv_without_section(world: &World) -> PathBuf {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tenants/crm/clv");
    let folder = world.place.folder.join("plain/crm/clv");
    std::fs::create_dir_all(&folder).expect("a folder");
    for name in ["features.sql", "model.onnx", "config.yaml"] {
        std::fs::copy(shipped.join(name), folder.join(name)).expect("a file");
    }
    let config = folder.join("config.yaml");
    let text = std::fs::read_to_string(&config).expect("the config");
    let (before, _) = text.split_once("EXPLANATION_CONFIG").expect("the demo is explained");
    let plain = before
        .replace("[customer_id, clv_39w, tier, decile]", "[customer_id, clv]")
        .replace("[INT, FLOAT64, STRING, INT]", "[INT, FLOAT64]");
    std::fs::write(&config, plain).expect("the config");
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_ensemble_is_explained_without_asking_and_what_has_no_exact_method_is_not() {
    let world = World::start().await;
    let orders = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/demo/lake/crm/cdnow/orders.parquet")
        .canonicalize()
        .expect("the demo's table");
    let select = format!("SELECT * FROM read_parquet('{}')", orders.display());
    world.table("crm", "cdnow", "orders", &select).await;
    let clv = world.apply_folder(&clv_without_section(&world)).await;
    clv.publish(DUE).await;
    let Importance { explanation, features, .. } = importance(&clv, &world).await;
    assert_eq!((explanation.method.as_str(), explanation.stored), ("TREE_PATH", false));
    assert_eq!((explanation.rows, features.len()), (23_570, 15));
    assert_eq!(explanation.standard_error, None);
    // Everybody's contributions and the base value add up to everybody's predictions.
    let mean = world.texts("select avg(clv)::text from tenant_crm.clv");
    cameo_store::generations::refresh_views(&world.store).await.expect("the views follow");
    let mean: f64 = mean.await[0].parse().expect("a number");
    let sum = explanation.base_value + features.iter().map(|one| one.mean).sum::<f64>();
    assert!(near(sum, mean), "{sum}, not {mean}");

    customers(&world, 100).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    gender.publish(DUE).await;
    let path = &gender.path;
    let found = explanations::find(&world.store, &path.tenant, &path.service, None).await;
    assert_eq!(found.expect("an answer").expect("a generation").importance, None);
    let backgrounds = world.texts("select service from cameo.explanation_backgrounds").await;
    assert_eq!(backgrounds, ["clv"], "no customer was read for an explanation that is not made");
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_is_set_aside_or_scored_and_explained_as_the_default_that_the_bundle_declares() {
    let world = World::start().await;
    // Nobody knows how often customer 5 came.
    let select = "SELECT range AS user_id, (range % 11 / 2.0)::FLOAT AS level,
                         CASE WHEN range <> 5 THEN range % 7 END AS visits
                  FROM range(1, 101)";
    world.table("marketing", "shop", "customers", select).await;
    let bundle = Bundle::new("marketing", "gender").explained("{TOP_K: 2}");
    let gender = world.apply(&bundle).await;
    let run = gender.execute(DUE).await;
    let counts = run.counts.unwrap_or_else(|| panic!("{:?}", run.reason));
    assert_eq!((counts.rows_scored, counts.rows_quarantined), (99, 1));
    assert!(told(&world).await.iter().all(|row| row.user != 5));

    let bundle = bundle.version("0.0.2").null_defaults("{Visits: 30}");
    let gender = world.apply(&bundle).await;
    let run = gender.execute("2024-03-02T18:00:00Z").await;
    let counts = run.counts.unwrap_or_else(|| panic!("{:?}", run.reason));
    assert_eq!((counts.rows_scored, counts.rows_quarantined), (100, 0));
    let rows = told(&world).await;
    let fifth = &rows[4];
    // Twice the level of 2.5 and the 30 visits.
    assert_eq!((fifth.user, fifth.twin), (5, 65.0));
    assert_eq!(fifth.values["visits"], Value::Null, "what was known of the customer is told");
    let base = importance(&gender, &world).await.explanation.base_value;
    for row in &rows {
        let total = base + row.contributions.values().sum::<f64>();
        assert!(near(total, row.twin), "{total} for {}", row.twin);
    }
    let found = on_demand(&world, &gender, Key::Int(5)).await.expect("explained");
    let found = found.expect("customer 5");
    assert!(near(found.explained, 65.0), "{found:?}");
    world.assert_sound().await;
}
