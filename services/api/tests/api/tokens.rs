//! Tokens of an identity provider beside API keys, against a real one.

use std::time::Duration;

use axum::http::StatusCode;
use cameo_access::authenticator::TRUST_FOR;
use cameo_api::Config;
use cameo_domain::{DataType, GroupAccess, Scope};
use cameo_store::tenants;
use chrono::Utc;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::{
    issuer::{ADMINS, Issuer, Signer, base64},
    world::World,
};

const TENANTS: &str = "/v1/tenants";
const GENDER: &str = "/v1/tenants/marketing/services/gender";

fn groups(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Marketing lets four groups in, crm one of them.
async fn world(config: cameo_access::OidcConfig) -> World {
    let world = World::start_with(Config { oidc: Some(config), ..Config::default() }).await;
    world.apply("marketing", "gender", DataType::Int).await;
    world.apply("crm", "clv", DataType::Int).await;
    let access = GroupAccess {
        viewer: groups(&["readers"]),
        member: groups(&["analysts"]),
        operator: groups(&["scientists"]),
        admin: groups(&["leads"]),
        sensitive: groups(&["doctors"]),
    };
    grant(&world, "marketing", &access).await;
    let access = GroupAccess { viewer: groups(&["leads"]), ..GroupAccess::default() };
    grant(&world, "crm", &access).await;
    world
}

async fn grant(world: &World, tenant: &str, access: &GroupAccess) {
    let tenant = tenant.parse().expect("a name");
    tenants::grant(&world.store, &tenant, access).await.expect("granted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_speaks_for_the_groups_of_a_person_in_each_tenant() {
    let signer = Signer::elliptic("one");
    let issuer = Issuer::start(&[&signer]).await;
    let world = world(issuer.config(&["ES256"])).await;
    let token = |subject: &str, groups: &[&str]| signer.sign(&issuer.claims(subject, groups));

    let lead = token("ada", &["leads", "unknown"]);
    let me = world.get(&lead, "/v1/me").await.json();
    assert_eq!((&me["actor"], &me["kind"]), (&json!("oidc:ada"), &json!("person")));
    assert_eq!(me["everywhere"], Value::Null);
    let of = |tenant: &str| {
        let listed = me["tenants"].as_array().expect("tenants");
        let found = listed.iter().find(|found| found["tenant"] == tenant);
        found.map(|found| found["scopes"].clone()).unwrap_or_default()
    };
    assert_eq!(of("crm"), json!(["read"]));
    let all = ["read", "run", "deploy", "promote", "segment", "erase", "manage"];
    assert_eq!(of("marketing"), json!(all));

    let asked = world.post(&lead, &format!("{GENDER}/runs"), "").await;
    assert_eq!(asked.json()["requested_by"], "oidc:ada", "{asked:?}");
    let refused = world.post(&lead, "/v1/tenants/crm/services/clv/runs", "").await;
    assert_eq!(refused.code(), "missing_scope", "what holds in one tenant does not in another");
    let detail = refused.json()["detail"].as_str().expect("a detail").to_owned();
    assert!(detail.contains("`run`") && detail.contains("ACCESS"), "{detail}");

    let reader = token("bob", &["readers"]);
    assert_eq!(world.get(&reader, GENDER).await.status, StatusCode::OK);
    assert_eq!(world.post(&reader, &format!("{GENDER}/runs"), "").await.code(), "missing_scope");
    assert_eq!(world.get(&reader, "/v1/tenants/crm/services/clv").await.code(), "not_found");
    let tenants = world.get(&reader, TENANTS).await.json();
    assert_eq!(tenants["tenants"].as_array().map(Vec::len), Some(1), "{tenants}");

    let doctor = world.get(&token("eve", &["doctors"]), "/v1/me").await.json();
    assert_eq!(doctor["tenants"][0]["scopes"], json!(["sensitive"]), "and nothing else");
    let nobody = token("mallory", &[]);
    assert_eq!(world.get(&nobody, TENANTS).await.code(), "missing_scope");
    assert_eq!(world.get(&nobody, GENDER).await.code(), "not_found");
    assert_eq!(world.get(&nobody, "/v1/me").await.json()["tenants"], json!([]));

    let operator = token("grace", &[ADMINS]);
    let tenants = world.get(&operator, TENANTS).await.json();
    assert_eq!(tenants["tenants"].as_array().map(Vec::len), Some(2), "{tenants}");
    let me = world.get(&operator, "/v1/me").await.json();
    let everywhere = me["everywhere"].as_array().expect("scopes");
    assert_eq!(everywhere.len(), Scope::ALL.len() - 1);
    assert!(!everywhere.contains(&json!("sensitive")), "that is given by a tenant alone");
    assert_eq!(world.get(&world.crm, TENANTS).await.status, StatusCode::OK, "keys go on");
    assert_eq!(issuer.asked(), 1, "the keys were asked for once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_right_in_every_way_is_refused() {
    let (signer, rsa) = (Signer::elliptic("one"), Signer::rsa("rsa"));
    let issuer = Issuer::start(&[&signer, &rsa]).await;
    let world = world(issuer.config(&["ES256", "RS256"])).await;
    let good = issuer.claims("ada", &["leads"]);
    let claims = |member: &str, value: Value| {
        let mut claims = good.clone();
        claims[member] = value;
        claims
    };
    let without = |member: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().expect("an object").remove(member);
        claims
    };
    for signer in [&signer, &rsa] {
        let answer = world.get(&signer.sign(&good), GENDER).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    let now = Utc::now().timestamp();
    // Anybody can sign with what is published: the server must not take it for a secret.
    let confused = rsa.with(|signer| {
        signer.algorithm = Algorithm::HS256;
        signer.key = EncodingKey::from_secret(rsa.public["n"].as_str().expect("n").as_bytes());
    });
    let header = base64(br#"{"alg":"none","typ":"JWT","kid":"one"}"#);
    let payload = base64(good.to_string().as_bytes());
    let tokens = [
        ("wrong audience", signer.sign(&claims("aud", json!("another")))),
        ("wrong audiences", signer.sign(&claims("aud", json!(["another", "third"])))),
        ("no audience", signer.sign(&without("aud"))),
        ("wrong issuer", signer.sign(&claims("iss", json!("https://login.example.com")))),
        ("several issuers", signer.sign(&claims("iss", json!([issuer.url, "https://a.example"])))),
        ("no issuer", signer.sign(&without("iss"))),
        ("expired", signer.sign(&claims("exp", json!(now - 120)))),
        ("no end", signer.sign(&without("exp"))),
        ("an end that is no time", signer.sign(&claims("exp", json!("tomorrow")))),
        ("too long a life", signer.sign(&claims("exp", json!(now + 7 * 86_400)))),
        ("not yet", signer.sign(&claims("nbf", json!(now + 600)))),
        ("issued in the future", signer.sign(&claims("iat", json!(now + 600)))),
        ("nobody", signer.sign(&without("sub"))),
        ("nobody's name", signer.sign(&claims("sub", json!("a\nb")))),
        ("groups that are none", signer.sign(&claims("groups", json!({"leads": true})))),
        ("algorithm none", format!("{header}.{payload}.")),
        ("algorithm none, with a signature", format!("{header}.{payload}.AAAA")),
        ("the public key as a secret", confused.sign(&good)),
        ("another algorithm", rsa.with(|rsa| rsa.algorithm = Algorithm::PS256).sign(&good)),
        ("another kind of key", signer.with(|one| "rsa".clone_into(&mut one.name)).sign(&good)),
        ("another key", Signer::elliptic("one").sign(&good)),
        ("an unknown key", Signer::elliptic("two").sign(&good)),
        ("no name of a key", signer.with(|one| one.name.clear()).sign(&good)),
        ("two parts", signer.sign(&good).rsplit_once('.').expect("parts").0.to_owned()),
        ("too long", signer.sign(&claims("groups", json!(vec!["g".repeat(200); 60])))),
    ];
    for (why, token) in tokens {
        let answer = world.get(&token, GENDER).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{why}: {answer:?}");
        assert_eq!(answer.code(), "unauthenticated", "{why}");
        assert!(!answer.body.contains(&payload[..40]), "{why} is not repeated");
    }
    let mut forged = signer.sign(&good);
    let at = forged.find('.').expect("a part") + 20;
    let other = if &forged[at..=at] == "A" { "B" } else { "A" };
    forged.replace_range(at..=at, other);
    assert_eq!(world.get(&forged, GENDER).await.status, StatusCode::UNAUTHORIZED);
    let within = claims("nbf", json!(now + 30));
    let answer = world.get(&signer.sign(&within), GENDER).await;
    assert_eq!(answer.status, StatusCode::OK, "clocks may differ a little: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_nobody_knows_are_no_storm_on_the_issuer() {
    let signer = Signer::elliptic("one");
    let issuer = Issuer::start(&[&signer]).await;
    let world = world(issuer.config(&["ES256"])).await;
    let good = issuer.claims("ada", &["leads"]);
    let answer = world.get(&signer.sign(&good), GENDER).await;
    assert_eq!((answer.status, issuer.asked()), (StatusCode::OK, 1));
    let storm = (0..200).map(|number| {
        let token = signer.with(|one| one.name = format!("unknown-{number}")).sign(&good);
        let world = &world;
        async move { world.get(&token, GENDER).await.status }
    });
    let answers = futures_util::future::join_all(storm).await;
    assert!(answers.iter().all(|status| *status == StatusCode::UNAUTHORIZED));
    assert_eq!(issuer.asked(), 1, "the issuer was asked a moment ago");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_changes_its_keys_and_nobody_waits() {
    let (old, new) = (Signer::elliptic("old"), Signer::elliptic("new"));
    let issuer = Issuer::start(&[&old]).await;
    let config = issuer.config(&["ES256"]).cool_down(Duration::from_millis(200));
    let world = world(config).await;
    let good = issuer.claims("ada", &["leads"]);
    let (first, second) = (old.sign(&good), new.sign(&good));
    assert_eq!(world.get(&first, GENDER).await.status, StatusCode::OK);
    assert_eq!(world.get(&second, GENDER).await.status, StatusCode::UNAUTHORIZED);
    issuer.publish(&[&old, &new]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.get(&second, GENDER).await.status, StatusCode::OK, "found by its name");
    assert_eq!(world.get(&first, GENDER).await.status, StatusCode::OK);
    // A key that is withdrawn ends what it has signed.
    issuer.publish(&[&new]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let unknown = Signer::elliptic("unknown").sign(&good);
    assert_eq!(world.get(&unknown, GENDER).await.status, StatusCode::UNAUTHORIZED);
    becomes(&world, &first, StatusCode::UNAUTHORIZED).await;
    // What is known goes on while the issuer is away; what is not cannot be told.
    issuer.go_down();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let another = new.sign(&issuer.claims("bob", &["leads"]));
    assert_eq!(world.get(&another, GENDER).await.status, StatusCode::OK);
    assert_eq!(world.get(&unknown, GENDER).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_issuer_no_token_is_let_in_and_keys_are() {
    let signer = Signer::elliptic("one");
    let issuer = Issuer::start(&[&signer]).await;
    issuer.go_down();
    let world = world(issuer.config(&["ES256"])).await;
    let token = signer.sign(&issuer.claims("ada", &["leads"]));
    let answer = world.get(&token, GENDER).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    );
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(world.get(&world.marketing, GENDER).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_a_tenant_no_longer_lists_is_out_within_seconds() {
    let signer = Signer::elliptic("one");
    let issuer = Issuer::start(&[&signer]).await;
    let world = world(issuer.config(&["ES256"])).await;
    let token = signer.sign(&issuer.claims("ada", &["leads"]));
    assert_eq!(world.get(&token, GENDER).await.status, StatusCode::OK);
    grant(&world, "marketing", &GroupAccess::default()).await;
    becomes(&world, &token, StatusCode::NOT_FOUND).await;
}

async fn becomes(world: &World, token: &str, wanted: StatusCode) {
    let deadline = tokio::time::Instant::now() + TRUST_FOR;
    while world.get(token, GENDER).await.status != wanted {
        assert!(tokio::time::Instant::now() < deadline, "the token still works");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
