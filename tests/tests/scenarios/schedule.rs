//! Due instants and what becomes of them.

use cameo_store::runs::RunTrigger;
use cameo_tests::{Bundle, World};

/// Every decided instant with its outcome, oldest first.
async fn outcomes(world: &World) -> Vec<String> {
    world
        .texts(
            "select to_char(due_at at time zone 'UTC', 'MM-DD HH24:MI') || ' ' || outcome
             from cameo.due_instants order by due_at",
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn three_schedulers_that_race_make_one_run_of_each_due_instant() {
    let world = World::start().await;
    let mut services = Vec::new();
    for service in ["gender", "churn", "reach"] {
        services.push(world.apply(&Bundle::new("marketing", service)).await);
    }
    for day in ["01", "02", "03", "04"] {
        world.clock.set(cameo_tests::at(&format!("2024-03-{day}T18:00:10Z")));
        let ticks = (0..3).map(|_| {
            let scheduler = world.scheduler();
            tokio::spawn(async move { cameo_scheduler::tick(&scheduler).await })
        });
        for tick in ticks.collect::<Vec<_>>() {
            tick.await.expect("no panic").expect("the database answers");
        }
    }
    for service in &services {
        let runs = service.runs().await;
        let days: Vec<_> = runs.iter().map(|run| run.due_at.to_rfc3339()).collect();
        let expected = ["01", "02", "03", "04"].map(|day| format!("2024-03-{day}T18:00:00+00:00"));
        assert_eq!(days, expected, "{}", service.path);
        assert!(runs.iter().all(|run| run.trigger == RunTrigger::Schedule));
    }
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_the_latest_missed_instant_runs_and_all_others_are_accounted_for() {
    let world = World::start().await;
    let hourly = |policy| {
        let service = format!("by_{policy}").to_lowercase();
        Bundle::new("marketing", &service)
            .schedule("0 */6 * * *", "UTC")
            .setting("MISSED_RUN_POLICY", policy)
            .setting("MISSED_RUN_WINDOW_HOURS", 18)
    };
    let latest = world.apply(&hourly("LATEST")).await;
    world.advance_to("2024-03-02T13:30:00Z").await;
    let expected = [
        "03-01 06:00 missed",
        "03-01 12:00 missed",
        "03-01 18:00 missed",
        "03-02 00:00 coalesced",
        "03-02 06:00 coalesced",
        "03-02 12:00 run",
    ];
    assert_eq!(outcomes(&world).await, expected);
    assert_eq!(latest.runs().await.len(), 1);
    let into = world
        .texts(
            "select distinct to_char(coalesced_into at time zone 'UTC', 'MM-DD HH24:MI')
             from cameo.due_instants where outcome = 'coalesced'",
        )
        .await;
    assert_eq!(into, ["03-02 12:00"]);
    let reason = world.texts("select distinct reason from cameo.due_instants where reason <> ''");
    assert_eq!(reason.await, ["older than the missed-run window of 18 h"]);

    world.clock.set(cameo_tests::at("2024-03-02T13:30:00Z"));
    let all = world.apply(&hourly("ALL")).await;
    let skip = world.apply(&hourly("SKIP")).await;
    world.advance_to("2024-03-03T06:01:00Z").await;
    let due = |runs: Vec<cameo_store::runs::RunRecord>| -> Vec<String> {
        runs.iter().map(|run| run.due_at.format("%d %H:%M").to_string()).collect()
    };
    assert_eq!(due(all.runs().await), ["02 18:00", "03 00:00", "03 06:00"]);
    assert_eq!(due(skip.runs().await), ["03 06:00"], "only the punctual one");
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_time_that_the_clocks_skip_or_repeat_is_due_exactly_once() {
    let world = World::start().await;
    let clv = world
        .apply(
            &Bundle::new("crm", "clv")
                .schedule("30 2 * * *", "America/New_York")
                .setting("MISSED_RUN_POLICY", "ALL"),
        )
        .await;
    let due = async || -> Vec<String> {
        let runs = clv.runs().await;
        runs.iter().map(|run| run.due_at.format("%m-%d %H:%M").to_string()).collect()
    };
    // 02:30 does not exist on 10 March: it is due when the clocks show 03:00.
    world.clock.set(cameo_tests::at("2024-03-09T00:00:00Z"));
    world.sql("update cameo.services set next_due_at = '2024-03-09T07:30Z'").await;
    for hour in 0..72 {
        let hour = chrono::Duration::hours(hour);
        world.clock.set(cameo_tests::at("2024-03-09T00:45:00Z") + hour);
        world.tick().await;
    }
    assert_eq!(due().await, ["03-09 07:30", "03-10 07:00", "03-11 06:30"]);

    // 01:30 comes twice on 3 November: it is due the first time.
    let twice = Bundle::new("crm", "clv")
        .schedule("30 1 * * *", "America/New_York")
        .setting("MISSED_RUN_POLICY", "ALL");
    world.clock.set(cameo_tests::at("2024-11-02T00:00:00Z"));
    world.apply(&twice).await;
    for hour in 0..72 {
        let hour = chrono::Duration::hours(hour);
        world.clock.set(cameo_tests::at("2024-11-02T00:45:00Z") + hour);
        world.tick().await;
    }
    assert_eq!(due().await[3..], ["11-02 05:30", "11-03 05:30", "11-04 06:30"]);
    world.assert_sound().await;
}
