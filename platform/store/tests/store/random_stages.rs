//! Random sequences of everything that moves releases, held to a small model of what should happen.

use cameo_domain::{ReleaseId, ServicePath, Sha256, Stage};
use cameo_store::{
    generations::{Releases, rollback},
    releases::{self, NewRelease, Promotion},
    runs,
};
use chrono::{DateTime, Duration, Utc};

use crate::support::{World, at, batch, by, crm, release, scores};

const SEQUENCES: u64 = 6;
const STEPS: u32 = 80;
const PEOPLE: [&str; 3] = ["ann", "bob", "eve"];

/// The versions of a service: one like any, a protected one, and two that enter other stages, of which
/// one asks for a comparison that it never gets.
#[derive(Clone, Copy)]
struct Version {
    enters: Stage,
    protected: bool,
    shadow_runs_min: u32,
}

const VERSIONS: [Version; 4] = [
    Version { enters: Stage::Production, protected: false, shadow_runs_min: 0 },
    Version { enters: Stage::Production, protected: true, shadow_runs_min: 0 },
    Version { enters: Stage::Candidate, protected: false, shadow_runs_min: 0 },
    Version { enters: Stage::Shadow, protected: false, shadow_runs_min: 1 },
];

/// What should be the case.
#[derive(Default)]
struct Model {
    stages: [Option<Stage>; 4],
    /// Who has asked for an approval since the release last moved.
    asked: [Vec<&'static str>; 4],
    put_away: [bool; 4],
    proven: [bool; 4],
    /// Which version made each generation, by due instant.
    published: Vec<usize>,
    served: Option<usize>,
}

impl Model {
    fn in_production(&self) -> Option<usize> {
        self.stages.iter().position(|stage| *stage == Some(Stage::Production))
    }

    fn set(&mut self, version: usize, stage: Stage, by_a_person: bool) {
        self.stages[version] = Some(stage);
        self.asked[version].clear();
        self.put_away[version] = stage == Stage::Archived && by_a_person;
        self.proven[version] |= stage == Stage::Production;
    }

    fn shift(&mut self, version: usize, to: Stage, rolled_back: bool) {
        let alone = to.runs_beside() || to == Stage::Production;
        let occupant = self.stages.iter().position(|stage| alone && *stage == Some(to));
        if let Some(occupant) = occupant {
            self.set(occupant, Stage::Archived, rolled_back);
        }
        self.set(version, to, true);
    }

    fn is_guarded(&self, version: usize) -> bool {
        VERSIONS[version].protected
            || self.in_production().is_some_and(|current| VERSIONS[current].protected)
    }

    fn lacks_comparisons(&self, version: usize, to: Stage) -> bool {
        matches!(to, Stage::Canary | Stage::Production)
            && VERSIONS[version].shadow_runs_min > 0
            && self.in_production().is_some()
            && !self.proven[version]
    }

    fn apply(&mut self, version: usize) {
        match self.stages[version] {
            Some(Stage::Archived) if self.put_away[version] => return,
            Some(Stage::Archived) | None => {}
            Some(_) => return,
        }
        let enters = VERSIONS[version].enters;
        if enters == Stage::Production && self.is_guarded(version) {
            self.shift(version, Stage::Candidate, false);
            self.asked[version].push("test");
        } else {
            self.shift(version, enters, false);
        }
    }

    /// Whether the wish is granted, or at least noted.
    fn promote(&mut self, version: usize, to: Stage, person: &'static str) -> bool {
        let Some(from) = self.stages[version] else { return false };
        if from == to {
            return true;
        }
        if from == Stage::Production || !from.may_become(to) || self.lacks_comparisons(version, to)
        {
            return false;
        }
        if to == Stage::Production && self.is_guarded(version) {
            self.asked[version].push(person);
        } else {
            self.shift(version, to, false);
        }
        true
    }

    fn approve(&mut self, version: usize, person: &str) -> bool {
        match self.stages[version] {
            None => return false,
            Some(Stage::Production) => return true,
            Some(_) => {}
        }
        let may = self.asked[version].iter().any(|asked_by| *asked_by != person);
        if !may || self.lacks_comparisons(version, Stage::Production) {
            return false;
        }
        self.shift(version, Stage::Production, false);
        true
    }

    fn archive(&mut self) {
        for version in 0..VERSIONS.len() {
            if self.stages[version].is_some_and(|stage| stage != Stage::Archived) {
                self.set(version, Stage::Archived, false);
            }
        }
    }

    fn publish(&mut self) {
        if let Some(version) = self.in_production() {
            self.published.push(version);
            self.served = Some(self.published.len() - 1);
        }
    }

    fn roll_back(&mut self, releases: Releases) -> bool {
        let Some(target) = self.served.and_then(|served| served.checked_sub(1)) else {
            return false;
        };
        self.served = Some(target);
        let made_by = self.published[target];
        let current = self.in_production();
        if releases == Releases::Follow && current.is_some_and(|current| current != made_by) {
            self.shift(made_by, Stage::Production, true);
        }
        true
    }
}

/// A generator of numbers that repeats itself for a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }
}

fn new_release(path: &ServicePath, version: usize) -> NewRelease {
    let Version { enters, protected, shadow_runs_min } = VERSIONS[version];
    NewRelease {
        release: ReleaseId(Sha256::of(format!("{path} {version}"))),
        version: format!("{version}.0.0"),
        stage: enters,
        protected,
        shadow_runs_min,
        ..release(path.service.as_str(), &scores())
    }
}

async fn publish(world: &World, path: &ServicePath, due_at: DateTime<Utc>) {
    let name = path.service.as_str();
    let (store, tenant, key) = (&world.store, crm(), due_at.to_rfc3339());
    let service = &path.service;
    let asked = runs::create_manual(store, &tenant, service, &key, due_at, "test");
    if asked.await.is_err() {
        return;
    }
    let run = world.claim().await.expect("the requested run");
    assert_eq!(run.path.service.as_str(), name);
    let (generation, digest) = world.sealed(&run, &scores(), &[batch(0..3)]).await;
    world.publish(&run, &generation, digest).await.expect("a publication");
}

#[tokio::test]
async fn random_moves_end_where_the_model_says_and_break_no_promise() {
    let world = World::start().await;
    for seed in 0..SEQUENCES {
        let path = ServicePath::new(crm(), format!("clv{seed}").parse().expect("a name"));
        follow(&world, &path, Dice(seed)).await;
    }
}

async fn follow(world: &World, path: &ServicePath, mut dice: Dice) {
    let (store, mut model) = (&world.store, Model::default());
    let ids: Vec<_> = (0..VERSIONS.len()).map(|at| new_release(path, at).release).collect();
    let mut due_at = at("2026-03-01T00:00:00Z");
    for step in 0..STEPS {
        let (version, person) = (dice.below(VERSIONS.len()), PEOPLE[dice.below(PEOPLE.len())]);
        let told = match dice.below(16) {
            0..4 => {
                model.apply(version);
                let new = new_release(path, version);
                format!("apply {version}: {:?}", releases::apply(store, &crm(), &new).await)
            }
            4..9 => {
                let to = Stage::ALL[dice.below(Stage::ALL.len())];
                let granted = model.promote(version, to, person);
                let promotion = Promotion {
                    path: path.clone(),
                    release: ids[version],
                    to,
                    reason: None,
                    by: by(person),
                    now: Utc::now(),
                };
                let moved = releases::promote(store, &promotion).await;
                assert_eq!(moved.is_ok(), granted, "step {step}: {version} to {to}: {moved:?}");
                format!("promote {version} to {to}: {moved:?}")
            }
            9..12 => {
                let granted = model.approve(version, person);
                let (release, now) = (ids[version], Utc::now());
                let moved = releases::approve(store, path, release, None, &by(person), now).await;
                assert_eq!(moved.is_ok(), granted, "step {step}: approve {version}: {moved:?}");
                format!("approve {version} by {person}: {moved:?}")
            }
            12..14 => {
                model.publish();
                due_at += Duration::hours(1);
                publish(world, path, due_at).await;
                "publish".to_owned()
            }
            14 => {
                let keep = dice.below(3) == 0;
                let follow = if keep { Releases::Keep } else { Releases::Follow };
                let granted = model.roll_back(follow);
                let by = by(person);
                let back = rollback(store, &path.tenant, &path.service, None, follow, &by).await;
                assert_eq!(back.is_ok(), granted, "step {step}: {back:?}");
                format!("roll back: {back:?}")
            }
            _ => {
                model.archive();
                format!("archive: {:?}", releases::archive(store, path, None, &by(person)).await)
            }
        };
        let mut stages = Vec::new();
        for release in &ids {
            stages.push(
                releases::stage(store, &path.tenant, &path.service, *release).await.expect("read"),
            );
        }
        assert_eq!(stages, model.stages, "step {step} of {path} was {told}");
        world.assert_sound().await;
    }
}
