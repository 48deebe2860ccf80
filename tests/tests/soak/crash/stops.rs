//! Workers that sleep past their lease, wake up, and go on as if nothing had happened.

use std::time::Duration;

use cameo_crashpoint::RUN;
use cameo_domain::{RunId, RunState};
use cameo_tests::{Draw, Fate, Orders, Process, Role, World, at, eventually, rounds};
use futures_util::future::join_all;

use super::{
    LEASE_SECONDS, ROWS, TIDY_EVERY,
    crew::Crew,
    end_leases, lanes, next_hour, service,
    tally::{Tally, assert_whole, tally},
    tidy,
};

const FIRST: &str = "2024-03-01T00:00:00Z";
/// Worlds at the same time.
const LANES: usize = 2;
const NAME: &str = "the-sleeper";
/// How long a worker may work on before it falls asleep.
const WAKE: Duration = Duration::from_millis(150);
/// A look asks Postgres a few questions: seldom enough that they are not what it works on.
const LOOK_EVERY: Duration = Duration::from_millis(40);
/// What a worker logs whose write was refused.
const REFUSED: [&str; 2] =
    ["another worker has taken the run over", "could not record how the attempt ended"];

/// What stopping came to.
#[derive(Debug, Clone, Copy, Default)]
struct Slept {
    stops: u64,
    /// Sleepers that woke up to a run which somebody else had finished.
    overtaken: u64,
    /// Of those, the ones whose next write was refused.
    refused: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_sleeps_at_any_point_past_its_lease_writes_nothing_when_it_wakes_up() {
    // Whoever sleeps after the last one has published.
    let points: Vec<&str> = RUN.into_iter().filter(|point| *point != "publish_committed").collect();
    let count = usize::try_from(rounds(u32::try_from(points.len()).expect("a count")));
    let all: Vec<&str> = points.iter().copied().cycle().take(count.expect("a count")).collect();
    let worlds = (0..LANES).map(|lane| {
        let mine: Vec<&str> = all.iter().skip(lane).step_by(LANES).copied().collect();
        async move { sleep_at(&mine).await }
    });
    finish("Workers stopped past their lease at each point of a run", join_all(worlds).await);
}

async fn sleep_at(points: &[&str]) -> (Tally, Slept) {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = service(&world, "marketing", "gender").await;
    let (mut instant, mut slept, mut written) = (at(FIRST), Slept::default(), 0);
    for (nth, point) in points.iter().enumerate() {
        instant = next_hour(instant);
        let run = gender.request(&instant.to_rfc3339()).await;
        let hold = match *point {
            "heartbeat_sent" => Some(world.hold_publications().await),
            _ => None,
        };
        let (place, role, name) = (&world.place, Role::Worker, NAME);
        let (lease_seconds, fate) = (LEASE_SECONDS, Fate::FreezesAt(point));
        let sleeper = Process::start(&Orders { place, role, name, lease_seconds, fate });
        let refused = sleeper.has_said(&REFUSED);
        sleeper.frozen().await;
        if let Some(hold) = hold {
            hold.release().await;
        }
        let healthy = world.worker(world.worker_config()).await;
        let ended = eventually(&format!("another worker ends what slept at {point}"), async || {
            tokio::time::sleep(LOOK_EVERY).await;
            end_leases(&world, NAME).await;
            Some(gender.run(run).await).filter(|run| run.state.is_finished())
        })
        .await;
        healthy.stop().await;
        assert_eq!(ended.state, RunState::Published, "{point}: {ended:#?}");
        let before = everything_of(&world, run).await;
        sleeper.thaw();
        eventually(&format!("whoever slept at {point} is refused"), async || {
            (sleeper.has_said(&REFUSED) > refused).then_some(())
        })
        .await;
        written += u64::from(everything_of(&world, run).await != before);
        slept.stops += 1;
        slept.overtaken += 1;
        slept.refused += 1;
        assert_whole(&world, &gender, point).await;
        if nth % TIDY_EVERY == TIDY_EVERY - 1 {
            tidy(&world).await;
        }
    }
    world.mirror().await;
    let mut tally = tally(&world, slept.stops).await;
    tally.stale_writes += written;
    (tally, slept)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_falls_asleep_at_any_time_writes_nothing_when_it_wakes_up() {
    let stops = rounds(16);
    let count = u32::try_from(LANES).expect("a count");
    let lanes = lanes(count).into_iter().zip(0..);
    let worlds =
        lanes.map(|(draw, lane)| sleep_at_random(draw, (stops + count - 1 - lane) / count));
    finish("Workers stopped past their lease at any time", join_all(worlds).await);
}

async fn sleep_at_random(mut draw: Draw, stops: u32) -> (Tally, Slept) {
    let world = World::start().await;
    let mut crew = Crew::start(&world, world.place.clone()).await;
    crew.hour_passes().await;
    crew.all_are_in().await;
    let (mut slept, mut written) = (Slept::default(), 0);
    for _ in 0..stops {
        let which = draw.one_of(&crew.workers());
        let name = crew.members[which].name;
        eventually(&format!("{name} is at work"), async || {
            tokio::time::sleep(LOOK_EVERY).await;
            crew.hour_passes().await;
            held_by(&world, name).await
        })
        .await;
        let sleeper = &crew.members[which];
        let refused = sleeper.process.has_said(&REFUSED);
        tokio::time::sleep(draw.shorter_than(WAKE)).await;
        sleeper.process.freeze().await;
        slept.stops += 1;
        let held = held_by(&world, name).await;
        end_leases(&world, name).await;
        let Some((run, epoch)) = held else {
            sleeper.process.thaw();
            continue;
        };
        // Asleep after its own commit it was not overtaken.
        let overtaken = eventually("the run of the sleeper has ended", async || {
            tokio::time::sleep(LOOK_EVERY).await;
            // What it had asked of Postgres may have been answered since, with locks.
            end_leases(&world, name).await;
            let over = format!(
                "select (epoch > {epoch})::text from cameo.runs
                 where run = {run} and state not in ('queued', 'running')"
            );
            world.texts(&over).await.pop()
        })
        .await;
        let before = everything_of(&world, run).await;
        sleeper.process.thaw();
        if overtaken == "true" {
            slept.overtaken += 1;
            eventually(&format!("{name} is refused"), async || {
                (sleeper.process.has_said(&REFUSED) > refused).then_some(())
            })
            .await;
            slept.refused += 1;
        }
        written += u64::from(everything_of(&world, run).await != before);
        crew.look(&mut draw, "a sleep").await;
    }
    let mut tally = crew.settle().await;
    tally.stale_writes += written;
    (tally, slept)
}

/// The run that a worker holds, and its epoch.
async fn held_by(world: &World, worker: &str) -> Option<(RunId, i64)> {
    let sql = format!(
        "select run || ' ' || epoch from cameo.runs where state = 'running' and worker = '{worker}'"
    );
    let held = world.texts(&sql).await.pop()?;
    let (run, epoch) = held.split_once(' ').expect("a run and an epoch");
    Some((RunId(run.parse().expect("a run")), epoch.parse().expect("an epoch")))
}

/// All that the control plane knows of a run. Only the tables of abandoned generations may go, the mirror may copy it
/// and its snapshot may be made.
async fn everything_of(world: &World, run: RunId) -> Vec<String> {
    let sql = format!(
        "select row_to_json(r)::text from cameo.runs r where run = {run}
         union all
         select (to_jsonb(g) - 'dropped_at')::text from cameo.generations g where run = {run}
         union all
         select to_jsonb(q)::text from cameo.quarantine q where run = {run}
         union all
         select to_jsonb(p)::text from cameo.publications p join cameo.generations g
             using (generation) where g.run = {run}
         union all
         select g.generation || ' ' || o.load_id from cameo.outbox o join cameo.generations g
             using (generation) where g.run = {run}"
    );
    let mut texts = world.texts(&sql).await;
    texts.sort();
    texts
}

fn finish(promise: &str, worlds: Vec<(Tally, Slept)>) {
    let (tallies, slept): (Vec<Tally>, Vec<Slept>) = worlds.into_iter().unzip();
    let sum = |of: fn(&Slept) -> u64| slept.iter().map(of).sum::<u64>();
    tallies.into_iter().sum::<Tally>().finish(
        promise,
        &[
            ("stops", sum(|slept| slept.stops)),
            ("runs that another worker finished meanwhile", sum(|slept| slept.overtaken)),
            ("stale writes that were refused", sum(|slept| slept.refused)),
        ],
    );
}
