//! What an operator says of the identity provider.

use std::{fmt, str::FromStr, time::Duration};

use jsonwebtoken::Algorithm;
use reqwest::Url;

/// The claim that lists a person's groups, unless said otherwise.
const GROUPS_CLAIM: &str = "groups";

/// The shortest time between two questions to the issuer, unless said otherwise.
pub const COOL_DOWN: Duration = Duration::from_secs(30);

/// Whose tokens are let in, and how they have to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcConfig {
    /// As the operator writes it; `iss` of a token has to equal it to the letter.
    pub(super) issuer: String,
    /// Has to be among `aud` of a token.
    pub(super) audience: String,
    /// The claim that lists a person's groups: its name, or a path such as `/realm_access/roles`.
    pub(super) groups_claim: String,
    /// The group that may do everything in every tenant.
    pub(crate) admin_group: Option<String>,
    /// Never empty.
    pub(super) algorithms: Vec<TokenAlgorithm>,
    /// The shortest time between two questions to the issuer.
    pub(super) cool_down: Duration,
}

/// Why tokens of an issuer cannot be let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcConfigError {
    /// The issuer's documents could be replaced on the way here.
    #[error(
        "expected an issuer like https://login.example.com/realm, found `{0}`; http:// is for an issuer on \
         this machine alone"
    )]
    Issuer(String),
    /// Every token of the issuer would be let in, whatever it was made for.
    #[error("expected the audience that tokens for this server carry, found none")]
    Audience,
    /// Nothing could be signed.
    #[error("expected at least one algorithm, such as RS256, found none")]
    Algorithms,
    /// Unknown, or one with which whoever checks tokens could make them.
    #[error("`{0}` is no algorithm for tokens; expected one of {list}", list = TokenAlgorithm::list())]
    Algorithm(String),
}

impl OidcConfig {
    /// Lets in tokens of `issuer` that are meant for `audience`, signed with one of `algorithms`.
    pub fn new(
        issuer: &str,
        audience: &str,
        algorithms: &[TokenAlgorithm],
    ) -> Result<Self, OidcConfigError> {
        let url = Url::parse(issuer).ok().filter(|url| is_safe(url) && url.query().is_none());
        if url.is_none() {
            return Err(OidcConfigError::Issuer(issuer.to_owned()));
        }
        if audience.is_empty() {
            return Err(OidcConfigError::Audience);
        }
        if algorithms.is_empty() {
            return Err(OidcConfigError::Algorithms);
        }
        Ok(Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            groups_claim: GROUPS_CLAIM.to_owned(),
            admin_group: None,
            algorithms: algorithms.to_vec(),
            cool_down: COOL_DOWN,
        })
    }

    /// Reads a person's groups from this claim: its name, or a path such as `/realm_access/roles`.
    #[must_use]
    pub fn groups_claim(mut self, claim: &str) -> Self {
        claim.clone_into(&mut self.groups_claim);
        self
    }

    /// Asks the issuer for its keys at most this often.
    #[must_use]
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.cool_down = cool_down;
        self
    }

    /// Lets this group do everything in every tenant, but see what is sensitive.
    #[must_use]
    pub fn admin_group(mut self, group: Option<String>) -> Self {
        self.admin_group = group;
        self
    }
}

/// Whether nobody between here and there can change what is read: TLS, or the same machine.
pub(super) fn is_safe(url: &Url) -> bool {
    let is_here =
        || url.host_str().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host));
    url.scheme() == "https" || (url.scheme() == "http" && is_here())
}

/// How a token is signed: with a key that only its issuer has. Algorithms in which the key that checks
/// is the key that signs are no values of this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenAlgorithm(pub(super) Algorithm);

impl TokenAlgorithm {
    const ALL: [(&'static str, Algorithm); 9] = [
        ("RS256", Algorithm::RS256),
        ("RS384", Algorithm::RS384),
        ("RS512", Algorithm::RS512),
        ("PS256", Algorithm::PS256),
        ("PS384", Algorithm::PS384),
        ("PS512", Algorithm::PS512),
        ("ES256", Algorithm::ES256),
        ("ES384", Algorithm::ES384),
        ("EdDSA", Algorithm::EdDSA),
    ];

    pub(super) fn of(algorithm: Algorithm) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == algorithm).map(|_| Self(algorithm))
    }

    fn list() -> String {
        Self::ALL.map(|(word, _)| word).join(", ")
    }
}

impl FromStr for TokenAlgorithm {
    type Err = OidcConfigError;

    fn from_str(text: &str) -> Result<Self, OidcConfigError> {
        let known = Self::ALL.into_iter().find(|(word, _)| *word == text);
        known
            .map(|(_, algorithm)| Self(algorithm))
            .ok_or_else(|| OidcConfigError::Algorithm(text.to_owned()))
    }
}

impl fmt::Display for TokenAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::ALL.into_iter().find(|(_, known)| *known == self.0);
        f.pad(word.map_or("", |(word, _)| word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RS256: TokenAlgorithm = TokenAlgorithm(Algorithm::RS256);

    #[test]
    fn an_issuer_is_reached_by_tls_or_on_this_machine() {
        let of = |issuer: &str| OidcConfig::new(issuer, "cameo", &[RS256]);
        for safe in ["https://login.example.com/realm", "http://localhost:8081", "http://[::1]:1/a"]
        {
            assert!(of(safe).is_ok(), "{safe}");
        }
        for unsafe_ in [
            "http://login.example.com",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "ftp://localhost",
            "https://login.example.com?realm=1",
            "login.example.com",
            "",
        ] {
            assert_eq!(of(unsafe_), Err(OidcConfigError::Issuer(unsafe_.to_owned())));
        }
    }

    #[test]
    fn an_audience_and_an_algorithm_are_needed() {
        let issuer = "https://login.example.com";
        assert_eq!(OidcConfig::new(issuer, "", &[RS256]), Err(OidcConfigError::Audience));
        assert_eq!(OidcConfig::new(issuer, "cameo", &[]), Err(OidcConfigError::Algorithms));
    }

    #[test]
    fn algorithms_that_let_a_checker_sign_are_none() {
        for word in ["HS256", "HS512", "none", "rs256", ""] {
            assert!(word.parse::<TokenAlgorithm>().is_err(), "{word:?}");
        }
        for (word, algorithm) in TokenAlgorithm::ALL {
            assert_eq!(word.parse(), Ok(TokenAlgorithm(algorithm)));
            assert_eq!(TokenAlgorithm(algorithm).to_string(), word);
        }
        assert_eq!(TokenAlgorithm::of(Algorithm::HS256), None);
    }
}
