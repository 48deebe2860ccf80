//! What may happen.

use cameo_domain::Stage;
use proptest::prelude::*;

pub(crate) const SERVICES: usize = 2;
pub(crate) const VERSIONS: usize = 3;
pub(crate) const WORKERS: usize = 3;
pub(crate) const MIRRORS: usize = 2;

/// How a worker gives a run up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivingUp {
    Requeue,
    HandBack,
    Halt,
    Fail,
}

/// One thing that somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Time passes, and a scheduler looks.
    Tick {
        hours: i64,
    },
    /// Somebody asks for a run of an instant, which may be long past. The seconds make it unlike every other.
    Request {
        service: usize,
        hours: i64,
        seconds: i64,
    },
    /// Somebody withdraws a run: the nth of all.
    Cancel {
        nth: usize,
    },
    /// A worker does whatever comes next.
    Next {
        worker: usize,
    },
    Claim {
        worker: usize,
    },
    Heartbeat {
        worker: usize,
    },
    Begin {
        worker: usize,
    },
    /// Writes and seals.
    Write {
        worker: usize,
        rows: u8,
    },
    Publish {
        worker: usize,
    },
    GiveUp {
        worker: usize,
        how: GivingUp,
    },
    /// A worker is not heard of until its lease ends; it does not know.
    Expire {
        worker: usize,
    },
    Promote {
        service: usize,
        version: usize,
        to: Stage,
    },
    RollBack {
        service: usize,
        follow: bool,
    },
    Compare,
    Retain,
    MirrorClaim {
        mirror: usize,
    },
    MirrorComplete {
        mirror: usize,
    },
    /// A mirror is not heard of until its lease ends.
    MirrorExpire {
        mirror: usize,
    },
}

impl Step {
    /// Whether it happens at one moment, however long it takes.
    pub(crate) fn is_atomic(self) -> bool {
        !matches!(self, Self::Tick { .. } | Self::Compare | Self::Retain)
    }

    /// Who does it, where somebody must do one thing after the other.
    pub(crate) fn actor(self) -> Option<(&'static str, usize)> {
        match self {
            Self::Next { worker }
            | Self::Claim { worker }
            | Self::Heartbeat { worker }
            | Self::Begin { worker }
            | Self::Write { worker, .. }
            | Self::Publish { worker }
            | Self::GiveUp { worker, .. }
            | Self::Expire { worker } => Some(("worker", worker)),
            Self::MirrorClaim { mirror }
            | Self::MirrorComplete { mirror }
            | Self::MirrorExpire { mirror } => Some(("mirror", mirror)),
            _ => None,
        }
    }
}

/// What happens next: one thing, or two at once.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Move {
    Alone(Step),
    Together(Step, Step),
}

pub(crate) fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        2 => step().prop_map(Move::Alone),
        1 => (step(), step()).prop_map(|(one, other)| Move::Together(one, other)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (service, worker, mirror) = (0..SERVICES, 0..WORKERS, 0..MIRRORS);
    prop_oneof![
        5 => (0..80_i64).prop_map(|hours| Step::Tick { hours }),
        16 => (service.clone(), 0..400_i64).prop_map(|(service, hours)| Step::Request { service, hours, seconds: 0 }),
        1 => (0..20_usize).prop_map(|nth| Step::Cancel { nth }),
        110 => worker.clone().prop_map(|worker| Step::Next { worker }),
        2 => worker.clone().prop_map(|worker| Step::Claim { worker }),
        2 => worker.clone().prop_map(|worker| Step::Heartbeat { worker }),
        1 => worker.clone().prop_map(|worker| Step::Begin { worker }),
        2 => (worker.clone(), 0..20_u8).prop_map(|(worker, rows)| Step::Write { worker, rows }),
        3 => worker.clone().prop_map(|worker| Step::Publish { worker }),
        3 => (worker.clone(), giving_up()).prop_map(|(worker, how)| Step::GiveUp { worker, how }),
        5 => worker.prop_map(|worker| Step::Expire { worker }),
        6 => (service.clone(), 0..VERSIONS, stage())
            .prop_map(|(service, version, to)| Step::Promote { service, version, to }),
        8 => (service, any::<bool>())
            .prop_map(|(service, follow)| Step::RollBack { service, follow }),
        2 => Just(Step::Compare),
        4 => Just(Step::Retain),
        5 => mirror.clone().prop_map(|mirror| Step::MirrorClaim { mirror }),
        5 => mirror.clone().prop_map(|mirror| Step::MirrorComplete { mirror }),
        1 => mirror.prop_map(|mirror| Step::MirrorExpire { mirror }),
    ]
}

fn giving_up() -> impl Strategy<Value = GivingUp> {
    use GivingUp::{Fail, Halt, HandBack, Requeue};
    prop::sample::select(vec![Requeue, HandBack, Halt, Fail])
}

fn stage() -> impl Strategy<Value = Stage> {
    prop::sample::select(Stage::ALL.to_vec())
}
