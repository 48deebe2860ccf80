//! What should be the case: the same promises as the store's, without a database, in memory.

use cameo_domain::{RunState, Stage};
use chrono::{DateTime, Duration, Utc};

use super::step::{GivingUp, MIRRORS, SERVICES, Step, VERSIONS, WORKERS};

/// Runs of the tenant that may run at once.
pub(crate) const RUNS_MAX: u32 = 2;
/// How often a run is tried.
pub(crate) const ATTEMPTS_MAX: u32 = 3;
/// Generations that a service keeps.
pub(crate) const KEPT: usize = 2;
/// How late a due instant is still worth running.
pub(crate) const WINDOW_HOURS: i64 = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GenerationState {
    Loading,
    Abandoned,
    Published,
    Retired,
    Shadowed,
}

/// Runs and generations are named by their place in the order in which they were made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    pub(crate) service: usize,
    pub(crate) version: usize,
    pub(crate) due_at: DateTime<Utc>,
    pub(crate) beside: bool,
    pub(crate) state: RunState,
    pub(crate) epoch: u32,
    pub(crate) attempt: u32,
    pub(crate) generation: Option<usize>,
    pub(crate) compared: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Generation {
    pub(crate) run: usize,
    pub(crate) epoch: u32,
    pub(crate) state: GenerationState,
    pub(crate) rows: Option<u64>,
    pub(crate) dropped: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Service {
    pub(crate) stages: [Stage; VERSIONS],
    pub(crate) next_due_at: DateTime<Utc>,
    pub(crate) current: Option<usize>,
}

/// An entry of the ledger of publications.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) service: usize,
    pub(crate) is_rollback: bool,
    pub(crate) generation: usize,
    pub(crate) previous: Option<usize>,
}

/// A copy that the mirror has made or has still to make.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Copy {
    pub(crate) generation: usize,
    pub(crate) mirrored: bool,
    pub(crate) epoch: u32,
    pub(crate) leased: bool,
}

/// What a due instant has come to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Due {
    pub(crate) service: usize,
    pub(crate) at: DateTime<Utc>,
    pub(crate) outcome: &'static str,
    pub(crate) into: Option<DateTime<Utc>>,
}

/// What a worker believes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Worker {
    /// Run and epoch.
    pub(crate) claim: Option<(usize, u32)>,
    pub(crate) generation: Option<usize>,
    pub(crate) sealed: bool,
    pub(crate) done: bool,
}

/// What somebody is answered. `I` names runs and generations.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer<I> {
    /// There was nothing to do, or to do it with.
    Nothing,
    Done,
    Refused,
    Run(I),
    State(RunState),
    Generation(I),
    Generations(Vec<I>),
    Superseded(I),
}

/// By the database's own order, where two releases run beside one production.
pub(crate) type VersionOrder = [usize; VERSIONS];

#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) now: DateTime<Utc>,
    pub(crate) services: Vec<Service>,
    pub(crate) runs: Vec<Run>,
    pub(crate) generations: Vec<Generation>,
    pub(crate) ledger: Vec<Entry>,
    pub(crate) copies: Vec<Copy>,
    pub(crate) due: Vec<Due>,
    pub(crate) workers: [Worker; WORKERS],
    pub(crate) mirrors: [Option<(usize, u32)>; MIRRORS],
    orders: Vec<VersionOrder>,
}

impl Model {
    pub(crate) fn new(now: DateTime<Utc>, first: DateTime<Utc>, orders: Vec<VersionOrder>) -> Self {
        let service = Service {
            stages: [Stage::Production, Stage::Candidate, Stage::Candidate],
            next_due_at: first,
            current: None,
        };
        Self {
            now,
            services: vec![service; SERVICES],
            runs: Vec::new(),
            generations: Vec::new(),
            ledger: Vec::new(),
            copies: Vec::new(),
            due: Vec::new(),
            workers: Default::default(),
            mirrors: Default::default(),
            orders,
        }
    }

    /// What a step comes to, before anything else happens: what a worker does next, at which instant a run is
    /// asked for. `serial` tells steps apart.
    pub(crate) fn resolve(&self, step: Step, serial: i64) -> Step {
        let worker = match step {
            Step::Request { service, hours, .. } => {
                return Step::Request { service, hours, seconds: serial };
            }
            Step::Next { worker } => worker,
            _ => return step,
        };
        let known = self.workers[worker];
        match known {
            Worker { claim: None, .. } | Worker { done: true, .. } => Step::Claim { worker },
            Worker { generation: None, .. } => Step::Begin { worker },
            Worker { sealed: false, .. } => Step::Write { worker, rows: 5 },
            Worker { .. } => Step::Publish { worker },
        }
    }

    /// What is answered, and what is the case from then on.
    pub(crate) fn take(&mut self, step: Step) -> Answer<usize> {
        match step {
            Step::Tick { hours } => self.tick(hours),
            Step::Request { service, hours, seconds } => {
                self.request(service, requested_at(hours, seconds))
            }
            Step::Cancel { nth } => self.cancel(nth),
            Step::Next { .. } => panic!("a step is resolved before it is taken"),
            Step::Claim { worker } => self.claim(worker),
            Step::Heartbeat { worker } => match self.workers[worker].claim {
                None => Answer::Nothing,
                Some(_) if self.held(worker).is_some() => Answer::Done,
                Some(_) => Answer::Refused,
            },
            Step::Begin { worker } => self.begin(worker),
            Step::Write { worker, rows } => self.write(worker, rows),
            Step::Publish { worker } => self.publish(worker),
            Step::GiveUp { worker, how } => self.give_up(worker, how),
            Step::Expire { worker } => self.expire(worker),
            Step::Promote { service, version, to } => self.promote(service, version, to),
            Step::RollBack { service, follow } => self.roll_back(service, follow),
            Step::Compare => self.compare(),
            Step::Retain => self.retain(),
            Step::MirrorClaim { mirror } => self.mirror_claim(mirror),
            Step::MirrorComplete { mirror } => self.mirror_complete(mirror),
            Step::MirrorExpire { mirror } => self.mirror_expire(mirror),
        }
    }

    fn version_in(&self, service: usize, stage: Stage) -> Option<usize> {
        self.services[service].stages.iter().position(|found| *found == stage)
    }

    fn new_run(&mut self, service: usize, version: usize, due_at: DateTime<Utc>, beside: bool) {
        let (state, generation) = (RunState::Queued, None);
        let (epoch, attempt, compared) = (0, 0, false);
        self.runs.push(Run {
            service,
            version,
            due_at,
            beside,
            state,
            epoch,
            attempt,
            generation,
            compared,
        });
    }

    fn new_runs_beside(&mut self, service: usize, due_at: DateTime<Utc>) {
        for version in self.orders[service] {
            if self.services[service].stages[version].runs_beside() {
                self.new_run(service, version, due_at, true);
            }
        }
    }

    fn tick(&mut self, hours: i64) -> Answer<usize> {
        self.now += Duration::hours(hours);
        let mut order: Vec<usize> = (0..SERVICES).collect();
        order.sort_by_key(|service| (self.services[*service].next_due_at, *service));
        let mut to_run = Vec::new();
        for service in order {
            let mut instants = Vec::new();
            while self.services[service].next_due_at <= self.now {
                instants.push(self.services[service].next_due_at);
                self.services[service].next_due_at += Duration::days(1);
            }
            let Some(latest) = instants.last().copied() else { continue };
            for at in instants {
                let too_old = self.now - at > Duration::hours(WINDOW_HOURS);
                let (outcome, into) = match at {
                    _ if too_old => ("missed", None),
                    at if at < latest => ("coalesced", Some(latest)),
                    _ => ("run", None),
                };
                self.due.push(Due { service, at, outcome, into });
                if outcome == "run" {
                    to_run.push((service, at));
                }
            }
        }
        for (service, at) in &to_run {
            let version = self.version_in(*service, Stage::Production).expect("one is");
            self.new_run(*service, version, *at, false);
        }
        for (service, at) in to_run {
            self.new_runs_beside(service, at);
        }
        Answer::Done
    }

    fn request(&mut self, service: usize, due_at: DateTime<Utc>) -> Answer<usize> {
        let version = self.version_in(service, Stage::Production).expect("one is");
        self.new_run(service, version, due_at, false);
        let run = self.runs.len() - 1;
        self.new_runs_beside(service, due_at);
        Answer::Run(run)
    }

    fn cancel(&mut self, nth: usize) -> Answer<usize> {
        match self.runs.get_mut(nth) {
            None => Answer::Nothing,
            Some(run) if run.state == RunState::Queued => {
                run.state = RunState::Cancelled;
                Answer::Done
            }
            Some(_) => Answer::Refused,
        }
    }

    fn may_be_claimed(&self, run: &Run) -> bool {
        let running = |of: &dyn Fn(&&Run) -> bool| {
            self.runs.iter().filter(|run| run.state == RunState::Running).filter(of).count()
        };
        let alone =
            running(&|other| other.service == run.service && other.beside == run.beside) == 0;
        let counted = running(&|other| run.beside || !other.beside);
        let production_waits = run.beside
            && self.runs.iter().any(|other| {
                !other.beside
                    && other.service == run.service
                    && other.due_at <= run.due_at
                    && matches!(other.state, RunState::Queued | RunState::Running)
            });
        run.state == RunState::Queued && alone && !production_waits && counted < RUNS_MAX as usize
    }

    fn claim(&mut self, worker: usize) -> Answer<usize> {
        let waiting = self.runs.iter().enumerate().filter(|(_, run)| self.may_be_claimed(run));
        let next = waiting.min_by_key(|(number, run)| (run.beside, run.due_at, *number));
        let Some((number, _)) = next else { return Answer::Nothing };
        let run = &mut self.runs[number];
        run.state = RunState::Running;
        run.epoch += 1;
        run.attempt += 1;
        self.workers[worker] = Worker { claim: Some((number, run.epoch)), ..Worker::default() };
        Answer::Run(number)
    }

    /// The run of a worker, where its claim is the one that counts.
    fn held(&self, worker: usize) -> Option<usize> {
        let (run, epoch) = self.workers[worker].claim?;
        let found = &self.runs[run];
        (found.state == RunState::Running && found.epoch == epoch).then_some(run)
    }

    /// The worker learns that its claim is lost, and looks for another run.
    fn refuse(&mut self, worker: usize) -> Answer<usize> {
        self.workers[worker].done = true;
        Answer::Refused
    }

    fn abandon(&mut self, run: usize) {
        for generation in &mut self.generations {
            if generation.run == run && generation.state == GenerationState::Loading {
                generation.state = GenerationState::Abandoned;
            }
        }
    }

    fn begin(&mut self, worker: usize) -> Answer<usize> {
        if self.workers[worker].claim.is_none() || self.workers[worker].generation.is_some() {
            return Answer::Nothing;
        }
        let Some(run) = self.held(worker) else { return self.refuse(worker) };
        self.abandon(run);
        let (epoch, state) = (self.runs[run].epoch, GenerationState::Loading);
        self.generations.push(Generation { run, epoch, state, rows: None, dropped: false });
        self.workers[worker].generation = Some(self.generations.len() - 1);
        Answer::Generation(self.generations.len() - 1)
    }

    fn write(&mut self, worker: usize, rows: u8) -> Answer<usize> {
        let Worker { generation: Some(generation), sealed: false, .. } = self.workers[worker]
        else {
            return Answer::Nothing;
        };
        if self.held(worker).is_none() {
            return self.refuse(worker);
        }
        self.generations[generation].rows = Some(u64::from(rows));
        self.workers[worker].sealed = true;
        Answer::Done
    }

    fn publish(&mut self, worker: usize) -> Answer<usize> {
        let Worker { claim: Some((run, _)), generation: Some(generation), sealed: true, .. } =
            self.workers[worker]
        else {
            return Answer::Nothing;
        };
        let service = self.runs[run].service;
        let current = self.services[service].current;
        if self.held(worker).is_none() {
            // Whoever asks again hears what has happened.
            return match (self.runs[run].generation == Some(generation), self.runs[run].state) {
                (true, RunState::Published | RunState::Shadowed) => Answer::Done,
                (true, _) => Answer::Superseded(current.expect("something newer")),
                (false, _) => self.refuse(worker),
            };
        }
        self.workers[worker].done = true;
        self.runs[run].generation = Some(generation);
        let due_at = self.runs[run].due_at;
        let newer =
            current.filter(|current| self.runs[self.generations[*current].run].due_at >= due_at);
        let (ended, state, answer) = match newer {
            _ if self.runs[run].beside => {
                (RunState::Shadowed, GenerationState::Shadowed, Answer::Done)
            }
            Some(newer) => {
                (RunState::Superseded, GenerationState::Retired, Answer::Superseded(newer))
            }
            None => (RunState::Published, GenerationState::Published, Answer::Done),
        };
        self.runs[run].state = ended;
        self.generations[generation].state = state;
        if ended == RunState::Published {
            self.services[service].current = Some(generation);
            self.ledger.push(Entry { service, is_rollback: false, generation, previous: current });
            self.copies.push(Copy { generation, mirrored: false, epoch: 0, leased: false });
        }
        answer
    }

    fn give_up(&mut self, worker: usize, how: GivingUp) -> Answer<usize> {
        if self.workers[worker].claim.is_none() {
            return Answer::Nothing;
        }
        let Some(run) = self.held(worker) else { return self.refuse(worker) };
        let found = &mut self.runs[run];
        found.state = match how {
            GivingUp::Requeue if found.attempt >= ATTEMPTS_MAX => RunState::Failed,
            GivingUp::Requeue | GivingUp::HandBack => RunState::Queued,
            GivingUp::Halt => RunState::Halted,
            GivingUp::Fail => RunState::Failed,
        };
        found.attempt -= u32::from(how == GivingUp::HandBack);
        let state = found.state;
        self.abandon(run);
        self.workers[worker].done = true;
        Answer::State(state)
    }

    fn expire(&mut self, worker: usize) -> Answer<usize> {
        let Some(run) = self.held(worker) else { return Answer::Nothing };
        let found = &mut self.runs[run];
        let left = found.attempt < ATTEMPTS_MAX;
        found.state = if left { RunState::Queued } else { RunState::Failed };
        self.abandon(run);
        Answer::Run(run)
    }

    /// Moves a release, and whoever stands where only one may.
    fn shift(&mut self, service: usize, version: usize, to: Stage) {
        let is_single = to.runs_beside() || to == Stage::Production;
        if is_single && let Some(occupant) = self.version_in(service, to) {
            self.set_stage(service, occupant, Stage::Archived);
        }
        self.set_stage(service, version, to);
    }

    fn set_stage(&mut self, service: usize, version: usize, to: Stage) {
        let from = std::mem::replace(&mut self.services[service].stages[version], to);
        if from.runs_beside() && !to.runs_beside() {
            let waiting = self.runs.iter_mut().filter(|run| {
                (run.service, run.version, run.beside, run.state)
                    == (service, version, true, RunState::Queued)
            });
            waiting.for_each(|run| run.state = RunState::Cancelled);
        }
    }

    fn promote(&mut self, service: usize, version: usize, to: Stage) -> Answer<usize> {
        let from = self.services[service].stages[version];
        if from == to {
            return Answer::Done;
        }
        if from == Stage::Production || !from.may_become(to) {
            return Answer::Refused;
        }
        self.shift(service, version, to);
        Answer::Done
    }

    fn due_of(&self, generation: usize) -> DateTime<Utc> {
        self.runs[self.generations[generation].run].due_at
    }

    fn of_service(&self, service: usize) -> impl Iterator<Item = usize> {
        (0..self.generations.len())
            .filter(move |one| self.runs[self.generations[*one].run].service == service)
    }

    fn roll_back(&mut self, service: usize, follow: bool) -> Answer<usize> {
        let Some(current) = self.services[service].current else { return Answer::Refused };
        let older = self.of_service(service).filter(|one| {
            let generation = &self.generations[*one];
            generation.state == GenerationState::Published
                && !generation.dropped
                && self.due_of(*one) < self.due_of(current)
        });
        let Some(target) = older.max_by_key(|one| self.due_of(*one)) else {
            return Answer::Refused;
        };
        self.services[service].current = Some(target);
        let previous = Some(current);
        self.ledger.push(Entry { service, is_rollback: true, generation: target, previous });
        let made_by = self.runs[self.generations[target].run].version;
        if follow && self.services[service].stages[made_by] != Stage::Production {
            self.shift(service, made_by, Stage::Production);
        }
        Answer::Generation(target)
    }

    /// Production's run of the instant of a run beside it.
    fn beside_which(&self, run: &Run) -> Option<&Run> {
        self.runs.iter().find(|other| {
            !other.beside && (other.service, other.due_at) == (run.service, run.due_at)
        })
    }

    fn compare(&mut self) -> Answer<usize> {
        let pending = self.runs.iter().position(|run| {
            run.beside
                && !run.compared
                && matches!(run.state, RunState::Shadowed | RunState::Halted | RunState::Failed)
                && self.beside_which(run).is_none_or(|production| {
                    !matches!(production.state, RunState::Queued | RunState::Running)
                })
        });
        let Some(run) = pending else { return Answer::Nothing };
        self.runs[run].compared = true;
        Answer::Run(run)
    }

    fn may_be_dropped(&self, number: usize) -> bool {
        let generation = &self.generations[number];
        let run = &self.runs[generation.run];
        let service = &self.services[run.service];
        if generation.dropped || service.current == Some(number) {
            return false;
        }
        let to_compare = self.runs.iter().any(|other| {
            other.beside
                && !other.compared
                && other.state != RunState::Cancelled
                && (other.service, other.due_at) == (run.service, run.due_at)
        });
        match generation.state {
            GenerationState::Abandoned => true,
            GenerationState::Loading => false,
            _ if to_compare => false,
            GenerationState::Retired => true,
            GenerationState::Shadowed => {
                let newest = self.of_service(run.service).filter(|one| {
                    self.generations[*one].state == GenerationState::Shadowed
                        && self.runs[self.generations[*one].run].version == run.version
                });
                !(service.stages[run.version].runs_beside() && newest.max() == Some(number))
            }
            GenerationState::Published => {
                let mirrored =
                    self.copies.iter().any(|copy| copy.generation == number && copy.mirrored);
                let newer = self.of_service(run.service).filter(|one| {
                    let other = &self.generations[*one];
                    other.state == GenerationState::Published
                        && !other.dropped
                        && (self.due_of(*one), *one) > (run.due_at, number)
                });
                mirrored && newer.count() >= KEPT
            }
        }
    }

    fn retain(&mut self) -> Answer<usize> {
        let mut candidates: Vec<usize> =
            (0..self.generations.len()).filter(|one| self.may_be_dropped(*one)).collect();
        candidates.retain(|one| {
            let drops = self.may_be_dropped(*one);
            self.generations[*one].dropped |= drops;
            drops
        });
        Answer::Generations(candidates)
    }

    fn mirror_claim(&mut self, mirror: usize) -> Answer<usize> {
        let next = self.copies.iter().position(|copy| {
            let service = self.runs[self.generations[copy.generation].run].service;
            let older = self.copies.iter().any(|other| {
                !other.mirrored
                    && other.generation < copy.generation
                    && self.runs[self.generations[other.generation].run].service == service
            });
            !copy.mirrored && !copy.leased && !older
        });
        let Some(next) = next else { return Answer::Nothing };
        let copy = &mut self.copies[next];
        copy.epoch += 1;
        copy.leased = true;
        self.mirrors[mirror] = Some((next, copy.epoch));
        Answer::Generation(copy.generation)
    }

    fn mirror_complete(&mut self, mirror: usize) -> Answer<usize> {
        let Some((copy, epoch)) = self.mirrors[mirror] else { return Answer::Nothing };
        let copy = &mut self.copies[copy];
        if copy.mirrored || copy.epoch != epoch {
            return Answer::Refused;
        }
        copy.mirrored = true;
        Answer::Done
    }

    fn mirror_expire(&mut self, mirror: usize) -> Answer<usize> {
        let Some((copy, epoch)) = self.mirrors[mirror] else { return Answer::Nothing };
        let copy = &mut self.copies[copy];
        if !copy.mirrored && copy.epoch == epoch {
            copy.leased = false;
        }
        Answer::Done
    }
}

/// The instant of a request, which is never one of the schedule's.
pub(crate) fn requested_at(hours: i64, seconds: i64) -> DateTime<Utc> {
    let first: DateTime<Utc> = "2026-03-01T00:00:01Z".parse().expect("an instant");
    first + Duration::hours(hours) + Duration::seconds(seconds)
}
