//! What happens to the schedulers, and what the oracle says of it.

use std::{collections::HashMap, rc::Rc, thread, time::Instant};

use cameo_domain::{MissedRunPolicy, Schedule};
use cameo_runtime::clock::Clock as _;
use cameo_store::{
    invariants, releases,
    tenants::{self, TenantSettings},
};
use cameo_tests::{Draw, World, at};
use chrono::{DateTime, Duration, Utc};
use chrono_tz::Tz;
use sqlx::{PgConnection, Row};
use tokio::runtime::Runtime;

use super::{
    oracle::{Clock, Minute, Outcome, Rules, Timeline, instant, minute},
    replica::Replica,
};
use crate::releases::release;

const REPLICAS: usize = 3;
const SERVICES: usize = 100;
const TENANTS: usize = 4;
/// A few days before the clocks change in America, a month before they do in Australia.
const BEGINNING: &str = "2026-03-06T12:00:00Z";
/// The first of them is one service's alone: it is due more often than all others together.
const PATTERNS: [&str; 20] = [
    "* * * * *",
    "*/5 * * * *",
    "*/15 * * * *",
    "0,30 * * * *",
    "15 * * * *",
    "0 */6 * * *",
    "10 1-23/2 * * *",
    "30 2 * * *",
    "30 1 * * *",
    "0,45 1,2,3 * * *",
    "0 0 * * *",
    "59 23 * * *",
    "0 18 * * *",
    "0 9 * * 1-5",
    "5 2 * * 0",
    "0 3 1 * *",
    "45 1 1-7 * *",
    "0 12 28-31 * *",
    "30 2 * 3,4 *",
    "0 6 * * 6,0",
];
const ZONES: [Tz; 13] = [
    Tz::UTC,
    Tz::America__New_York,
    Tz::Europe__Berlin,
    Tz::Australia__Lord_Howe,
    Tz::Asia__Kathmandu,
    Tz::America__Sao_Paulo,
    Tz::Africa__Casablanca,
    Tz::Pacific__Chatham,
    Tz::America__St_Johns,
    Tz::Europe__London,
    Tz::Australia__Sydney,
    Tz::Asia__Tehran,
    Tz::Pacific__Kiritimati,
];
const POLICIES: [MissedRunPolicy; 3] =
    [MissedRunPolicy::Latest, MissedRunPolicy::All, MissedRunPolicy::Skip];
const WINDOW_HOURS: [i64; 4] = [24, 1, 60, 31 * 24];
/// A look ends within this: whoever is killed within it dies somewhere in the middle.
const LOOK_LASTS: std::time::Duration = std::time::Duration::from_millis(12);

/// What befalls one of the replicas while all of them look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strike {
    Nothing,
    Death,
    LostConnections,
}

#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) deaths: u64,
    pub(crate) lost_connections: u64,
    pub(crate) outages: u64,
    pub(crate) jumps: u64,
    pub(crate) days: i64,
    pub(crate) instants: u64,
    pub(crate) runs: u64,
    pub(crate) coalesced: u64,
    pub(crate) missed: u64,
    pub(crate) seconds_looking: f64,
}

/// A service as the oracle knows it.
struct Service {
    name: String,
    zone: usize,
    timeline: Timeline,
    rules: Rules,
    /// The first due instant that nobody has decided.
    next: Minute,
}

/// A due instant that was decided by a replica whose clock showed one of `nows`.
struct Decided {
    service: usize,
    due: Minute,
    nows: Rc<[DateTime<Utc>]>,
}

pub(crate) struct Trial {
    pub(crate) draw: Draw,
    runtime: Runtime,
    world: World,
    connection: PgConnection,
    replicas: Vec<Replica>,
    clocks: Vec<Clock>,
    services: Vec<Service>,
    now: DateTime<Utc>,
    skews: [Duration; REPLICAS],
    to_compare: Vec<Decided>,
    figures: Figures,
}

impl Trial {
    pub(crate) fn start(seed: u64) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let now = at(BEGINNING);
        let world = runtime.block_on(World::start());
        let mut clocks: Vec<_> = ZONES.iter().map(|zone| Clock::new(*zone, minute(now))).collect();
        let services = (0..SERVICES).map(|number| service(number, now, &mut clocks)).collect();
        let replicas = (0..REPLICAS).map(|number| Replica::new(&world.place, number)).collect();
        let connection = runtime.block_on(world.connection());
        let trial = Self {
            draw: Draw::new(seed),
            runtime,
            world,
            connection,
            replicas,
            clocks,
            services,
            now,
            skews: [Duration::zero(); REPLICAS],
            to_compare: Vec::new(),
            figures: Figures::default(),
        };
        trial.runtime.block_on(trial.apply());
        trial
    }

    async fn apply(&self) {
        let store = &self.world.store;
        for number in 0..TENANTS {
            let tenant = tenant_of(number).parse().expect("a tenant name");
            let settings = TenantSettings { max_concurrent_runs: 1 };
            tenants::ensure(store, &tenant, &settings).await.expect("a tenant");
        }
        for (number, service) in self.services.iter().enumerate() {
            let (cron, zone) = pattern_of(number);
            let schedule = Schedule::parse(cron, zone.name()).expect("a schedule");
            let new = releases::NewRelease {
                cron: cron.to_owned(),
                timezone: zone.name().to_owned(),
                next_due_at: schedule.next_after(self.now).expect("a due instant"),
                missed_run_policy: service.rules.policy,
                missed_run_window_seconds: service.rules.window.num_seconds().unsigned_abs(),
                ..release(&service.name, 1)
            };
            let found = minute(new.next_due_at);
            assert_eq!(instant(found), instant(service.next), "`{cron}` in {zone}");
            let tenant = tenant_of(number).parse().expect("a tenant name");
            releases::apply(store, &tenant, &new).await.expect("the release is applied");
        }
    }

    /// Nobody looks for a time.
    pub(crate) fn outage(&mut self, length: Duration) {
        self.now += length;
        self.figures.outages += 1;
    }

    pub(crate) fn let_time_pass(&mut self) {
        let seconds = match self.draw.below(1_000) {
            0..700 => between(&mut self.draw, 1, 90),
            700..900 => between(&mut self.draw, 60, 20 * 60),
            900..980 => between(&mut self.draw, 20 * 60, 3 * 3_600),
            980..990 => -between(&mut self.draw, 1, 2 * 3_600),
            _ => 0,
        };
        self.now += Duration::seconds(seconds);
    }

    /// Sets the clock of each replica; now and then one jumps, in either direction, or is set right.
    pub(crate) fn move_clocks(&mut self) {
        const SECONDS: [i64; 14] =
            [1, -1, 30, -30, 120, -120, 3_600, -3_600, -86_400, -30 * 86_400, 7, -45, 900, -900];
        for (replica, skew) in self.replicas.iter().zip(&mut self.skews) {
            let jumps = match self.draw.below(1_000) {
                0..60 => Some(self.draw.one_of(&SECONDS)),
                60..62 => Some(86_400),
                62..160 => Some(0),
                _ => None,
            };
            if let Some(seconds) = jumps {
                self.figures.jumps += u64::from(*skew != Duration::seconds(seconds));
                *skew = Duration::seconds(seconds);
            }
            replica.clock.set(self.now + *skew);
        }
    }

    /// All replicas look at once, and one of them is struck; then one that was not looks until nothing is due.
    pub(crate) fn round(&mut self, strike: Strike) {
        let nows: Rc<[_]> = self.replicas.iter().map(|replica| replica.clock.now()).collect();
        let (struck, sound) = match self.draw.below(6) {
            0 => (0, 1),
            1 => (0, 2),
            2 => (1, 0),
            3 => (1, 2),
            4 => (2, 0),
            _ => (2, 1),
        };
        let looks: Vec<_> = self.replicas.iter_mut().map(Replica::tick).collect();
        let begun = Instant::now();
        match strike {
            Strike::Nothing => {}
            Strike::Death => {
                thread::sleep(self.draw.shorter_than(LOOK_LASTS));
                self.replicas[struck].die();
                self.figures.deaths += 1;
            }
            Strike::LostConnections => {
                thread::sleep(self.draw.shorter_than(LOOK_LASTS));
                let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                           where application_name = $1 and pid <> pg_backend_pid()";
                let cut = sqlx::query(cut).bind(&self.replicas[struck].name);
                self.runtime.block_on(cut.execute(&mut self.connection)).expect("a superuser");
                self.figures.lost_connections += 1;
            }
        }
        for (number, look) in looks.into_iter().enumerate() {
            let looked = self.runtime.block_on(look);
            let may_fail = number == struck && strike != Strike::Nothing;
            assert!(may_fail || matches!(looked, Ok(Ok(()))), "replica {number}: {looked:?}");
        }
        self.figures.seconds_looking += begun.elapsed().as_secs_f64();
        self.settle(sound, &nows);
    }

    /// Looks until nothing is due for a replica, and takes note of what was decided. What a dead replica held
    /// is free as soon as Postgres notices.
    fn settle(&mut self, sound: usize, nows: &Rc<[DateTime<Utc>]>) {
        let now = nows[sound];
        let patience = Instant::now() + cameo_tests::PATIENCE;
        let next = loop {
            let look = self.replicas[sound].tick();
            self.runtime.block_on(look).expect("it lives").expect("the database answers");
            let next = self.next_due();
            if next.iter().all(|next| instant(*next) > now) {
                break next;
            }
            assert!(Instant::now() < patience, "at {now} something stays due");
            thread::sleep(std::time::Duration::from_millis(1));
        };
        for (number, next) in next.into_iter().enumerate() {
            let service = &mut self.services[number];
            let clock = &mut self.clocks[service.zone];
            assert!(next >= service.next, "{} went back", service.name);
            assert_eq!(
                instant(service.timeline.first_from(clock, next)),
                instant(next),
                "{} waits for an instant that is none",
                service.name
            );
            for due in service.timeline.between(clock, service.next, next) {
                self.to_compare.push(Decided { service: number, due, nows: Rc::clone(nows) });
            }
            service.next = next;
        }
    }

    /// What each service waits for.
    fn next_due(&mut self) -> Vec<Minute> {
        let query = sqlx::query_scalar("select next_due_at from cameo.services order by service");
        let next: Vec<DateTime<Utc>> =
            self.runtime.block_on(query.fetch_all(&mut self.connection)).expect("an answer");
        assert!(next.iter().all(|next| instant(minute(*next)) == *next), "{next:?}");
        next.into_iter().map(minute).collect()
    }

    /// Compares what was decided since the last time with the oracle.
    pub(crate) fn compare(&mut self) {
        let found = self.found();
        for Decided { service, due, nows } in self.to_compare.drain(..) {
            let service = &mut self.services[service];
            let clock = &mut self.clocks[service.zone];
            let found = found.get(&(service.name.clone(), due));
            let expected: Vec<_> = nows
                .iter()
                .filter(|now| instant(due) <= **now)
                .map(|now| {
                    let latest = service.timeline.last_until(clock, minute(*now));
                    service.rules.outcome(due, latest, *now)
                })
                .collect();
            let fits = found.is_some_and(|found| expected.contains(found));
            let due = instant(due);
            assert!(fits, "{} at {due}: {found:?}, expected one of {expected:?}", service.name);
            self.figures.instants += 1;
            match found {
                Some(Outcome::Run) => self.figures.runs += 1,
                Some(Outcome::Coalesced { .. }) => self.figures.coalesced += 1,
                _ => self.figures.missed += 1,
            }
        }
        let count = "select (select count(*) from cameo.due_instants),
                            (select count(*) from cameo.runs)";
        let query = sqlx::query_as(count).fetch_one(&mut self.connection);
        let (instants, runs): (i64, i64) = self.runtime.block_on(query).expect("an answer");
        let found = (instants.unsigned_abs(), runs.unsigned_abs());
        assert_eq!(found, (self.figures.instants, self.figures.runs), "due instants and runs");
    }

    /// What the database says of the instants that are to be compared.
    fn found(&mut self) -> HashMap<(String, Minute), Outcome> {
        let (mut names, mut instants) = (Vec::new(), Vec::new());
        for decided in &self.to_compare {
            names.push(self.services[decided.service].name.as_str());
            instants.push(instant(decided.due));
        }
        let query = sqlx::query(
            "select i.service, i.due_at, i.outcome, i.coalesced_into, i.reason
             from unnest($1::text[], $2::timestamptz[]) as d (service, due_at)
             join cameo.due_instants i using (service, due_at)",
        );
        let query = query.bind(names).bind(instants).fetch_all(&mut self.connection);
        let rows = self.runtime.block_on(query).expect("an answer");
        let outcome = |row: &sqlx::postgres::PgRow| match row.get("outcome") {
            "run" => Outcome::Run,
            "coalesced" => Outcome::Coalesced { into: minute(row.get("coalesced_into")) },
            _ if row.get::<&str, _>("reason").contains("window") => Outcome::TooOld,
            _ => Outcome::Skipped,
        };
        let key = |row: &sqlx::postgres::PgRow| (row.get("service"), minute(row.get("due_at")));
        rows.iter().map(|row| (key(row), outcome(row))).collect()
    }

    /// Looks for breaches of anything that must hold, and gives the figures.
    pub(crate) fn end(mut self) -> Figures {
        self.figures.days = (self.now - at(BEGINNING)).num_days();
        let breaches = self.runtime.block_on(invariants::check(&self.world.store));
        let breaches = breaches.expect("the check");
        assert!(breaches.is_empty(), "{breaches:#?}");
        let world = self.world;
        self.runtime.block_on(async move { drop(world) });
        self.figures
    }
}

/// A number from `least` to `most`.
fn between(draw: &mut Draw, least: i64, most: i64) -> i64 {
    least + i64::try_from(draw.below((most - least + 1).unsigned_abs())).expect("a small number")
}

fn tenant_of(service: usize) -> String {
    format!("tenant{}", service % TENANTS)
}

fn pattern_of(service: usize) -> (&'static str, Tz) {
    let often = usize::from(service > 0 && service.is_multiple_of(PATTERNS.len()));
    (PATTERNS[service % PATTERNS.len() + often], ZONES[service * 5 % ZONES.len()])
}

fn service(number: usize, now: DateTime<Utc>, clocks: &mut [Clock]) -> Service {
    let zone = number * 5 % ZONES.len();
    let mut timeline = Timeline::new(pattern_of(number).0, &clocks[zone]);
    let rules = Rules {
        policy: POLICIES[number % POLICIES.len()],
        window: Duration::hours(WINDOW_HOURS[number / 3 % WINDOW_HOURS.len()]),
    };
    let next = timeline.first_from(&mut clocks[zone], minute(now) + 1);
    Service { name: format!("service{number:02}"), zone, timeline, rules, next }
}
