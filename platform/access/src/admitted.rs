//! Credentials that were let in lately: the hot path of authentication.
//!
//! A credential is remembered under two independent keyed hashes of its whole text. Their keys are drawn
//! when the process starts and never leave it, so nobody can find a text that hashes like another one,
//! and neither the text nor anything that opens a door is kept. A look-up is two hashes, one load of a
//! pointer and one probe: no lock, no query, no slow hash. Credentials that were refused are not here, so
//! guessing cannot make this grow.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use arc_swap::{ArcSwap, Guard};

use crate::{caller::Caller, key::KeyHash, oidc::Verified};

/// Most credentials that are remembered. Beyond it those are forgotten that nobody used lately, and
/// where all are in use, all: the next requests are checked again.
pub(crate) const REMEMBERED_MAX: usize = 10_000;

/// Two keyed hashes of a credential's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64, u64);

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// A hasher for what is a hash already.
#[derive(Default)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// What can be checked again without the credential's text.
pub(crate) enum Credential {
    /// An API key, by its public part and the hash of all of it.
    Key { prefix: String, hash: KeyHash },
    /// What a token says.
    Token(Verified),
}

/// Whom a credential speaks for, and how long that may be believed.
pub(crate) struct Standing {
    pub(crate) caller: Arc<Caller>,
    /// When what it rests on was read.
    pub(crate) read_at: Instant,
    /// When the credential ends.
    pub(crate) ends_at: Option<Instant>,
}

/// A credential that was let in.
pub(crate) struct Admission {
    pub(crate) credential: Credential,
    standing: ArcSwap<Standing>,
    refreshing: AtomicBool,
}

impl Admission {
    pub(crate) fn new(credential: Credential, standing: Standing) -> Self {
        Self {
            credential,
            standing: ArcSwap::from_pointee(standing),
            refreshing: AtomicBool::new(false),
        }
    }

    pub(crate) fn standing(&self) -> Guard<Arc<Standing>> {
        self.standing.load()
    }

    /// Whether the caller is to read the standing anew: nobody else is doing so.
    pub(crate) fn claim_refresh(&self) -> bool {
        !self.refreshing.swap(true, Ordering::Relaxed)
    }

    /// Ends a refresh; without news the old standing goes on until it is no longer believed.
    pub(crate) fn refreshed(&self, news: Option<Standing>) {
        if let Some(standing) = news {
            self.standing.store(Arc::new(standing));
        }
        self.refreshing.store(false, Ordering::Relaxed);
    }
}

type Known = HashMap<Fingerprint, Arc<Admission>, BuildHasherDefault<Hashed>>;

/// See the module.
pub(crate) struct Admitted {
    hashers: [RandomState; 2],
    known: ArcSwap<Known>,
    /// Held by who changes the list; readers take the list as it was.
    changing: Mutex<()>,
}

impl Admitted {
    pub(crate) fn new() -> Self {
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            known: ArcSwap::default(),
            changing: Mutex::new(()),
        }
    }

    pub(crate) fn fingerprint(&self, text: &str) -> Fingerprint {
        let [first, second] = &self.hashers;
        Fingerprint(first.hash_one(text), second.hash_one(text))
    }

    pub(crate) fn find(&self, fingerprint: Fingerprint) -> Option<Arc<Admission>> {
        self.known.load().get(&fingerprint).cloned()
    }

    pub(crate) fn insert(&self, fingerprint: Fingerprint, admission: Arc<Admission>) {
        self.change(|known| {
            if known.len() >= REMEMBERED_MAX && !known.contains_key(&fingerprint) {
                let now = Instant::now();
                known.retain(|_, admission| is_in_use(&admission.standing(), now));
                if known.len() >= REMEMBERED_MAX {
                    known.clear();
                }
            }
            known.insert(fingerprint, admission);
        });
    }

    pub(crate) fn forget(&self, fingerprint: Fingerprint) {
        self.change(|known| {
            known.remove(&fingerprint);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = Known::clone(&self.known.load());
        change(&mut known);
        self.known.store(Arc::new(known));
    }
}

/// What is in use is read anew before it is no longer believed.
fn is_in_use(standing: &Standing, now: Instant) -> bool {
    now.saturating_duration_since(standing.read_at) < crate::authenticator::TRUST_FOR
        && standing.ends_at.is_none_or(|end| now < end)
}

#[cfg(test)]
mod tests {
    use cameo_domain::{Scopes, Services};

    use super::*;
    use crate::authenticator::TRUST_FOR;

    fn admission(read_at: Instant) -> Arc<Admission> {
        let caller = Arc::new(Caller::of_key(None, "1a2b3c4d", Scopes::all(), Services::All));
        let credential =
            Credential::Key { prefix: "1a2b3c4d".to_owned(), hash: KeyHash::of("key") };
        Arc::new(Admission::new(credential, Standing { caller, read_at, ends_at: None }))
    }

    #[test]
    fn a_credential_is_found_by_all_of_its_text_and_in_its_own_process_alone() {
        let admitted = Admitted::new();
        admitted.insert(admitted.fingerprint("cameo_a"), admission(Instant::now()));
        assert!(admitted.find(admitted.fingerprint("cameo_a")).is_some());
        for other in ["cameo_b", "cameo_", "cameo_a ", ""] {
            assert!(admitted.find(admitted.fingerprint(other)).is_none(), "{other:?}");
        }
        assert_ne!(admitted.fingerprint("cameo_a"), Admitted::new().fingerprint("cameo_a"));
        admitted.forget(admitted.fingerprint("cameo_a"));
        assert!(admitted.find(admitted.fingerprint("cameo_a")).is_none());
    }

    #[test]
    fn those_that_nobody_uses_make_room_first() {
        let admitted = Admitted::new();
        let (now, long_ago) = (Instant::now() + 2 * TRUST_FOR, Instant::now());
        let of = |number: usize| admitted.fingerprint(&number.to_string());
        admitted.change(|known| {
            for number in 0..REMEMBERED_MAX {
                let read_at = if number == 0 { now } else { long_ago };
                known.insert(of(number), admission(read_at));
            }
        });
        // In this test's time the others were used long ago as soon as that has passed.
        assert!(is_in_use(&admitted.find(of(0)).expect("known").standing(), now));
        assert!(!is_in_use(&admitted.find(of(1)).expect("known").standing(), now));
        admitted.insert(of(REMEMBERED_MAX), admission(now));
        assert_eq!(admitted.known.load().len(), 1, "all were in use, so all were forgotten");
    }

    #[test]
    fn one_caller_at_a_time_reads_a_standing_anew() {
        let admission = admission(Instant::now());
        assert!(admission.claim_refresh() && !admission.claim_refresh());
        admission.refreshed(None);
        assert!(admission.claim_refresh());
    }
}
