//! Rows that cannot be scored.

use cameo_store::{lookup, quarantine};
use cameo_tests::{Bundle, World};

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_key_or_a_usable_feature_are_set_aside_and_every_row_is_accounted_for() {
    let world = World::start().await;
    // Three customers without an id, two without visits, and ten without a level, which a float
    // input takes as not known: their score is not a number.
    let select = "SELECT CASE WHEN range > 3 THEN range END AS user_id,
                         CASE WHEN range <= 90 THEN 1.0::FLOAT END AS level,
                         CASE WHEN range NOT IN (50, 60) THEN range % 7 END AS visits
                  FROM range(1, 101)";
    world.table("marketing", "shop", "customers", select).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    let run = gender.execute("2024-03-01T18:00:00Z").await;
    let counts = run.counts.unwrap_or_else(|| panic!("{:?}", run.reason));
    assert_eq!((counts.rows_read, counts.rows_scored, counts.rows_quarantined), (100, 85, 15));

    let rows = quarantine::list(&world.store, &gender.path.tenant, run.run).await.expect("rows");
    let mut told: Vec<_> = rows
        .iter()
        .map(|row| {
            let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            format!("{} {} {}", text(&row.key), text(&row.column), row.reason)
        })
        .collect();
    told.sort();
    assert_eq!(told.len(), 15, "{told:#?}");
    assert_eq!(told[..3], vec!["- user_id the key is null"; 3]);
    let with = |start: &str| told.iter().filter(|row| row.starts_with(start)).count();
    assert_eq!((with("50 visits "), with("60 visits ")), (1, 1), "{told:#?}");
    let infinite = told.iter().filter(|row| row.ends_with("not a finite number")).count();
    assert_eq!(infinite, 10, "{told:#?}");

    let [served] =
        lookup::current(&world.store, None).await.expect("pointers").try_into().expect("one");
    assert_eq!(served.rows, 85);
    world.assert_sound().await;
}
