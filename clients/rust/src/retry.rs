//! When a request is repeated, and after how long.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use crate::error::Code;

/// The first wait, where the server says none.
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// The longest wait that the client chooses by itself.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What repeating a request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Nothing: it reads, or it names itself.
    Harmless,
    /// It might do its work twice: repeat it only where the server refused it before it began.
    OnlyIfRefused,
}

impl Repeat {
    /// Whether a request that was answered with this problem may be repeated.
    pub(crate) fn after_problem(self, status: u16, code: &Code) -> bool {
        let refused = status == 429 || *code == Code::Overloaded;
        match self {
            Self::Harmless => refused || matches!(status, 502..=504),
            Self::OnlyIfRefused => refused,
        }
    }

    /// Whether a request may be repeated that has no answer.
    pub(crate) fn after_failure(self, error: &reqwest::Error) -> bool {
        self == Self::Harmless || error.is_connect()
    }
}

/// How long to wait before the next attempt: what the server says, else twice as long as before, and never all
/// clients at once.
pub(crate) fn wait(attempt: u32, said: Option<Duration>) -> Duration {
    if let Some(said) = said {
        // Spread over half as long again, so that whoever was refused at once does not come back at once.
        return said + said.mul_f64(random_share() / 2.0);
    }
    let longest = WAIT_FIRST.saturating_mul(1 << attempt.min(16)).min(WAIT_MAX);
    longest.mul_f64(0.5 + random_share() / 2.0)
}

/// A random number of 64 bits; good enough to spread requests and to name them.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn random_share() -> f64 {
    (random() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_follow_the_server() {
        for attempt in 0..40 {
            let longest = Duration::from_millis(100 << attempt.min(16)).min(WAIT_MAX);
            let chosen = wait(attempt, None);
            assert!(longest.mul_f64(0.5) <= chosen && chosen <= longest, "{attempt}: {chosen:?}");
        }
        let said = Duration::from_secs(7);
        let chosen = wait(0, Some(said));
        assert!(said <= chosen && chosen <= said.mul_f64(1.5));
    }

    #[test]
    fn what_may_have_been_done_is_not_done_again() {
        assert!(Repeat::Harmless.after_problem(503, &Code::Unavailable));
        assert!(Repeat::Harmless.after_problem(504, &Code::Timeout));
        assert!(!Repeat::Harmless.after_problem(500, &Code::Internal));
        assert!(!Repeat::OnlyIfRefused.after_problem(503, &Code::Unavailable));
        assert!(Repeat::OnlyIfRefused.after_problem(503, &Code::Overloaded));
        assert!(Repeat::OnlyIfRefused.after_problem(429, &Code::Other("rate_limited".into())));
    }
}
