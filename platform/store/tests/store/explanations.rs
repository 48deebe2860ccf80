//! How generations are explained: written once under the claim, read by tenant, gone with the table.

use cameo_domain::{DataType, GenerationId};
use cameo_store::{
    StoreError,
    explanations::{self, Cohort, Explanation, FeatureImportance, Importance, Unit},
    generations, invariants, lookup, releases, runs,
};

use crate::support::{World, crm, release, schema, scores, tenant};

fn importance(rows: u64) -> Importance {
    let features = |scale: f64| {
        vec![
            FeatureImportance { feature: "level".into(), mean_absolute: scale, mean: -scale },
            FeatureImportance { feature: "visits".into(), mean_absolute: 0.25, mean: 0.25 },
        ]
    };
    let cohort = |value: &str, rows| Cohort {
        column: "country".into(),
        value: value.into(),
        rows,
        features: features(2.0),
    };
    Importance {
        explanation: Explanation {
            method: "LINEAR".into(),
            description: "linear, in closed form".into(),
            output: "score".into(),
            unit: Unit::Output,
            base_value: 0.5,
            stored: false,
            rows,
            standard_error: None,
        },
        features: features(1.0),
        cohorts: vec![cohort("JP", rows - 1), cohort("DE", 1)],
    }
}

/// Publishes a generation of 4 rows for the instant, with its importance.
async fn explained(world: &World, due_at: &str) -> GenerationId {
    world.request("crm", "gender", due_at).await;
    let run = world.claim().await.expect("the requested run");
    let (generation, digest) = world.sealed(&run, &scores(), &[crate::support::batch(0..4)]).await;
    explanations::record(&world.store, &generation, &importance(4)).await.expect("recorded");
    world.publish(&run, &generation, digest).await.expect("published");
    generation.id
}

async fn find(world: &World, generation: Option<GenerationId>) -> Option<explanations::Found> {
    let service = "gender".parse().expect("a name");
    explanations::find(&world.store, &crm(), &service, generation).await.expect("read")
}

#[tokio::test]
async fn importance_reads_back_as_it_was_recorded_and_only_by_its_tenant() {
    let world = World::start().await;
    let service = world.service("crm", "gender").await;
    assert!(find(&world, None).await.is_none(), "nothing is published");
    let generation = explained(&world, "2026-03-01T18:00:00Z").await;
    let found = find(&world, None).await.expect("the current generation");
    assert_eq!(found.generation, generation);
    assert_eq!(found.importance, Some(importance(4)));
    assert_eq!(find(&world, Some(generation)).await, Some(found));
    assert!(find(&world, Some(GenerationId(99))).await.is_none());
    let other = world.tenant("other", 1).await;
    let foreign = explanations::find(&world.store, &other, &service, Some(generation)).await;
    assert!(foreign.expect("read").is_none(), "another tenant's importance is not found");
    let unexplained = world.published("gender", "2026-03-02T18:00:00Z", 1).await;
    let found = find(&world, None).await.expect("the current generation");
    assert_eq!((found.generation, found.importance), (unexplained.id, None));
    world.assert_sound().await;
}

#[tokio::test]
async fn a_lost_claim_a_second_record_and_a_published_generation_are_refused() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.request("crm", "gender", "2026-03-01T18:00:00Z").await;
    let run = world.claim().await.expect("the requested run");
    let (generation, digest) = world.sealed(&run, &scores(), &[crate::support::batch(0..4)]).await;
    let record = async || explanations::record(&world.store, &generation, &importance(4)).await;
    let mut stale = generation.clone();
    stale.epoch.0 += 1;
    let late = explanations::record(&world.store, &stale, &importance(4)).await;
    assert!(matches!(late, Err(StoreError::StaleEpoch { .. })), "{late:?}");
    record().await.expect("the claim is held");
    record().await.expect_err("once and for all");
    let mut wide = importance(4);
    wide.features = vec![wide.features[0].clone(); explanations::IMPORTANCES_MAX + 1];
    let refused = explanations::record(&world.store, &generation, &wide).await;
    assert!(matches!(refused, Err(StoreError::TooMany { .. })), "{refused:?}");
    world.publish(&run, &generation, digest).await.expect("published");
    for sql in [
        "update cameo.explanations set base_value = 0",
        "update cameo.importances set mean = 0",
        "delete from cameo.importances",
        "delete from cameo.explanations",
        "insert into cameo.importances (generation, feature, rows, mean_absolute, mean)
         select generation, 'late', 1, 0, 0 from cameo.explanations",
    ] {
        let error = world.sql(sql).await.expect_err(sql);
        assert!(error.to_string().contains("generation"), "{error}");
    }
    world.assert_sound().await;
}

#[tokio::test]
async fn cohorts_go_with_the_table_and_the_importance_of_all_rows_stays() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    let first = explained(&world, "2026-03-01T18:00:00Z").await;
    for day in ["2026-03-02", "2026-03-03"] {
        explained(&world, &format!("{day}T18:00:00Z")).await;
    }
    world
        .sql(
            "update cameo.outbox set state = 'mirrored', completed_at = now(), source_rows = 4,
        source_checksum = g.checksum, mirror_rows = 4, mirror_checksum = g.checksum
        from cameo.generations g where g.generation = outbox.generation",
        )
        .await
        .expect("mirrored");
    generations::refresh_views(&world.store).await.expect("views");
    let dropped = generations::retain_after(&world.store, 0).await.expect("retained");
    assert_eq!(dropped, [first]);
    let kept = find(&world, Some(first)).await.expect("still known").importance;
    assert_eq!(kept, Some(Importance { cohorts: vec![], ..importance(4) }));
    let current = find(&world, None).await.expect("current").importance.expect("explained");
    assert_eq!(current.cohorts.len(), 2);
    world.assert_sound().await;
}

#[tokio::test]
async fn what_an_attempt_without_an_end_recorded_goes_with_its_table() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.request("crm", "gender", "2026-03-01T18:00:00Z").await;
    let run = world.claim().await.expect("the requested run");
    let abandoned = world.begun(&run, &scores()).await;
    explanations::record(&world.store, &abandoned, &importance(4)).await.expect("recorded");
    world
        .sql("update cameo.runs set lease_expires_at = now() - interval '1 minute'")
        .await
        .expect("the lease ends");
    runs::expire_leases(&world.store).await.expect("expired");
    let again = world.claim().await.expect("the run goes on");
    let (generation, digest) =
        world.sealed(&again, &scores(), &[crate::support::batch(0..4)]).await;
    explanations::record(&world.store, &generation, &importance(4)).await.expect("recorded");
    world.publish(&again, &generation, digest).await.expect("published");
    assert!(find(&world, Some(abandoned.id)).await.is_none(), "an attempt is no generation");
    assert_eq!(generations::retain_after(&world.store, 0).await.expect("ok"), [abandoned.id]);
    assert_eq!(world.number("select count(*) from cameo.explanations").await, 1);
    assert_eq!(world.number("select count(distinct generation) from cameo.importances").await, 1);
    world.assert_sound().await;
}

#[tokio::test]
async fn the_first_background_of_a_release_stays() {
    let world = World::start().await;
    let new = release("gender", &scores());
    releases::apply(&world.store, &crm(), &new).await.expect("applied");
    let path = cameo_domain::ServicePath::new(crm(), new.service.clone());
    let found = explanations::background(&world.store, &path, new.release).await;
    assert_eq!(found.expect("read"), None);
    let column = |text: &str| explanations::BackgroundColumn {
        name: "level".to_owned(),
        values: vec![Some(text.to_owned()), None],
    };
    let keep = async |text: &str| {
        explanations::keep_background(&world.store, &path, new.release, vec![column(text)])
            .await
            .expect("kept")
    };
    assert_eq!(keep("1.5\0").await, [column("1.5\u{fffd}")]);
    assert_eq!(keep("2.5").await, [column("1.5\u{fffd}")]);
    world.sql("update cameo.explanation_backgrounds set rows = 3").await.expect_err("immutable");
    let mut other = path.clone();
    other.tenant = tenant("other");
    let foreign = explanations::background(&world.store, &other, new.release).await;
    assert_eq!(foreign.expect("read"), None);
}

#[tokio::test]
async fn a_document_in_a_row_is_a_document_for_readers() {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};

    let world = World::start().await;
    let explained = scores().with_explanation().expect("a schema");
    assert!(explained.is_explained() && !scores().is_explained());
    let wanted =
        [("user_id", DataType::Int), ("score", DataType::Float64), ("explanation", DataType::Json)];
    assert_eq!(explained, schema(&wanted));
    releases::apply(&world.store, &crm(), &release("gender", &explained)).await.expect("applied");
    world.request("crm", "gender", "2026-03-01T18:00:00Z").await;
    let run = world.claim().await.expect("the requested run");
    let text = r#"[{"feature":"level","value":1,"contribution":0.5}]"#;
    let batch = RecordBatch::try_from_iter([
        ("user_id", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
        ("score", Arc::new(Float64Array::from(vec![0.5])) as ArrayRef),
        ("explanation", Arc::new(StringArray::from(vec![text])) as ArrayRef),
    ]);
    let (generation, digest) = world.sealed(&run, &explained, &[batch.expect("a batch")]).await;
    let mut with_rows = importance(1);
    with_rows.cohorts.clear();
    with_rows.explanation.stored = true;
    explanations::record(&world.store, &generation, &with_rows).await.expect("recorded");
    world.publish(&run, &generation, digest).await.expect("published");
    generations::refresh_views(&world.store).await.expect("views");
    let level = "select (explanation -> 0 ->> 'value')::bigint from tenant_crm.gender";
    assert_eq!(world.number(level).await, 1);
    let served = lookup::current(&world.store, None).await.expect("read").remove(0);
    let key = cameo_domain::Key::Int(7);
    let found = lookup::one(&world.store, &served, &key).await.expect("read").expect("a row");
    assert_eq!(serde_json::to_string(&found.values[1]).expect("JSON"), text);
    assert_eq!(found.to_json(&served.schema)["explanation"][0]["feature"], "level");
    world.assert_sound().await;
}

#[tokio::test]
async fn the_doctor_sees_explanations_that_their_record_denies() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    explained(&world, "2026-03-01T18:00:00Z").await;
    world
        .sql(
            "alter table cameo.explanations disable trigger all;
              update cameo.explanations set stored = true, rows = 5",
        )
        .await
        .expect("a breach");
    let breaches = invariants::check(&world.store).await.expect("the check");
    let told: Vec<_> = breaches.iter().map(|breach| breach.invariant.as_str()).collect();
    assert_eq!(
        told,
        [
            "a generation carries explanations if and only if its record says so",
            "an explanation is of rows that its run read",
            "the cohorts of a column are all rows, each once",
            "the cohorts of a column are all rows, each once",
        ]
    );
}
