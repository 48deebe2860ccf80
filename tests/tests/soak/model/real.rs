//! The store itself, asked by several workers.

use cameo_domain::{Reason, ReleaseId, RunId, ServicePath, Stage, TenantName};
use cameo_store::{
    By, Store, StoreError,
    generations::{self, Generation, Outcome, Releases, Writer},
    outbox::{self, MirrorTask},
    releases::{self, NewRelease, Promotion},
    runs::{self, ClaimedRun, Progress},
    verdicts::{self, Limits},
};
use chrono::{DateTime, Duration, Utc};
use tokio::sync::Mutex;

use super::{
    reference::{Answer, RUNS_MAX, VersionOrder, requested_at},
    step::{GivingUp, MIRRORS, SERVICES, Step, VERSIONS, WORKERS},
    view::Names,
};
use crate::{
    ground::{Ground, LEASE_SECONDS, batch, counts, meta},
    releases::release,
};

/// What a worker has in hand.
#[derive(Default)]
struct Worker {
    claim: Option<ClaimedRun>,
    generation: Option<Generation>,
    sealed: Option<cameo_batch::RowDigest>,
}

/// A tenant with services, workers and mirrors of its own.
pub(crate) struct Case<'g> {
    ground: &'g Ground,
    pub(crate) tenant: TenantName,
    pub(crate) paths: Vec<ServicePath>,
    pub(crate) versions: Vec<[ReleaseId; VERSIONS]>,
    workers: [Mutex<Worker>; WORKERS],
    mirrors: [Mutex<Option<MirrorTask>>; MIRRORS],
}

impl<'g> Case<'g> {
    /// A tenant of which the first version of each service is in production.
    pub(crate) async fn start(ground: &'g Ground, number: u32, first: DateTime<Utc>) -> Self {
        let tenant = ground.tenant(&format!("case{number}"), RUNS_MAX).await;
        let (mut paths, mut versions) = (Vec::new(), Vec::new());
        for service in 0..SERVICES {
            let name = format!("service{service}");
            let path = ServicePath::new(tenant.clone(), name.parse().expect("a name"));
            let of = |version: u32| NewRelease { next_due_at: first, ..release(&name, version) };
            let all: [NewRelease; VERSIONS] = [
                of(1),
                NewRelease { stage: Stage::Candidate, ..of(2) },
                NewRelease { stage: Stage::Candidate, ..of(3) },
            ];
            for new in &all {
                ground.apply(&path, new).await;
            }
            paths.push(path);
            versions.push(all.map(|new| new.release));
        }
        let (workers, mirrors) = (Default::default(), Default::default());
        Self { ground, tenant, paths, versions, workers, mirrors }
    }

    pub(crate) fn store(&self) -> &Store {
        self.ground.store()
    }

    /// In which order runs of several versions for one instant are made.
    pub(crate) fn orders(&self) -> Vec<VersionOrder> {
        let order = |versions: &[ReleaseId; VERSIONS]| {
            let mut order: VersionOrder = std::array::from_fn(|version| version);
            order.sort_by_key(|version| versions[*version].to_string());
            order
        };
        self.versions.iter().map(order).collect()
    }

    /// Does it, and gives what was answered. `names` are those from before.
    pub(crate) async fn take(&self, step: Step, now: DateTime<Utc>, names: &Names) -> Answer<i64> {
        match step {
            Step::Tick { hours } => {
                self.ground.world.clock.set(now + Duration::hours(hours));
                self.ground.world.tick().await;
                Answer::Done
            }
            Step::Request { service, hours, seconds } => {
                let (path, due_at) = (&self.paths[service], requested_at(hours, seconds));
                let key = due_at.to_rfc3339();
                let (tenant, service) = (&path.tenant, &path.service);
                runs::create_manual(self.store(), tenant, service, &key, due_at, "soak")
                    .await
                    .map_or_else(
                        |error| refused(&error),
                        |asked| Answer::Run(asked.into_run().run.0),
                    )
            }
            Step::Cancel { nth } => match names.runs.get(nth) {
                None => Answer::Nothing,
                Some(run) => {
                    done(runs::cancel(self.store(), &self.tenant, RunId(*run), "ann").await)
                }
            },
            Step::Next { .. } => panic!("a step is resolved before it is taken"),
            Step::Claim { worker } => self.claim(worker).await,
            Step::Heartbeat { worker } => {
                let worker = self.workers[worker].lock().await;
                let Some(run) = &worker.claim else { return Answer::Nothing };
                let progress = Progress::default();
                let lease = LEASE_SECONDS;
                done(runs::heartbeat(self.store(), run.run, run.epoch, lease, &progress).await)
            }
            Step::Begin { worker } => self.begin(worker).await,
            Step::Write { worker, rows } => self.write(worker, rows).await,
            Step::Publish { worker } => self.publish(worker).await,
            Step::GiveUp { worker, how } => self.give_up(worker, how).await,
            Step::Expire { worker } => self.expire(worker).await,
            Step::Promote { service, version, to } => {
                let promotion = Promotion {
                    path: self.paths[service].clone(),
                    release: self.versions[service][version],
                    to,
                    reason: None,
                    by: By::new("ann", "soak"),
                    now,
                };
                done(releases::promote(self.store(), &promotion).await)
            }
            Step::RollBack { service, follow } => {
                let follow = if follow { Releases::Follow } else { Releases::Keep };
                let (service, by) = (&self.paths[service].service, By::new("ann", "soak"));
                generations::rollback(self.store(), &self.tenant, service, None, follow, &by)
                    .await
                    .map_or_else(|error| refused(&error), |back| Answer::Generation(back.to.0))
            }
            Step::Compare => {
                let verdict = verdicts::decide_next(self.store(), limits).await;
                let verdict = verdict.expect("a comparison");
                verdict.map_or(Answer::Nothing, |verdict| Answer::Run(verdict.run.0))
            }
            Step::Retain => {
                generations::refresh_views(self.store()).await.expect("views");
                let dropped = generations::retain_after(self.store(), 0).await.expect("tables");
                Answer::Generations(dropped.into_iter().map(|generation| generation.0).collect())
            }
            Step::MirrorClaim { mirror } => {
                let mut mirror = self.mirrors[mirror].lock().await;
                let task = outbox::claim(self.store(), LEASE_SECONDS, None).await.expect("a claim");
                let Some(task) = task else { return Answer::Nothing };
                let generation = task.generation.0;
                *mirror = Some(task);
                Answer::Generation(generation)
            }
            Step::MirrorComplete { mirror } => {
                let mirror = self.mirrors[mirror].lock().await;
                let Some(task) = mirror.as_ref() else { return Answer::Nothing };
                done(outbox::complete(self.store(), task, task.digest, task.digest).await)
            }
            Step::MirrorExpire { mirror } => {
                let mirror = self.mirrors[mirror].lock().await;
                let Some(task) = mirror.as_ref() else { return Answer::Nothing };
                self.sql(format!(
                    "update cameo.outbox set lease_expires_at = now() - interval '1 s'
                     where generation = {} and epoch = {} and state = 'pending'",
                    task.generation, task.epoch
                ))
                .await;
                Answer::Done
            }
        }
    }

    async fn claim(&self, worker: usize) -> Answer<i64> {
        let mut worker = self.workers[worker].lock().await;
        let run = runs::claim(self.store(), "soak", LEASE_SECONDS).await.expect("a claim");
        let Some(run) = run else { return Answer::Nothing };
        let number = run.run.0;
        *worker = Worker { claim: Some(run), ..Worker::default() };
        Answer::Run(number)
    }

    async fn begin(&self, worker: usize) -> Answer<i64> {
        let mut worker = self.workers[worker].lock().await;
        let Worker { claim: Some(run), generation: None, .. } = &*worker else {
            return Answer::Nothing;
        };
        match generations::begin(self.store(), run, &meta(run)).await {
            Err(error) => refused(&error),
            Ok(generation) => {
                let number = generation.id.0;
                worker.generation = Some(generation);
                Answer::Generation(number)
            }
        }
    }

    async fn write(&self, worker: usize, rows: u8) -> Answer<i64> {
        let mut worker = self.workers[worker].lock().await;
        let Worker { generation: Some(generation), sealed: None, .. } = &*worker else {
            return Answer::Nothing;
        };
        let written = async {
            let mut writer = Writer::open(self.store(), generation).await?;
            writer.send(&batch(0..i64::from(rows))).await?;
            let sent = writer.finish().await?;
            let sealed = generations::seal(self.store(), generation).await?;
            assert_eq!(sent, sealed, "what arrived is what was sent");
            Ok::<_, StoreError>(sealed)
        };
        match written.await {
            // Whose claim was lost may find its table gone, or filled by an attempt to write before.
            Err(error) => {
                assert!(!error.is_transient(), "{error:?}");
                Answer::Refused
            }
            Ok(digest) => {
                worker.sealed = Some(digest);
                Answer::Done
            }
        }
    }

    async fn publish(&self, worker: usize) -> Answer<i64> {
        let worker = self.workers[worker].lock().await;
        let Worker { claim: Some(run), generation: Some(generation), sealed: Some(digest) } =
            &*worker
        else {
            return Answer::Nothing;
        };
        let counts = counts(*digest);
        let (store, epoch) = (self.store(), run.epoch);
        match generations::publish(store, run.run, epoch, generation, *digest, &counts).await {
            Ok(Outcome::Published | Outcome::Shadowed) => Answer::Done,
            Ok(Outcome::Superseded { by }) => Answer::Superseded(by.0),
            Err(error) => refused(&error),
        }
    }

    async fn give_up(&self, worker: usize, how: GivingUp) -> Answer<i64> {
        let worker = self.workers[worker].lock().await;
        let Some(run) = &worker.claim else { return Answer::Nothing };
        let (store, number, epoch) = (self.store(), run.run, run.epoch);
        let reason = Reason::new("soak", "the worker gives it up");
        let long_ago = Utc::now() - Duration::days(1);
        let state = match how {
            GivingUp::Requeue => runs::requeue(store, number, epoch, reason, long_ago).await,
            GivingUp::HandBack => runs::hand_back(store, number, epoch, reason).await,
            GivingUp::Halt => runs::halt(store, number, epoch, reason).await,
            GivingUp::Fail => runs::fail(store, number, epoch, reason).await,
        };
        state.map_or_else(|error| refused(&error), Answer::State)
    }

    async fn expire(&self, worker: usize) -> Answer<i64> {
        let worker = self.workers[worker].lock().await;
        let Some(run) = &worker.claim else { return Answer::Nothing };
        self.sql(format!(
            "update cameo.runs set lease_expires_at = now() - interval '1 s'
             where run = {} and epoch = {} and state = 'running'",
            run.run, run.epoch
        ))
        .await;
        let expired = runs::expire_leases(self.store()).await.expect("an answer");
        expired.first().map_or(Answer::Nothing, |run| Answer::Run(run.0))
    }

    async fn sql(&self, sql: String) {
        self.ground.world.sql(&sql).await;
    }

    /// Ends all that waits, so that other cases are not met by it.
    pub(crate) async fn end(&self) {
        let tenant = &self.tenant;
        self.sql(format!(
            "update cameo.services set next_due_at = '2100-01-01' where tenant = '{tenant}'"
        ))
        .await;
        self.ground.release(tenant).await;
        self.sql(format!(
            "update cameo.runs set state = 'cancelled', finished_at = now(),
                 reason = '{{\"code\": \"cancelled\", \"message\": \"the case is over\"}}'
             where state = 'queued' and tenant = '{tenant}'"
        ))
        .await;
        self.sql(format!(
            "update cameo.outbox set lease_expires_at = null where tenant = '{tenant}'"
        ))
        .await;
        let store = self.store();
        while let Some(task) = outbox::claim(store, LEASE_SECONDS, None).await.expect("a claim") {
            outbox::complete(store, &task, task.digest, task.digest).await.expect("mirrored");
        }
        while verdicts::decide_next(store, limits).await.expect("a comparison").is_some() {}
    }
}

fn done<T>(answer: Result<T, StoreError>) -> Answer<i64> {
    answer.map_or_else(|error| refused(&error), |_| Answer::Done)
}

/// A refusal is what the model foresees; that the database could not be asked is not.
fn refused(error: &StoreError) -> Answer<i64> {
    assert!(!error.is_transient() && !matches!(error, StoreError::Database(_)), "{error:?}");
    Answer::Refused
}

fn limits(_: &serde_json::Value) -> Limits {
    Limits {
        duration_ratio_max: 1_000.0,
        memory_ratio_max: 1_000.0,
        mean_shift_max: 1.0,
        psi_max: 1.0,
        changed_share_max: 1.0,
    }
}
