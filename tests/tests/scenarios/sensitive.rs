//! Predictions that are sealed wherever they lie, and shown to few.

use std::sync::Arc;

use cameo_domain::{RunState, Scope, Scopes};
use cameo_isolation::Isolation;
use cameo_registry::{ApplyError, Wanted, apply, plan::Server};
use cameo_sealing::{MasterKey, TenantKeys};
use cameo_store::{By, generations};
use cameo_tests::{Bundle, RunningWorker, World};
use serde_json::{Value, json};

const ROWS: u64 = 50;

fn sealed() -> Bundle {
    Bundle::new("marketing", "gender").sensitive("[score]")
}

async fn key_that_sees(world: &World) -> String {
    world.key_for(Some("marketing"), Scopes::only(&[Scope::Read, Scope::Sensitive])).await
}

/// Customer 3 made 3 visits, so that at level 1 the score is 4.
fn prediction(answer: &Value) -> (&Value, &Value) {
    (&answer["predictions"]["score"], &answer["predictions"]["twin"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensitive_prediction_is_sealed_wherever_it_lies_and_shown_only_to_the_scope() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&sealed()).await;
    let generation = gender.publish("2024-03-01T18:00:00Z").await;

    let table = format!("tenant_marketing.gender_g{generation}");
    let texts = world.texts(&format!("select distinct score from {table}")).await;
    assert_eq!(texts.len() as u64, ROWS, "equal values are sealed to different texts");
    assert!(texts.iter().all(|text| text.starts_with("cameo:v1:")), "{texts:?}");
    let lengths: std::collections::BTreeSet<_> = texts.iter().map(String::len).collect();
    assert_eq!(lengths.len(), 1, "the length of a number tells nothing of it");

    // The mirror holds the same: a service that reads it finds the prefix and no number.
    assert_eq!(world.mirror().await, 1);
    let reader = world
        .apply(&Bundle::new("marketing", "reader").features(
            "SELECT user_id, CASE WHEN STARTS_WITH(score, 'cameo:v1:') THEN 1.0 ELSE 0.0 END AS level,
                    MOD(user_id, 7) AS visits
             FROM predictions.gender",
        ))
        .await;
    reader.publish("2024-03-01T19:00:00Z").await;
    assert!(reader.served().await.expect("a generation").is_whole(ROWS, 1.0));

    // `all` is everything but this.
    let without = world.key(Some("marketing")).await;
    let path = format!("{}/predictions/3", gender.url());
    let answer = world.get(&without, &path).await;
    assert_eq!(prediction(&answer.json()), (&Value::Null, &json!(8.0)));
    assert_eq!(answer.json()["withheld"], json!(["score"]));
    assert_eq!(answer.header("cache-control"), "private, no-store");
    assert_eq!(answer.header("etag"), "");
    let with = key_that_sees(&world).await;
    let answer = world.get(&with, &path).await;
    assert_eq!(prediction(&answer.json()), (&json!(4.0), &json!(8.0)));
    assert_eq!(answer.json().get("withheld"), None);

    let batch = format!("{}/predictions:batchGet", gender.url());
    let asked = json!({"keys": [3, 999, "x", 4]});
    let answer = world.post(&without, &batch, &asked).await.json();
    assert_eq!(prediction(&answer["results"][0]), (&Value::Null, &json!(8.0)));
    assert_eq!(answer["withheld"], json!(["score"]));
    let answer = world.post(&with, &batch, &asked).await.json();
    assert_eq!(prediction(&answer["results"][0]), (&json!(4.0), &json!(8.0)));
    assert_eq!(answer["results"][1]["status"], "not_found");
    assert_eq!(prediction(&answer["results"][3]), (&json!(5.0), &json!(10.0)));
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_seals_what_comes_and_the_old_one_opens_what_was() {
    let world = World::start().await;
    let gender = world.apply(&sealed()).await;
    let with = key_that_sees(&world).await;
    let path = format!("{}/predictions/3", gender.url());
    world.customers("marketing", ROWS, 1.0).await;
    let first = gender.publish("2024-03-01T18:00:00Z").await;
    let keys = world.place.tenant_keys(world.store.clone());
    let version = keys.rotate(&gender.path.tenant).await.expect("a rotation").version();
    assert_eq!(version, 2);
    world.customers("marketing", ROWS, 2.0).await;
    let second = gender.publish("2024-03-02T18:00:00Z").await;
    let shown = async |generation, score: f64| {
        cameo_tests::eventually("the API follows", async || {
            let answer = world.get(&with, &path).await.json();
            (answer["generation"] == json!(generation)).then_some(answer)
        })
        .await["predictions"]["score"]
            == json!(score)
    };
    assert!(shown(second, 5.0).await);
    let by = By::new("scenario", "test");
    let (tenant, service) = (&gender.path.tenant, &gender.path.service);
    let kept = generations::Releases::Keep;
    generations::rollback(&world.store, tenant, service, Some(first), kept, &by)
        .await
        .expect("a rollback");
    assert!(shown(first, 4.0).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_somebody_moved_is_an_error_and_never_another_customers_prediction() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&sealed()).await;
    let generation = gender.publish("2024-03-01T18:00:00Z").await;
    world
        .sql(&format!(
            "update tenant_marketing.gender_g{generation} set score = (
                 select score from tenant_marketing.gender_g{generation} where user_id = 4)
             where user_id = 3"
        ))
        .await;
    let with = key_that_sees(&world).await;
    let moved = world.get(&with, &format!("{}/predictions/3", gender.url())).await;
    assert_eq!(moved.status.as_u16(), 500, "{moved:?}");
    assert!(!moved.body.contains("score") && !moved.body.contains("cameo:v1"), "{moved:?}");
    let batch = format!("{}/predictions:batchGet", gender.url());
    let moved = world.post(&with, &batch, &json!({"keys": [3, 4]})).await;
    assert_eq!(moved.status.as_u16(), 500, "{moved:?}");
    let other = world.get(&with, &format!("{}/predictions/4", gender.url())).await;
    assert_eq!(other.json()["predictions"]["score"], json!(5.0));
    let without = world.key(Some("marketing")).await;
    let answer = world.get(&without, &format!("{}/predictions/3", gender.url())).await;
    assert_eq!(answer.json()["predictions"]["score"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_master_key_nothing_is_sealed_opened_or_applied() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&sealed()).await;
    let run_with = async |master: Option<MasterKey>, due_at: &str| {
        let run = gender.request(due_at).await;
        let mut dependencies = world.place.worker("without", world.clock.clone()).await;
        dependencies.tenant_keys = Arc::new(TenantKeys::new(world.store.clone(), master));
        let worker = RunningWorker::start(world.worker_config(), dependencies);
        world.idle().await;
        worker.stop().await;
        let run = gender.run(run).await;
        assert_eq!(run.state, RunState::Halted, "{run:#?}");
        run.reason.expect("a reason")
    };
    let reason = run_with(None, "2024-03-01T18:00:00Z").await;
    assert_eq!(reason.code, "no_master_key");
    assert!(reason.message.contains("cameo keys new-master"), "{}", reason.message);
    assert_eq!(gender.generations().await.len(), 0, "no table was begun");

    gender.publish("2024-03-02T18:00:00Z").await;
    let other: MasterKey = MasterKey::generate().expect("a key").parse().expect("a master key");
    let name = other.name().to_owned();
    let reason = run_with(Some(other), "2024-03-03T18:00:00Z").await;
    assert_eq!(reason.code, "tenant_key");
    assert!(reason.message.contains(&format!("found {name}")), "{}", reason.message);

    let artifacts = world.place.artifacts();
    let server = Server {
        store: &world.store,
        artifacts: &artifacts,
        warehouse: &world.warehouse,
        seals: false,
        isolation: &Isolation::None,
    };
    let root = world.place.folder.join("bundles");
    let config = root.join("marketing/gender/config.yaml");
    let text = std::fs::read_to_string(&config).expect("a config");
    std::fs::write(&config, text.replace("VERSION: 0.0.1", "VERSION: 0.0.2")).expect("a config");
    let wanted = Wanted {
        root: &root,
        scope: None,
        accepted: &[],
        prune: false,
        commit: None,
        by: By::new("scenario", "test"),
    };
    let refused = apply(server, &wanted).await;
    assert!(
        matches!(&refused, Err(ApplyError::NoMasterKey(path)) if *path == gender.path),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_master_key_takes_over_what_the_one_before_had_wrapped() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&sealed()).await;
    gender.publish("2024-03-01T18:00:00Z").await;
    let keys = world.place.tenant_keys(world.store.clone());
    let old = keys.master().expect("a master key");
    let anew: MasterKey = MasterKey::generate().expect("a key").parse().expect("a master key");
    let after = TenantKeys::new(world.store.clone(), Some(anew));
    assert!(after.current(&gender.path.tenant).await.is_err(), "it has wrapped nothing yet");
    assert_eq!(after.rewrap(old).await.expect("all keys"), 1);
    assert_eq!(after.current(&gender.path.tenant).await.expect("the same key").version(), 1);
    let forgotten = world.place.tenant_keys(world.store.clone());
    let refused = forgotten.current(&gender.path.tenant).await.expect_err("the old master key");
    assert!(refused.to_string().contains("was wrapped by the master key"), "{refused}");
    world.assert_sound().await;
}
