//! The Rust client against a server.

use std::{collections::BTreeSet, time::Duration};

use cameo_client::{
    ChangeKind, Client, Code, DataType, DeliveryState, Error, Format, KeyRequest, MissingReason,
    ProfileQuery, RunFilter, RunState, Since, Stage, Status,
};
use cameo_tests::eventually;
use serde::Deserialize;
use serde_json::Value;

use crate::server::{CUSTOMERS, Server};

#[derive(Debug, PartialEq, Deserialize)]
struct Level {
    score: f64,
    twin: f64,
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_and_profiles_are_what_the_server_says() {
    let server = Server::start().await;
    let client =
        Client::builder(&server.api.url, &server.key).cache(100).build().expect("a client");
    assert_eq!(client.tenants().await.expect("tenants"), ["marketing"]);
    let marketing = client.tenant("marketing");
    let gender = marketing.service("gender");

    let one = gender.prediction(17).await.expect("a prediction");
    assert_eq!((one.key.to_string().as_str(), one.version.as_str()), ("17", "0.0.1"));
    assert_eq!(one.predictions.row()["score"], 4.0, "1.0 + 17 % 7");
    let again = gender.prediction_as::<Level>(17).await.expect("from the cache");
    assert_eq!(again.predictions, Level { score: 4.0, twin: 8.0 });
    assert_eq!(again.generation, one.generation);
    let unknown = gender.prediction(1_000_000).await.expect_err("nobody");
    assert_eq!(unknown.code(), Some(&Code::UnknownKey));
    let Error::Problem(problem) = unknown else { panic!("a problem: {unknown}") };
    assert!(problem.status == 404 && !problem.request_id.is_empty(), "{problem:?}");

    // More keys than one request takes.
    let many = gender.predictions(1..=25_000).await.expect("a batch");
    assert_eq!(many.results.len(), 25_000);
    let found = many.results.iter().filter(|result| result.is_found()).count();
    assert_eq!(found as u64, CUSTOMERS);
    assert_eq!(many.results[24_999].key.to_string(), "25000");
    let taste = marketing.service("taste");
    let texts = taste.predictions(["c/1", "..", "nobody"]).await.expect("a batch");
    let told: Vec<Status> = texts.results.iter().map(|result| result.status).collect();
    assert_eq!(told, [Status::Found, Status::NotFound, Status::NotFound]);
    let slash = taste.prediction("c/2").await.expect("a key that needs escapes");
    assert_eq!(slash.key.to_string(), "c/2");
    let dots = taste.prediction("..").await.expect_err("nobody");
    assert_eq!(dots.code(), Some(&Code::UnknownKey));

    let profile =
        marketing.profile(17, &ProfileQuery::default().missing()).await.expect("a profile");
    assert_eq!(profile.services.len(), 1, "{profile:?}");
    let attributes = profile.service("gender").expect("gender");
    assert_eq!(attributes.predictions.row()["twin"], 8.0);
    assert_eq!(profile.missing[0].reason, MissingReason::UnknownKey);
    let keys: Vec<i64> = (1..=150).collect();
    let query = ProfileQuery::default().services(["gender"]);
    let profiles = marketing.profiles(keys, &query).await.expect("profiles");
    assert!(profiles.len() == 150 && profiles.iter().all(|one| one.services.len() == 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_counted_followed_and_told() {
    let server = Server::start().await;
    let client = Client::new(&server.api.url, &server.key).expect("a client");
    let marketing = client.tenant("marketing");
    let counted = eventually("the snapshots are at hand", async || {
        marketing.count_segment("gender.score >= 7").await.ok()
    })
    .await;
    // Those of whom 6 is left over.
    assert_eq!((counted.members, counted.profiles), (CUSTOMERS / 7, CUSTOMERS));
    assert_eq!(counted.condition, "gender.score >= 7.0");
    let wrong = marketing.count_segment("gender.nothing > 1").await.expect_err("no such column");
    assert_eq!(wrong.code(), Some(&Code::InvalidSegment));

    let define = async |condition: &str| {
        marketing.define_segment("loyal", condition, &["gender.score"]).await.expect("defined")
    };
    define("gender.score >= 7").await;
    let everybody = eventually("the members are made", async || {
        marketing.changes("loyal", Since::Nobody, false).await.ok()
    })
    .await;
    assert_eq!((everybody.since, everybody.changes.len() as u64), (0, counted.members));
    let first = &everybody.changes[0];
    assert_eq!((first.key.to_string().as_str(), first.change), ("6", ChangeKind::Entered));
    assert_eq!(first.attributes["gender.score"], 7.0);
    let taken = everybody.materialisation;
    let noted = marketing.acknowledge("loyal", "braze", taken).await.expect("noted");
    assert_eq!((noted.consumer.as_str(), noted.materialisation), ("braze", taken));
    assert_eq!(marketing.consumers("loyal").await.expect("consumers"), [noted]);
    define("gender.score between 6 and 6.5").await;
    let changes = eventually("they are made anew", async || {
        let changes = marketing.changes("loyal", Since::Consumer("braze"), true).await;
        changes.ok().filter(|changes| changes.materialisation > taken)
    })
    .await;
    assert_eq!(changes.since, taken);
    let left = changes.changes.iter().filter(|one| one.change == ChangeKind::Left);
    assert_eq!(left.count() as u64, counted.members);
    let same = marketing.changes("loyal", Since::Materialisation(taken), true).await;
    assert_eq!(same.expect("the same"), changes);
    let exported =
        marketing.export_changes("loyal", Since::Consumer("braze"), true, Format::Arrow).await;
    let mut exported = exported.expect("an export");
    assert_eq!(exported.since, Some(taken.into()));
    assert!(exported.chunk().await.expect("bytes").is_some());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_made_tested_and_ended() {
    let server = Server::start().await;
    let client = Client::new(&server.api.url, &server.key).expect("a client");
    let marketing = client.tenant("marketing");
    let url = "https://campaigns.example/hooks";
    let made = marketing.put_webhook("campaigns", url, &["loyal"]).await.expect("made");
    let secret = made.secret.clone().expect("a secret, once");
    assert!(secret.starts_with("whsec_") && !format!("{made:?}").contains(&secret));
    let found = marketing.webhook("campaigns").await.expect("the webhook");
    assert_eq!(
        (found.secret.as_ref(), found.segments.as_slice()),
        (None, &["loyal".to_owned()][..])
    );
    assert_eq!(marketing.webhooks().await.expect("webhooks"), [found]);
    let rotated = marketing.rotate_webhook("campaigns", Some(1)).await.expect("rotated");
    assert!(rotated.secret.is_some_and(|new| new != secret));
    assert!(rotated.previous_secret_until.is_some());
    let ping = marketing.ping_webhook("campaigns").await.expect("a test");
    let told = marketing.deliveries("campaigns").await.expect("deliveries");
    assert_eq!(
        (told[0].id.as_str(), told[0].event.as_str()),
        (ping.as_str(), "cameo.webhook.ping")
    );
    assert!(matches!(told[0].state, DeliveryState::Pending), "{told:?}");
    marketing.delete_webhook("campaigns").await.expect("ended");
    let gone = marketing.webhook("campaigns").await.expect_err("no such webhook");
    assert!(gone.is_not_found(), "{gone}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_shown_of_sensitive_predictions_is_said() {
    let server = Server::start().await;
    let client = Client::new(&server.api.url, &server.crm_key).expect("a client");
    let crm = client.tenant("crm");
    let one = crm.service("clv").prediction(17).await.expect("a prediction");
    assert_eq!((&one.predictions.row()["twin"], one.withheld), (&Value::Null, vec!["twin".into()]));
    assert_eq!(one.predictions.row()["score"], 4.0);
    let many = crm.service("clv").predictions([17, 18]).await.expect("a batch");
    assert_eq!(many.withheld, ["twin"]);
    let profile = crm.profile(17, &ProfileQuery::default()).await.expect("a profile");
    assert_eq!(profile.service("clv").expect("clv").withheld, ["twin"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_runs_and_releases_are_managed() {
    let server = Server::start().await;
    let client = Client::new(&server.api.url, &server.key).expect("a client");
    let marketing = client.tenant("marketing");
    let services = marketing.services().await.expect("services");
    let names: Vec<&str> = services.iter().map(|service| service.service.as_str()).collect();
    assert_eq!(names, ["gender", "taste"]);
    assert_eq!(services[1].columns[0].data_type, DataType::String);
    let gender = marketing.service("gender");
    let before = gender.get().await.expect("the service").generation.expect("published");

    let asked = gender.run_named("nightly").await.expect("a run");
    let same = gender.run_named("nightly").await.expect("the same run");
    assert_eq!(asked.run, same.run);
    let run = gender.wait_for_run(asked.run, Duration::from_mins(1)).await.expect("its end");
    assert_eq!(run.state, RunState::Published, "{run:?}");
    let filter = RunFilter { state: Some(RunState::Published), ..RunFilter::default() };
    let page = gender.runs(&filter).await.expect("runs");
    assert_eq!((page.runs.len(), page.next_cursor), (2, None));

    let generations = gender.generations().await.expect("generations");
    assert!(generations[0].current && generations[0].generation > before);
    let back = gender.rollback(None).await.expect("a rollback");
    assert_eq!((back.generation, back.previous), (before, generations[0].generation));
    let releases = gender.releases().await.expect("releases");
    assert_eq!(releases[0].stage, Stage::Production);
    let promoted = gender.promote("0.0.1", Some(Stage::Production), Some("as it is")).await;
    assert_eq!(promoted.expect("nothing to do").outcome, "unchanged");
    let refused =
        gender.promote("0.0.1", Some(Stage::Shadow), None).await.expect_err("from production");
    assert_eq!(refused.code(), Some(&Code::PromotionRefused));
    let foreign = client.tenant("crm").services().await.expect_err("another tenant's");
    assert!(foreign.is_not_found(), "{foreign}");
    let nobody = Client::new(&server.api.url, "cameo_wrong").expect("a client");
    let refused = nobody.tenants().await.expect_err("no key");
    assert_eq!(refused.code(), Some(&Code::Unauthenticated));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_rotated_and_revoked() {
    let server = Server::start().await;
    let client = Client::new(&server.api.url, &server.key).expect("a client");
    let me = client.me().await.expect("the caller");
    assert_eq!((me.tenants[0].tenant.as_str(), me.everywhere), ("marketing", None));
    let marketing = client.tenant("marketing");
    let wanted = KeyRequest::new("campaigns", ["read"]).services(["gender"]).expires_days(30);
    let made = marketing.create_key(&wanted).await.expect("a key");
    assert!(!format!("{made:?}").contains(&made.secret), "a secret is not printed");
    let campaigns = Client::new(&server.api.url, &made.secret).expect("a client");
    let profile = campaigns.tenant("marketing").profile(17, &ProfileQuery::default()).await;
    assert_eq!(profile.expect("of its services").services.len(), 1);
    let refused = campaigns.tenant("marketing").keys().await.expect_err("it may read alone");
    assert_eq!(refused.code(), Some(&Code::MissingScope));
    let rotated = marketing.rotate_key(&made.key.prefix, Some(60)).await.expect("a successor");
    assert_eq!(rotated.key.services, made.key.services);
    let revoked = marketing.revoke_key(&rotated.key.prefix).await.expect("revoked");
    assert!(!revoked.active);
    let keys = marketing.keys().await.expect("keys");
    let first = keys.iter().find(|key| key.prefix == made.key.prefix).expect("listed");
    assert_eq!(first.successor.as_ref(), Some(&rotated.key.prefix));
    server.stop().await;
}

#[test]
fn the_client_knows_every_code_of_the_document() {
    let document = serde_json::to_value(cameo_api::document()).expect("a document");
    let codes = document["x-error-codes"].as_array().expect("codes");
    let said: BTreeSet<&str> = codes.iter().filter_map(|code| code["code"].as_str()).collect();
    let known: BTreeSet<&str> = Code::KNOWN.iter().copied().collect();
    assert_eq!(said, known, "add to `codes!` in clients/rust/src/error.rs what the API says");
}
