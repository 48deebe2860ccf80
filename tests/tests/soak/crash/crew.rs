//! Two workers, a scheduler and a mirror at work on four small services, each a process of its own.

use cameo_tests::{
    Draw, Fate, Orders, PATIENCE, Place, Process, Role, Service, World, at, eventually,
};
use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};

use super::{
    LEASE_SECONDS, ROWS, end_leases, next_hour, service,
    tally::{Tally, assert_whole, tally},
};

const SERVICES: [(&str, &str); 4] =
    [("crm", "churn"), ("crm", "clv"), ("marketing", "gender"), ("marketing", "reach")];
const MEMBERS: [(Role, &str); 4] = [
    (Role::Worker, "worker-a"),
    (Role::Worker, "worker-b"),
    (Role::Scheduler, "scheduler-a"),
    (Role::Mirror, "mirror-a"),
];
/// No hour passes while so many instants are still to be published: runs wait, but not ever longer.
const BACKLOG_MAX: u64 = 8;

/// A process of the crew.
pub(super) struct Member {
    role: Role,
    pub(super) name: &'static str,
    pub(super) process: Process,
}

/// The processes of a world.
pub(super) struct Crew<'w> {
    world: &'w World,
    place: Place,
    pub(super) members: Vec<Member>,
    services: Vec<Service<'w>>,
    hour: DateTime<Utc>,
    instants: u64,
}

impl<'w> Crew<'w> {
    /// Applies the services and starts the processes, which find the world at `place`.
    pub(super) async fn start(world: &'w World, place: Place) -> Self {
        let mut services = Vec::new();
        for (tenant, name) in SERVICES {
            world.customers(tenant, ROWS, 1.0).await;
            services.push(service(world, tenant, name).await);
        }
        let members =
            MEMBERS.map(|(role, name)| Member { role, name, process: join(&place, role, name) });
        let (hour, members) = (at("2024-03-01T00:00:00Z"), members.into());
        Self { world, place, members, services, hour, instants: 0 }
    }

    /// An hour passes, unless there is much to do: then each service has one more instant.
    pub(super) async fn hour_passes(&mut self) {
        if self.instants.saturating_sub(self.published().await) < BACKLOG_MAX {
            self.an_hour_passes();
        }
    }

    /// An hour passes, whatever there is to do.
    pub(super) fn an_hour_passes(&mut self) {
        self.hour = next_hour(self.hour);
        self.instants += SERVICES.len() as u64;
        self.place.tell_time(self.hour);
    }

    /// Instants that are published; waits while Postgres is away.
    async fn published(&self) -> u64 {
        let sql = "select count(*) from cameo.generations where state = 'published'";
        eventually("Postgres answers", async || {
            let url = &self.world.place.database_url;
            let mut connection = PgConnection::connect(url).await.ok()?;
            let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection).await.ok()?;
            Some(count.unsigned_abs())
        })
        .await
    }

    /// Waits until every process has done something.
    pub(super) async fn all_are_in(&self) {
        eventually("the crew has published and mirrored", async || {
            let lag = cameo_store::outbox::lag(&self.world.store).await.ok()?;
            (self.published().await == self.instants && lag.pending == 0).then_some(())
        })
        .await;
        for worker in self.workers() {
            let name = self.members[worker].name;
            let sql = format!(
                "select 1::text from pg_stat_activity
                 where datname = current_database() and application_name = '{name}' limit 1"
            );
            eventually(&format!("{name} is connected"), async || {
                self.world.texts(&sql).await.pop()
            })
            .await;
        }
    }

    /// The members that are workers.
    pub(super) fn workers(&self) -> Vec<usize> {
        let all = 0..self.members.len();
        all.filter(|which| self.members[*which].role == Role::Worker).collect()
    }

    /// Kills a process and starts another one in its place.
    pub(super) async fn kill(&mut self, which: usize) {
        let member = &mut self.members[which];
        member.process.kill();
        end_leases(self.world, member.name).await;
        if member.role == Role::Mirror {
            let sql = "update cameo.outbox set lease_expires_at = clock_timestamp()
                       where state = 'pending' and lease_expires_at is not null";
            self.world.sql(sql).await;
        }
        member.process = join(&self.place, member.role, member.name);
    }

    /// What readers of one service see is whole, and no invariant is broken.
    pub(super) async fn look(&self, draw: &mut Draw, after: &str) {
        let which = draw.below(SERVICES.len() as u64);
        let service = &self.services[usize::try_from(which).expect("an index")];
        assert_whole(self.world, service, after).await;
    }

    /// What keeps the crew from being done.
    async fn left(&self) -> String {
        let runs = "select format('run %s of %s/%s: %s, attempt %s, not before %s, lease until %s, %s', run, tenant,
                service, state, attempt, not_before, lease_expires_at, reason)
            from cameo.runs where state <> 'published'";
        let copies = "select format('copy of %s: attempt %s, not before %s, lease until %s, %s', generation, attempts,
                not_before, lease_expires_at, reason)
            from cameo.outbox where state = 'pending'";
        let sessions = "select format('%s: %s %s for %s: %s', application_name, state, wait_event,
                now() - state_change, left(query, 80))
            from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
        let mut left =
            vec![format!("{} instants, {} published", self.instants, self.published().await)];
        for sql in [runs, copies, sessions] {
            left.extend(self.world.texts(sql).await);
        }
        left.join("\n")
    }

    /// Lets the crew finish what is due; gives what became of it.
    pub(super) async fn settle(mut self) -> Tally {
        let settled = eventually("every instant is published, and mirrored", async || {
            let published = self.published().await;
            let waiting = cameo_store::outbox::lag(&self.world.store).await.ok()?.pending;
            (published == self.instants && waiting == 0).then_some(())
        });
        let told_at = tokio::time::sleep(PATIENCE * 9 / 10);
        tokio::select! {
            () = settled => {}
            () = told_at => panic!("{}", self.left().await),
        }
        // Nobody drops a table while it is counted.
        self.members.clear();
        for service in &self.services {
            assert_whole(self.world, service, "the end").await;
            let newest = &service.generations().await[0];
            let (tenant, name) = (&service.path.tenant, &service.path.service);
            let copy = self.world.warehouse.digest(tenant, name, newest.generation).await;
            assert_eq!(
                copy.ok(),
                newest.digest,
                "the copy of {} {}",
                service.path,
                newest.generation
            );
        }
        tally(self.world, self.instants).await
    }
}

fn join(place: &Place, role: Role, name: &str) -> Process {
    Process::start(&Orders { place, role, name, lease_seconds: LEASE_SECONDS, fate: Fate::Works })
}
