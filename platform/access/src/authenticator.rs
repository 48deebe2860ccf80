//! From the text of a credential to a caller.
//!
//! A credential that was let in is remembered for a few seconds, so the hot path asks nothing of the
//! database: within [`REFRESH_AFTER`] an answer is used as it is, within [`TRUST_FOR`] it is still used
//! while it is read anew in the background. A revoked key, or a group that was taken from a tenant,
//! therefore stops working within about [`REFRESH_AFTER`] under load, and at the latest after
//! [`TRUST_FOR`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cameo_store::{Store, StoreError};

use crate::{
    admitted::{Admission, Admitted, Credential, Fingerprint, Standing},
    caller::Caller,
    groups::Groups,
    key::{KeyError, PresentedKey, SCHEME},
    oidc::{OidcConfig, TokenError, Tokens, Verified},
    records::KeyRecords,
};

/// From what age on a remembered credential is read anew, in the background.
pub const REFRESH_AFTER: Duration = Duration::from_secs(3);
/// From what age on a remembered credential is no longer believed.
pub const TRUST_FOR: Duration = Duration::from_secs(10);

/// Why a caller is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// The text is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key is unknown, expired or revoked. Which of them is nobody's business.
    #[error("the API key is unknown, expired or revoked")]
    Refused,
    /// The token is not one to believe.
    #[error(transparent)]
    Token(TokenError),
    /// The issuer's keys cannot be had, so no token can be checked.
    #[error("the token cannot be checked: {0}")]
    Issuer(String),
    /// The database could not be asked.
    #[error("the credential cannot be checked")]
    Store(#[source] StoreError),
}

impl From<TokenError> for AuthenticateError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Issuer(why) => Self::Issuer(why),
            error => Self::Token(error),
        }
    }
}

/// Checks API keys and tokens; see the module.
pub struct Authenticator {
    shared: Arc<Shared>,
}

struct Shared {
    admitted: Admitted,
    records: KeyRecords,
    /// None where no issuer is named: then API keys alone are let in.
    tokens: Option<Tokens>,
    groups: Groups,
}

impl Authenticator {
    /// Remembers nothing yet. With an issuer, its tokens are let in beside API keys.
    #[must_use]
    pub fn new(store: Store, oidc: Option<OidcConfig>) -> Self {
        let admin_group = oidc.as_ref().and_then(|oidc| oidc.admin_group.clone());
        let shared = Shared {
            admitted: Admitted::new(),
            records: KeyRecords::new(store.clone()),
            tokens: oidc.map(Tokens::new),
            groups: Groups::new(store, admin_group),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether tokens are let in beside API keys.
    #[must_use]
    pub fn takes_tokens(&self) -> bool {
        self.shared.tokens.is_some()
    }

    /// Whom the credential speaks for.
    pub async fn authenticate(&self, text: &str) -> Result<Arc<Caller>, AuthenticateError> {
        let shared = &self.shared;
        let fingerprint = shared.admitted.fingerprint(text);
        if let Some(admission) = shared.admitted.find(fingerprint) {
            let (standing, now) = (admission.standing(), Instant::now());
            let age = now.saturating_duration_since(standing.read_at);
            if age < TRUST_FOR && standing.ends_at.is_none_or(|end| now < end) {
                if age >= REFRESH_AFTER && admission.claim_refresh() {
                    shared.refresh_in_background(fingerprint, &admission);
                }
                return Ok(standing.caller.clone());
            }
        }
        let (credential, standing) = shared.check(text).await?;
        let caller = standing.caller.clone();
        shared.admitted.insert(fingerprint, Arc::new(Admission::new(credential, standing)));
        Ok(caller)
    }
}

impl Shared {
    /// Checks a credential that is not known to be good.
    async fn check(&self, text: &str) -> Result<(Credential, Standing), AuthenticateError> {
        match &self.tokens {
            Some(tokens) if !text.starts_with(SCHEME) => {
                let token = tokens.verify(text).await?;
                let standing = self.standing_of(&token).await.map_err(AuthenticateError::Store)?;
                Ok((Credential::Token(token), standing))
            }
            _ => {
                let key = PresentedKey::parse(text)?;
                let read = self.records.find(key.prefix()).await;
                let (read, hash) = (read.map_err(AuthenticateError::Store)?, key.hash());
                let standing = read.admit(&hash).ok_or(AuthenticateError::Refused)?;
                self.records.touch(key.prefix()).await;
                Ok((Credential::Key { prefix: key.prefix().to_owned(), hash }, standing))
            }
        }
    }

    fn refresh_in_background(self: &Arc<Self>, fingerprint: Fingerprint, known: &Arc<Admission>) {
        let (shared, known) = (self.clone(), known.clone());
        tokio::spawn(async move {
            match shared.check_again(&known.credential).await {
                Ok(Some(standing)) => known.refreshed(Some(standing)),
                Ok(None) => shared.admitted.forget(fingerprint),
                Err(error) => {
                    tracing::warn!(%error, "cannot read a credential anew");
                    known.refreshed(None);
                }
            }
        });
    }

    /// Whom a credential speaks for now; nobody where it opens nothing any more.
    async fn check_again(&self, credential: &Credential) -> Result<Option<Standing>, StoreError> {
        match credential {
            Credential::Key { prefix, hash } => {
                let standing = self.records.read(prefix).await?.admit(hash);
                if standing.is_some() {
                    // Only a key that is in use comes here, so this is when it was last used.
                    self.records.touch(prefix).await;
                }
                Ok(standing)
            }
            Credential::Token(token) => {
                // What an issuer has signed with a key that it has withdrawn is no longer believed.
                match &self.tokens {
                    Some(tokens) if tokens.still_vouch_for(token).await => {
                        self.standing_of(token).await.map(Some)
                    }
                    _ => Ok(None),
                }
            }
        }
    }

    async fn standing_of(&self, token: &Verified) -> Result<Standing, StoreError> {
        let table = self.groups.table(REFRESH_AFTER).await?;
        Ok(Standing {
            caller: Arc::new(self.groups.caller(&table, token)),
            read_at: table.read_at,
            ends_at: Some(token.ends_at),
        })
    }
}
