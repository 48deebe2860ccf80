//! Promoting, approving and telling what was in production.

use axum::http::StatusCode;
use cameo_domain::Stage;
use chrono::Utc;
use serde_json::{Value, json};

use crate::world::World;

const GENDER: &str = "/v1/tenants/marketing/services/gender";

async fn act(world: &World, key: &str, release: &str, action: &str, body: Value) -> Value {
    let path = format!("{GENDER}/releases/{release}:{action}");
    let answer = world.post(key, &path, &body.to_string()).await;
    let mut told = answer.json();
    told["status"] = json!(answer.status.as_u16());
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_promoted_and_the_history_tells_who_when_and_why() {
    let world = World::start().await;
    let one = world.apply_version("marketing", "gender", "1.0.0", |_| {}).await;
    let first = world.publish("marketing", "gender", Utc::now(), 10, 0.0).await;
    let before = Utc::now();
    let candidate = |new: &mut cameo_store::releases::NewRelease| new.stage = Stage::Candidate;
    let two = world.apply_version("marketing", "gender", "2.0.0", candidate).await;
    let key = world.marketing.as_str();
    let listed = world.get(key, &format!("{GENDER}/releases")).await.json();
    let stages: Vec<_> = listed["releases"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["version"].clone(), one["stage"].clone(), one["next_stage"].clone()))
        .collect();
    let text = |text: &str| json!(text);
    assert_eq!(
        stages,
        [
            (text("1.0.0"), text("production"), Value::Null),
            (text("2.0.0"), text("candidate"), text("production"))
        ]
    );

    let moved = act(&world, key, &two[..8], "promote", json!({"reason": "better"})).await;
    assert_eq!(
        moved,
        json!({"status": 200, "outcome": "moved", "release": two, "stage": "production", "replaced": one})
    );
    let again = act(&world, key, "2.0.0", "promote", json!({})).await;
    assert_eq!((&again["status"], &again["outcome"]), (&json!(200), &json!("unchanged")));
    let refused = act(&world, key, "2.0.0", "promote", json!({"to": "shadow"})).await;
    assert_eq!((&refused["status"], &refused["code"]), (&json!(409), &json!("promotion_refused")));
    assert!(refused["detail"].as_str().expect("why").contains("another release"), "{refused}");

    let verdicts = world.get(key, &format!("{GENDER}/releases/2.0.0/verdicts")).await.json();
    assert_eq!(verdicts, json!({"verdicts": []}), "it never ran beside production");

    let history = world.get(key, &format!("{GENDER}/history?limit=3")).await.json();
    let entry = &history["entries"][0];
    assert_eq!((&entry["action"], &entry["to"]), (&json!("promote"), &json!("production")));
    assert_eq!(entry["actor"], format!("key:{}", &key[6..14]));
    assert_eq!(entry["reason"], "better");
    assert_eq!(history["as_of"], Value::Null);
    let next = history["next_before"].as_str().expect("another page").to_owned();
    let rest = world.get(key, &format!("{GENDER}/history?before={next}")).await.json();
    assert_eq!(rest["entries"][0]["generation"], first, "{rest}");
    assert_eq!(rest["entries"][1]["action"], "apply");
    assert_eq!(rest["next_before"], Value::Null);
    let stamp = before.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let then = world.get(key, &format!("{GENDER}/history?at={stamp}")).await.json();
    assert_eq!(then["as_of"]["production"]["release"], one);
    assert_eq!(then["as_of"]["served"]["generation"], first);
    assert_eq!(then["entries"], rest["entries"], "what had happened until then");

    // Going back takes the release back as well, unless it shall stay.
    world.publish("marketing", "gender", Utc::now(), 10, 1.0).await;
    let body = json!({"keep_release": true}).to_string();
    let back = world.post(key, &format!("{GENDER}:rollback"), &body).await.json();
    assert_eq!((&back["generation"], &back["release"]), (&json!(first), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_keys_are_two_people_and_one_is_not() {
    let world = World::start().await;
    world.apply_version("marketing", "gender", "1.0.0", |new| new.protected = true).await;
    let (ann, bob) = (&world.marketing, world.scoped_key("marketing", &["promote"]).await);
    let asked = act(&world, ann, "1.0.0", "promote", json!({})).await;
    assert_eq!(
        (&asked["outcome"], &asked["stage"]),
        (&json!("awaits_approval"), &json!("candidate"))
    );
    let run = world.post(ann, &format!("{GENDER}/runs"), "").await;
    assert_eq!(run.code(), "nothing_in_production");
    let done = act(&world, &bob, "1.0.0", "approve", json!({"reason": "signed off"})).await;
    assert_eq!((&done["outcome"], &done["stage"]), (&json!("moved"), &json!("production")));
    let history = world.get(ann, &format!("{GENDER}/history")).await.json();
    let entry = &history["entries"][0];
    assert_eq!(entry["actor"], format!("key:{}", &bob[6..14]));
    assert_eq!(entry["requested_by"], format!("key:{}", &ann[6..14]));

    world.apply_version("marketing", "gender", "2.0.0", |new| new.stage = Stage::Candidate).await;
    act(&world, ann, "2.0.0", "promote", json!({})).await;
    let own = act(&world, ann, "2.0.0", "approve", json!({})).await;
    assert_eq!((&own["status"], &own["code"]), (&json!(409), &json!("promotion_refused")));
    assert!(own["detail"].as_str().expect("why").contains("somebody else"), "{own}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_release_and_an_unknown_action_are_not_found() {
    let world = World::start().await;
    let one = world.apply_version("marketing", "gender", "1.0.0", |_| {}).await;
    let key = world.marketing.as_str();
    let unknown = act(&world, key, "9.9.9", "promote", json!({})).await;
    assert_eq!((&unknown["status"], &unknown["code"]), (&json!(404), &json!("not_found")));
    assert!(unknown["detail"].as_str().expect("why").contains(&one[..12]), "{unknown}");
    for path in [format!("{one}:explode"), one.clone()] {
        let answer = world.post(key, &format!("{GENDER}/releases/{path}"), "{}").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    for (query, wrong) in
        [("limit=0", "`limit`"), ("at=yesterday", "yesterday"), ("page=2", "page")]
    {
        let answer = world.get(key, &format!("{GENDER}/history?{query}")).await;
        assert_eq!(answer.code(), "invalid_request", "{query}");
        let detail = answer.json()["detail"].as_str().expect("why").to_owned();
        assert!(detail.contains(wrong) || detail.contains("input"), "{detail}");
    }
    let long = json!({"reason": "x".repeat(3_000)});
    assert_eq!(act(&world, key, "1.0.0", "promote", long).await["code"], "invalid_body");
}
