//! A customer who asks to be forgotten.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cameo_api::Config;
use cameo_domain::{ErasureId, TenantName};
use cameo_erasure::receipt::Receipt;
use cameo_package::{SigningKey, TrustedKeys};
use cameo_store::{
    By,
    audit::{self, AuditFilter},
    erasures::{self, ErasureRecord, ErasureState, KeyType, NewErasure, StepRecord},
    generations, outbox, quarantine,
};
use cameo_tests::{Bundle, Receiver, Service, World, eventually};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor, Row};

const ROWS: u64 = 3_000;
/// Of a worker that is cut short in the midst of a turn.
const LEASE_SECONDS: u32 = 1;
const CUT_SHORT: Duration = Duration::from_millis(300);
/// A key that no other number in a world looks like, and its bytes as Postgres and Parquet keep it.
const KEY: i64 = 7_310_577_018_293_344_001;

fn by() -> By {
    By::new("cli:ada", "test")
}

fn whom(key: &str) -> NewErasure {
    let reason = Some("asked by letter".to_owned());
    NewErasure { key: key.to_owned(), key_type: KeyType::Any, services: None, reason }
}

/// Customers of a tenant, [`KEY`] among them; without visits, [`KEY`] goes to quarantine.
async fn customers(world: &World, tenant: &str, level: f64, visits: &str) {
    let select = format!(
        "SELECT range AS user_id, {level}::FLOAT AS level, range % 7 AS visits FROM range(1, {ROWS})
         UNION ALL SELECT {KEY}, {level}::FLOAT, {visits}"
    );
    world.table(tenant, "shop", "customers", &select).await;
}

async fn erase(world: &World, tenant: &TenantName, new: &NewErasure) -> ErasureId {
    erasures::request(&world.store, tenant, new, &by())
        .await
        .expect("a request")
        .into_erasure()
        .erasure
}

async fn told(
    world: &World,
    tenant: &TenantName,
    erasure: ErasureId,
) -> (ErasureRecord, Vec<StepRecord>) {
    erasures::find(&world.store, tenant, erasure).await.expect("an answer").expect("the erasure")
}

/// How many rows of the key the tables of all kept generations of a service have.
async fn rows_of_key(world: &World, service: &Service<'_>) -> i64 {
    let mut rows = 0;
    for kept in service.generations().await.iter().filter(|kept| kept.dropped_at.is_none()) {
        let sql = format!(
            "select count(*) from tenant_{}.{}_g{} where user_id = {KEY}",
            service.path.tenant, service.path.service, kept.generation
        );
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut world.connection().await).await;
        rows += row.expect("the table").get::<i64, _>(0);
    }
    rows
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Files below a folder that hold the key as text or in the byte orders of Parquet and of Postgres.
fn files_with_key(folder: &Path) -> Vec<PathBuf> {
    let wanted =
        [KEY.to_string().into_bytes(), KEY.to_le_bytes().to_vec(), KEY.to_be_bytes().to_vec()];
    let holds = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        wanted.iter().any(|one| bytes.windows(one.len()).any(|window| window == one))
    };
    files(folder).into_iter().filter(holds).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_erases_a_customer_everywhere_and_no_run_brings_them_back() {
    let world = World::start().await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let clv = world.apply(&Bundle::new("marketing", "clv")).await;
    let theirs = world.apply(&Bundle::new("crm", "gender")).await;
    customers(&world, "crm", 1.0, "1").await;
    theirs.publish("2024-03-01T18:00:00Z").await;
    for day in 1..=2 {
        customers(&world, "marketing", f64::from(day), "1").await;
        gender.publish(&format!("2024-03-0{day}T18:00:00Z")).await;
        clv.publish(&format!("2024-03-0{day}T18:00:00Z")).await;
    }
    customers(&world, "marketing", 3.0, "NULL").await;
    let set_aside = gender.execute("2024-03-03T18:00:00Z").await;
    assert_eq!(world.mirror().await, 6);
    world.make_snapshots().await;
    let artifacts = world.place.folder.join("artifacts");
    assert_eq!(files_with_key(&artifacts).len(), 5, "the files of the generations that have them");
    assert_eq!((rows_of_key(&world, &gender).await, rows_of_key(&world, &clv).await), (2, 2));

    let tenant = &gender.path.tenant;
    let erasure = erase(&world, tenant, &whom(&KEY.to_string())).await;
    // What is served is clean with the answer; the rest follows.
    let key = world.key(Some("marketing")).await;
    for service in [&gender, &clv] {
        let answer = world.get(&key, &format!("{}/predictions/{KEY}", service.url())).await;
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    world.assert_sound().await;
    world.erase().await;
    world.assert_sound().await;

    let (record, steps) = told(&world, tenant, erasure).await;
    assert_eq!(record.state, ErasureState::Done);
    let removed = |place: &str| -> u64 {
        steps.iter().filter(|step| step.place == place).map(|step| step.rows_removed).sum()
    };
    assert_eq!(
        (removed("table"), removed("quarantine"), removed("mirror")),
        (4, 1, 4),
        "{steps:#?}"
    );
    assert!(steps.iter().all(|step| step.state == "done"), "{steps:#?}");
    let again = steps.iter().filter(|step| step.place != "run");
    assert!(
        again.clone().count() > 0 && again.clone().all(|step| step.rows_found_again == Some(0))
    );
    assert_eq!((rows_of_key(&world, &gender).await, rows_of_key(&world, &clv).await), (0, 0));
    let rows = quarantine::list(&world.store, tenant, set_aside.run).await.expect("rows");
    assert!(rows.iter().all(|row| row.key != Some(KEY.to_string())), "{rows:?}");

    // Both sides of the mirror are one again, and are what the generations say they hold.
    for service in [&gender, &clv] {
        let mirrored = outbox::list(&world.store, tenant, &service.path.service).await;
        for (kept, mirror) in service.generations().await.iter().zip(mirrored.expect("the outbox"))
        {
            let found =
                world.warehouse.digest(tenant, &service.path.service, kept.generation).await;
            assert_eq!((found.ok(), mirror.digest), (kept.digest, kept.digest));
        }
    }

    // Another tenant's customer of the same key is another customer.
    assert_eq!(rows_of_key(&world, &theirs).await, 1);
    assert_eq!(files_with_key(&artifacts).len(), 1, "of the other tenant");
    let lake = world.place.folder.join("lake/marketing/predictions");
    assert_eq!(files_with_key(&lake), Vec::<PathBuf>::new());
    assert_eq!(files_with_key(&world.place.folder.join("scratch")), Vec::<PathBuf>::new());
    assert_eq!(files_with_key(&world.place.folder.join("lake/crm/predictions")).len(), 1);

    // The source still has them, and the next run leaves them out.
    customers(&world, "marketing", 4.0, "1").await;
    let next = gender.execute("2024-03-04T18:00:00Z").await;
    let counts = next.counts.unwrap_or_else(|| panic!("{:?}", next.reason));
    assert_eq!((counts.rows_read, counts.rows_scored, counts.rows_suppressed), (ROWS, ROWS - 1, 1));
    assert_eq!(rows_of_key(&world, &gender).await, 0);
    world.assert_sound().await;

    // Until they come back.
    let lifted = erasures::lift(
        &world.store,
        tenant,
        &KEY.to_string(),
        KeyType::Any,
        "registered anew",
        &by(),
    )
    .await
    .expect("lifted");
    assert_eq!(lifted.len(), 2, "as a number and as a text");
    gender.publish("2024-03-05T18:00:00Z").await;
    assert_eq!(rows_of_key(&world, &gender).await, 1);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_erased_from_the_members_of_every_segment_and_consumers_begin_anew() {
    let world = World::start().await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let tenant = &gender.path.tenant;
    gender.define_segment("loyal", "gender.score >= 0", &["gender.score"]).await;
    // The customer to erase made one visit.
    gender.define_segment("keen", "gender.score >= 7", &[]).await;
    for day in 1..=2_u8 {
        customers(&world, "marketing", f64::from(day), "1").await;
        gender.publish(&format!("2024-03-0{day}T18:00:00Z")).await;
        made(&world, &gender, usize::from(day)).await;
    }
    let artifacts = world.place.folder.join("artifacts");
    assert_eq!(files_with_key(&artifacts).len(), 4, "two generations and their loyal customers");
    let key = world.key(Some("marketing")).await;
    let loyal = "/v1/tenants/marketing/segments/loyal";
    let taken = json!({"consumer": "braze", "materialisation": 2});
    let receiver = Receiver::start().await;
    world.tell(tenant, "campaigns", &receiver).await;
    let noted = world.post(&key, &format!("{loyal}/changes:acknowledge"), &taken).await;
    assert_eq!(noted.status, 200, "{noted:?}");
    let before = world.get(&key, &format!("{loyal}/members")).await;
    assert!(before.body.contains(&KEY.to_string()), "the customer is a member");

    let erasure = erase(&world, tenant, &whom(&KEY.to_string())).await;
    world.erase().await;
    assert_eq!(files_with_key(&artifacts), Vec::<PathBuf>::new());
    let (record, steps) = told(&world, tenant, erasure).await;
    assert_eq!(record.state, ErasureState::Done, "{steps:#?}");
    let of_segments: Vec<_> = steps.iter().filter(|step| step.place == "segment").collect();
    let removed: u64 = of_segments.iter().map(|step| step.rows_removed).sum();
    assert_eq!(removed, 2, "of loyal customers, twice: {of_segments:#?}");
    assert!(of_segments.len() >= 4, "all were searched: {of_segments:#?}");
    assert!(of_segments.iter().all(|step| step.rows_found_again == Some(0)), "{of_segments:#?}");
    world.assert_sound().await;

    // Made anew where the customer was the reason, and nowhere else.
    made(&world, &gender, 3).await;
    let numbers = async |segment: &str| {
        let list = gender.materialisations(segment).await;
        list.iter().map(|one| (one.number, one.dropped_at.is_none())).collect::<Vec<_>>()
    };
    assert_eq!(numbers("loyal").await, [(3, true), (2, false), (1, false)]);
    assert_eq!(numbers("keen").await, [(2, true), (1, true)]);
    let after = world.get(&key, &format!("{loyal}/members")).await;
    assert_eq!((after.status.as_u16(), after.body.lines().count() as u64), (200, ROWS - 1));
    assert!(!after.body.contains(&KEY.to_string()));
    // Whoever took members with the customer is told to take all of them anew.
    let gone = world.get(&key, &format!("{loyal}/changes?consumer=braze")).await;
    assert_eq!((gone.status.as_u16(), &gone.json()["code"]), (410, &json!("materialisation_gone")));
    let worker = world.worker(world.worker_config()).await;
    let heard = eventually("the webhook is told", async || receiver.heard().pop()).await;
    worker.stop().await;
    let told: Value = serde_json::from_str(&heard.body).expect("JSON");
    assert_eq!(
        (&told["data"]["materialisation"], &told["data"]["previous"]),
        (&json!(3), &Value::Null)
    );
    assert_eq!(told["data"]["entered"], json!(ROWS - 1), "everybody, for whoever begins anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_is_done_has_a_receipt_that_is_checked_without_the_platform() {
    let world = World::start().await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    customers(&world, "marketing", 1.0, "1").await;
    gender.publish("2024-03-01T18:00:00Z").await;
    let signer = SigningKey::generate().expect("random bytes");
    let trusted: TrustedKeys = signer.public().to_string().parse().expect("a list of one key");
    let config = Config { receipt_key: Some(Arc::new(signer)), ..Config::default() };
    let api = world.another_api(config);
    let key = world.key(Some("marketing")).await;
    let tenant = &gender.path.tenant;
    let erasure = erase(&world, tenant, &whom(&KEY.to_string())).await;
    let path = format!("/v1/tenants/marketing/erasures/{erasure}/receipt");
    let early = api.get(&key, &path).await;
    assert_eq!((early.status.as_u16(), &early.json()["code"]), (409, &json!("erasure_goes_on")));

    world.erase().await;
    let given = api.get(&key, &path).await;
    assert_eq!(given.status, 200, "{given:?}");
    assert!(!given.body.contains(&KEY.to_string()));
    let receipt: Receipt = serde_json::from_str(&given.body).expect("a receipt");
    let (stated, _) = receipt.verify(&trusted).expect("a sound receipt");
    let (record, steps) = told(&world, tenant, erasure).await;
    assert_eq!((stated.erasure, stated.key), (erasure, None));
    assert_eq!(stated.fingerprint_int, record.fingerprint_int);
    assert_eq!(Some(stated.finished_at), record.finished_at);
    assert_eq!(stated.places.len(), steps.len());
    let removed: u64 = stated.places.iter().map(|place| place.rows_removed).sum();
    assert_eq!((removed, record.rows_removed), (1, 1));
    assert_eq!(api.get(&key, &path).await.body, given.body, "it never changes");

    // It hangs on the audit trail.
    let filter = AuditFilter { tenant: Some(tenant.clone()), ..AuditFilter::default() };
    let trail = audit::list(&world.store, &filter).await.expect("the trail");
    let actions: Vec<&str> = stated.trail.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["customer.erasure_requested", "customer.erased"]);
    for told in &stated.trail {
        let entry = trail.iter().find(|entry| entry.entry == told.entry).expect("the entry");
        assert_eq!(entry.hash, told.hash.to_string());
    }

    // With the key it says whose it is, and with another one nothing.
    let named = api.post(&key, &path, &json!({ "key": KEY })).await;
    let named: Receipt = serde_json::from_str(&named.body).expect("a receipt");
    let (stated, _) = named.verify(&trusted).expect("a sound receipt");
    assert_eq!(stated.key, Some(KEY.to_string()));
    let another = api.post(&key, &path, &json!({ "key": KEY - 1 })).await;
    assert_eq!(
        (another.status.as_u16(), &another.json()["code"]),
        (400, &json!("invalid_request"))
    );
    let nowhere = api.get(&key, "/v1/tenants/marketing/erasures/999/receipt").await;
    assert_eq!(nowhere.status, 404);
    let unsigned = world.get(&key, &path).await;
    assert_eq!(
        (unsigned.status.as_u16(), &unsigned.json()["code"]),
        (409, &json!("receipts_not_signed"))
    );
}

/// Waits until the members of `loyal` were made so many times.
async fn made(world: &World, gender: &Service<'_>, times: usize) {
    eventually("the members are made", async || {
        world.make_snapshots().await;
        world.make_members().await;
        (gender.materialisations("loyal").await.len() == times).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_erased_key_is_left_in_the_bytes_of_the_database() {
    // A cluster of its own, whose files are read; and a key that is text, which lies in them as written.
    let world = World::on(cameo_tests::Cluster::start().await).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    for day in 1..=2 {
        customers(&world, "marketing", f64::from(day), "1").await;
        gender.publish(&format!("2024-03-0{day}T18:00:00Z")).await;
    }
    customers(&world, "marketing", 3.0, "NULL").await;
    gender.publish("2024-03-03T18:00:00Z").await;
    let tenant = &gender.path.tenant;
    let data = world.texts("select current_setting('data_directory')").await.remove(0);
    let data = Path::new(&data).join("base");
    world.sql("checkpoint").await;
    assert!(!files_with_key(&data).is_empty(), "the search finds what is there");
    let erasure = erase(&world, tenant, &whom(&KEY.to_string())).await;
    world.erase().await;
    assert_eq!(told(&world, tenant, erasure).await.0.state, ErasureState::Done);
    // Files of dropped tables go with the next checkpoint.
    world.sql("checkpoint").await;
    assert_eq!(files_with_key(&data), Vec::<PathBuf>::new());
    // Readers see the table that was written anew under its old name, by itself and through the view.
    generations::refresh_views(&world.store).await.expect("the views");
    let shown = world.texts("select count(*)::text from tenant_marketing.gender").await;
    assert_eq!(shown, [(ROWS - 1).to_string()]);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_under_way_publishes_without_who_was_erased_meanwhile() {
    let world = World::start().await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    customers(&world, "marketing", 1.0, "1").await;
    let hold = world.hold_publications().await;
    let run = gender.request("2024-03-01T18:00:00Z").await;
    let worker = world.worker(world.worker_config()).await;
    gender
        .run_when("at its publication", run, |run| {
            run.progress.as_ref().is_some_and(|progress| progress.stage == "publish")
        })
        .await;
    let (store, tenant) = (world.store.clone(), gender.path.tenant.clone());
    let asked = tokio::spawn(async move {
        erasures::request(&store, &tenant, &whom(&KEY.to_string()), &by()).await
    });
    hold.release().await;
    let erasure = asked.await.expect("it ends").expect("a request").into_erasure().erasure;
    gender.run_when("published", run, |run| run.state.is_finished()).await;
    worker.stop().await;
    assert_eq!(rows_of_key(&world, &gender).await, 0, "be it before or after the publication");
    world.mirror().await;
    world.erase().await;
    let (record, steps) = told(&world, &gender.path.tenant, erasure).await;
    assert_eq!((record.state, record.rows_removed), (ErasureState::Done, 1), "{steps:#?}");
    world.assert_sound().await;
}

/// Copies outlive tables, and what was published says what is left of them.
#[tokio::test(flavor = "multi_thread")]
async fn customers_are_erased_from_the_copies_of_tables_that_were_dropped() {
    let world = World::start().await;
    customers(&world, "marketing", 1.0, "1").await;
    let gender =
        world.apply(&Bundle::new("marketing", "gender").setting("GENERATIONS_KEPT", 2)).await;
    for day in 1..=4 {
        gender.publish(&format!("2024-03-0{day}T18:00:00Z")).await;
        world.mirror().await;
    }
    // Postgres may be analysing one of them now; then it goes at the next time.
    eventually("two old tables are gone", async || {
        generations::retain_after(&world.store, 0).await.expect("old tables go");
        let generations = gender.generations().await;
        let dropped = generations.iter().filter(|one| one.dropped_at.is_some()).count();
        (dropped == 2).then_some(())
    })
    .await;
    for key in [KEY, 17] {
        erase(&world, &gender.path.tenant, &whom(&key.to_string())).await;
    }
    world.erase().await;
    let copies = world.place.folder.join("lake/marketing/predictions");
    assert_eq!(files_with_key(&copies), Vec::<PathBuf>::new());
    world.assert_sound().await;
    // And once more, from a copy that has lost somebody before.
    erase(&world, &gender.path.tenant, &whom("18")).await;
    world.erase().await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_is_cut_short_is_gone_on_with_by_another_worker() {
    let world = World::start().await;
    customers(&world, "marketing", 1.0, "1").await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    gender.publish("2024-03-01T18:00:00Z").await;
    erase(&world, &gender.path.tenant, &whom(&KEY.to_string())).await;
    let worker = world.place.worker("cameo-eraser", world.clock.clone()).await;
    let mut other = world.connection().await;
    other
        .execute("begin; lock table cameo.erasure_steps in access exclusive mode")
        .await
        .expect("a lock in its way");
    let turn = cameo_worker::erase_next(&worker, LEASE_SECONDS);
    tokio::time::timeout(CUT_SHORT, turn).await.expect_err("it waits for the lock");
    other.execute("rollback").await.expect("the lock goes");
    // Nobody renews the lease of a turn that nobody works on.
    eventually("another one has the turn", async || {
        cameo_worker::erase_next(&worker, LEASE_SECONDS).await.expect("an answer")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_service_is_gone_through_alone_and_the_same_request_is_the_same_erasure() {
    let world = World::start().await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let clv = world.apply(&Bundle::new("marketing", "clv")).await;
    customers(&world, "marketing", 1.0, "1").await;
    for service in [&gender, &clv] {
        service.publish("2024-03-01T18:00:00Z").await;
    }
    let tenant = &gender.path.tenant;
    let services = Some(vec![gender.path.service.clone()]);
    let new = NewErasure { services, ..whom(&KEY.to_string()) };
    let first = erase(&world, tenant, &new).await;
    assert_eq!(erase(&world, tenant, &new).await, first);
    world.erase().await;
    assert_eq!((rows_of_key(&world, &gender).await, rows_of_key(&world, &clv).await), (0, 1));
    assert_ne!(erase(&world, tenant, &new).await, first, "once it is done, one can ask again");
    world.erase().await;
    let next = clv.execute("2024-03-02T18:00:00Z").await;
    assert_eq!(next.counts.expect("counts").rows_suppressed, 0);
    world.assert_sound().await;
}
