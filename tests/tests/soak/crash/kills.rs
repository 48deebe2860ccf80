//! Workers, schedulers and mirrors that die at every named point, the first time they come there and later.

use cameo_crashpoint::{MIRROR, RUN, SCHEDULE, SNAPSHOT};
use cameo_tests::{Fate, Orders, Process, Role, World, at, eventually, rounds};
use chrono::{DateTime, Utc};
use futures_util::future::join_all;

use super::{
    LEASE_SECONDS, ROWS, TIDY_EVERY, end_leases, next_hour, service,
    tally::{Tally, assert_whole, tally},
    tidy,
};

const FIRST: &str = "2024-03-01T00:00:00Z";
/// Worlds at the same time: much of a death is waiting for a process to start.
const LANES: usize = 3;
const NAME: &str = "the-mortal";
/// What has few points dies less often than who has many.
const A_FIFTH: u32 = 5;

/// A death: where, and whether at a later time than the first.
#[derive(Clone, Copy)]
struct Death {
    point: &'static str,
    later: bool,
}

/// Every point at its first time, then every point at a later one, and so on: twice each, or as many as are wanted,
/// of which `share` is a part.
fn deaths(points: &'static [&'static str], share: u32) -> Vec<Death> {
    let twice = 2 * u32::try_from(points.len()).expect("a count");
    let count = rounds(twice * share) / share;
    let passes = (0..).flat_map(|pass| points.iter().map(move |point| (pass, point)));
    let deaths = passes.map(|(pass, point)| Death { point, later: pass % 2 == 1 });
    deaths.take(usize::try_from(count).expect("a count")).collect()
}

fn mortal(world: &World, role: Role, point: &str) -> Process {
    let fate = Fate::DiesAt(point);
    let (place, name, lease_seconds) = (&world.place, NAME, LEASE_SECONDS);
    Process::start(&Orders { place, role, name, lease_seconds, fate })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_dies_at_every_point_of_a_run_and_later_ones_finish_what_it_left() {
    let all = deaths(&RUN, 1);
    let lanes = (0..LANES).map(|lane| {
        let mine: Vec<Death> = all.iter().skip(lane).step_by(LANES).copied().collect();
        async move { workers_die(&mine).await }
    });
    let tally: Tally = join_all(lanes).await.into_iter().sum();
    let kills = all.len() as u64;
    tally.finish(
        "Workers killed at each point of a run",
        &[("points", RUN.len() as u64), ("kills", kills)],
    );
}

/// Each worker first finishes what the one before it left, then dies in a run of its own.
async fn workers_die(deaths: &[Death]) -> Tally {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = service(&world, "marketing", "gender").await;
    let (mut instant, mut instants) = (at(FIRST), 0);
    for (nth, Death { point, later }) in deaths.iter().copied().enumerate() {
        for _ in 0..=u64::from(later) {
            instant = next_hour(instant);
            gender.request(&instant.to_rfc3339()).await;
            instants += 1;
        }
        let open = open_runs(&world).await;
        // Small runs end before their first heartbeat, unless they have to wait.
        let hold = match point {
            "heartbeat_sent" => Some(world.hold_publications().await),
            _ => None,
        };
        let which = if hold.is_some() { point.to_owned() } else { format!("{point}:{open}") };
        mortal(&world, Role::Worker, &which).killed().await;
        if let Some(hold) = hold {
            hold.release().await;
        }
        assert_whole(&world, &gender, &which).await;
        end_leases(&world, NAME).await;
        if nth % TIDY_EVERY == TIDY_EVERY - 1 {
            tidy(&world).await;
        }
    }
    world.work().await;
    world.mirror().await;
    tally(&world, instants).await
}

async fn open_runs(world: &World) -> u64 {
    let open = "select count(*)::text from cameo.runs where state in ('queued', 'running')";
    world.texts(open).await[0].parse().expect("a count")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_dies_at_every_point_of_a_snapshot_and_another_one_makes_it() {
    let all = deaths(&SNAPSHOT, A_FIFTH);
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = service(&world, "marketing", "gender").await;
    let (mut instant, mut instants) = (at(FIRST), 0);
    for (nth, Death { point, later }) in all.iter().copied().enumerate() {
        let times = 1 + u64::from(later);
        for _ in 0..times {
            instant = next_hour(instant);
            gender.request(&instant.to_rfc3339()).await;
            instants += 1;
        }
        mortal(&world, Role::Worker, &format!("{point}:{times}")).killed().await;
        assert_whole(&world, &gender, point).await;
        end_leases(&world, NAME).await;
        world.work().await;
        end_tasks(&world, "snapshots").await;
        world.make_snapshots().await;
        if nth % TIDY_EVERY == TIDY_EVERY - 1 {
            tidy(&world).await;
        }
    }
    world.mirror().await;
    let left = world.texts("select state from cameo.snapshots where state = 'pending'").await;
    assert!(left.is_empty(), "{} generations have no snapshot", left.len());
    let kills = all.len() as u64;
    tally(&world, instants).await.finish(
        "Workers killed at each point of a snapshot",
        &[("points", SNAPSHOT.len() as u64), ("kills", kills)],
    );
}

/// Lets the leases of tasks end whose holder is dead.
async fn end_tasks(world: &World, table: &str) {
    world
        .sql(&format!(
            "update cameo.{table} set lease_expires_at = clock_timestamp()
             where lease_expires_at is not null"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_dies_at_every_point_of_a_load_and_another_one_loads_it_once() {
    let all = deaths(&MIRROR, A_FIFTH);
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = service(&world, "marketing", "gender").await;
    let (mut instant, mut instants) = (at(FIRST), 0);
    for (nth, Death { point, later }) in all.iter().copied().enumerate() {
        let times = 1 + u64::from(later);
        for _ in 0..times {
            instant = next_hour(instant);
            gender.request(&instant.to_rfc3339()).await;
            instants += 1;
        }
        world.work().await;
        mortal(&world, Role::Mirror, &format!("{point}:{times}")).killed().await;
        assert_whole(&world, &gender, point).await;
        end_tasks(&world, "outbox").await;
        world.mirror().await;
        let newest = &gender.generations().await[0];
        let (tenant, service) = (&gender.path.tenant, &gender.path.service);
        let found = world.warehouse.digest(tenant, service, newest.generation).await;
        assert_eq!(found.ok(), newest.digest, "{point}");
        if nth % TIDY_EVERY == TIDY_EVERY - 1 {
            tidy(&world).await;
        }
    }
    let kills = all.len() as u64;
    tally(&world, instants).await.finish(
        "Mirrors killed at each point of a load",
        &[("points", MIRROR.len() as u64), ("kills", kills)],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_dies_at_every_point_of_a_decision_and_no_instant_is_lost_or_doubled() {
    let all = deaths(&SCHEDULE, A_FIFTH);
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    service(&world, "marketing", "gender").await;
    let (mut instant, mut instants) = (at(FIRST), 0);
    for (nth, Death { point, later }) in all.iter().copied().enumerate() {
        let times = 1 + u64::from(later);
        instants += times;
        // Later deaths are of decisions over several instants, which one transaction takes together.
        for _ in 0..times {
            instant = next_hour(instant);
        }
        world.place.tell_time(instant);
        mortal(&world, Role::Scheduler, point).killed().await;
        world.assert_sound().await;
        world.clock.set(instant);
        decided(&world, instants, instant).await;
        world.assert_sound().await;
        if nth % TIDY_EVERY == TIDY_EVERY - 1 {
            world.work().await;
            tidy(&world).await;
        }
    }
    world.work().await;
    let span = "select (extract(epoch from max(due_at) - min(due_at)) / 3600 + 1)::bigint || ' ' || count(run)
                from cameo.due_instants";
    let span = world.texts(span).await.remove(0);
    let (hours, runs) = span.split_once(' ').expect("hours and runs");
    let every = instants.to_string();
    assert_eq!([hours, runs], [&every, &every], "no hour is left out, and each has a run");
    world.mirror().await;
    let kills = all.len() as u64;
    tally(&world, instants).await.finish(
        "Schedulers killed at each point of a decision",
        &[("points", SCHEDULE.len() as u64), ("kills", kills)],
    );
}

/// Another scheduler goes on until all instants are decided up to one.
async fn decided(world: &World, instants: u64, last: DateTime<Utc>) {
    eventually(&format!("{instants} instants are decided, the last is {last}"), async || {
        world.tick().await;
        let decided =
            world.texts("select count(*) || ' ' || max(due_at) from cameo.due_instants").await;
        let count = decided.first()?.split_once(' ')?.0.parse::<u64>().ok()?;
        assert!(count <= instants, "{count} instants were decided of {instants}");
        (count == instants).then_some(())
    })
    .await;
}
