//! Checking a token.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cameo_checkpoint::{Check, is_off, passes};
use chrono::Utc;
use jsonwebtoken::{
    Header, TokenData, Validation, dangerous, decode, decode_header,
    errors::{Error, ErrorKind},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    config::{OidcConfig, TokenAlgorithm},
    issuer::Issuer,
    key_set::{KEY_ID_BYTES_MAX, SigningKey},
};

/// Longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;
/// How far the clocks of issuer and server may be apart.
const LEEWAY: Duration = Duration::from_mins(1);
/// How long a token may live: it counts until it ends, so it has to end soon.
pub const LIFETIME_MAX: Duration = Duration::from_hours(24);
/// Most groups of a person.
const GROUPS_MAX: usize = 1_000;
/// Longest name of a group or person.
const NAME_BYTES_MAX: usize = 256;

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No token at all.
    #[error("expected an API key like `cameo_…`, or a token of three parts with dots between them")]
    Shape,
    /// Longer than any token needs to be.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// The header names no key, or asks for something that this server does not do.
    #[error("the token's header {0}")]
    Header(&'static str),
    /// Not one of those that the operator allows.
    #[error("the token is signed in a way that this server does not allow")]
    Algorithm,
    /// The issuer has no such key, or had none lately.
    #[error("the token is signed with a key that its issuer does not publish")]
    UnknownKey,
    /// Somebody else made it.
    #[error("the token's signature is not its issuer's")]
    Signature,
    /// Of somebody else.
    #[error("the token is of another issuer")]
    AnotherIssuer,
    /// Meant for another server.
    #[error("the token is meant for another audience")]
    AnotherAudience,
    /// Over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYet,
    /// Something is missing or not as it has to be.
    #[error("the token's claims {0}")]
    Claims(&'static str),
    /// The issuer's keys cannot be had.
    #[error("{0}")]
    Issuer(String),
}

/// What a token says, once it is believed.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    pub(crate) subject: String,
    pub(crate) groups: Vec<String>,
    pub(crate) ends_at: Instant,
    /// The name of the key that signed it.
    key: String,
}

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    /// Seconds since 1970; may have a fraction.
    exp: f64,
    iat: Option<f64>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Checks the tokens of an issuer.
pub(crate) struct Tokens {
    config: OidcConfig,
    issuer: Arc<Issuer>,
}

impl Tokens {
    pub(crate) fn new(config: OidcConfig) -> Self {
        Self { issuer: Arc::new(Issuer::new(&config)), config }
    }

    /// What the token says, if it is to be believed.
    pub(crate) async fn verify(&self, text: &str) -> Result<Verified, TokenError> {
        let (header, algorithm) = header(&self.config, text)?;
        let name = header.kid.unwrap_or_default();
        let read = self.issuer.keys_with(&name).await.map_err(TokenError::Issuer)?;
        let key = read.keys.find(&name).ok_or(TokenError::UnknownKey)?;
        if !key.is_for(algorithm) {
            return Err(TokenError::Algorithm);
        }
        let claims = self.claims(text, key, algorithm)?;
        self.verified(claims, name)
    }

    /// Whether the issuer still publishes the key that signed a token which was believed.
    pub(crate) async fn still_vouch_for(&self, token: &Verified) -> bool {
        let read = self.issuer.keys_with(&token.key).await;
        read.is_ok_and(|read| read.keys.find(&token.key).is_some())
    }

    /// The claims, once signature, issuer, audience and times are right.
    fn claims(
        &self,
        text: &str,
        key: &SigningKey,
        algorithm: TokenAlgorithm,
    ) -> Result<Claims, TokenError> {
        let mut validation = Validation::new(algorithm.0);
        validation.leeway = LEEWAY.as_secs();
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_exp = !is_off(Check::TokenExpiry);
        validation.validate_nbf = !is_off(Check::TokenNotBefore);
        validation.validate_aud = !is_off(Check::TokenAudience);
        validation.set_audience(&[&self.config.audience]);
        // The issuer is compared below, with a single text alone.
        let checked = match decode(text, &key.key, &validation) {
            Err(error)
                if matches!(error.kind(), ErrorKind::InvalidSignature)
                    && is_off(Check::TokenSignature) =>
            {
                dangerous::insecure_decode(text)
            }
            checked => checked,
        };
        let TokenData { claims, .. }: TokenData<Claims> =
            checked.map_err(|error| refused(&error))?;
        if !passes(Check::TokenIssuer, claims.iss == self.config.issuer) {
            return Err(TokenError::AnotherIssuer);
        }
        Ok(claims)
    }

    fn verified(&self, claims: Claims, key: String) -> Result<Verified, TokenError> {
        let (now, leeway) = (Utc::now().timestamp_millis() as f64 / 1e3, LEEWAY.as_secs_f64());
        if claims.iat.is_some_and(|issued| issued > now + leeway) {
            return Err(TokenError::NotYet);
        }
        let left = claims.exp + leeway - now;
        if left > LIFETIME_MAX.as_secs_f64() + leeway {
            return Err(TokenError::Claims("say that it lives for more than 24 hours"));
        }
        let left = Duration::try_from_secs_f64(left.max(0.0)).unwrap_or_default();
        if !is_name(&claims.sub) {
            return Err(TokenError::Claims("name nobody (`sub`), or with too long a name"));
        }
        let groups = groups_of(&claims.others, &self.config.groups_claim)?;
        Ok(Verified { subject: claims.sub, groups, ends_at: Instant::now() + left, key })
    }
}

/// Reads the header of a token as far as that goes without the issuer's keys: what anyone can write.
///
/// # Errors
/// [`TokenError`] where no key could make the token one that is believed.
pub fn check_header(config: &OidcConfig, text: &str) -> Result<(), TokenError> {
    header(config, text).map(|_| ())
}

/// The header, of which nothing is believed but the name of the key.
fn header(config: &OidcConfig, text: &str) -> Result<(Header, TokenAlgorithm), TokenError> {
    if text.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLong);
    }
    if text.split('.').filter(|part| !part.is_empty()).count() != 3 {
        return Err(TokenError::Shape);
    }
    let header = decode_header(text).map_err(|_| {
        TokenError::Header("cannot be read, or names an algorithm that does not exist")
    })?;
    let algorithm = TokenAlgorithm::of(header.alg).ok_or(TokenError::Algorithm)?;
    let is_allowed = config.algorithms.contains(&algorithm);
    if !passes(Check::TokenAlgorithm, is_allowed) {
        return Err(TokenError::Algorithm);
    }
    if header.crit.is_some() {
        return Err(TokenError::Header("asks for extensions that this server does not know"));
    }
    let key_id_bytes = header.kid.as_ref().map_or(0, String::len);
    if !(1..=KEY_ID_BYTES_MAX).contains(&key_id_bytes) {
        return Err(TokenError::Header("names no key (`kid`), or with too long a name"));
    }
    Ok((header, algorithm))
}

/// The groups that a claim lists; none where it is missing. A claim whose name begins with a slash is a
/// path into the claims.
fn groups_of(claims: &Map<String, Value>, claim: &str) -> Result<Vec<String>, TokenError> {
    let found = match claim.strip_prefix('/') {
        Some(path) => {
            let mut parts = path.split('/');
            let first = parts.next().and_then(|part| claims.get(part));
            parts.try_fold(first, |found, part| Some(found?.get(part))).flatten()
        }
        None => claims.get(claim),
    };
    let texts: Vec<&str> = match found {
        None | Some(Value::Null) => vec![],
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many
            .iter()
            .map(Value::as_str)
            .collect::<Option<_>>()
            .ok_or(TokenError::Claims("list groups that are no texts"))?,
        Some(_) => return Err(TokenError::Claims("list groups that are no texts")),
    };
    if texts.len() > GROUPS_MAX {
        return Err(TokenError::Claims("list more than 1,000 groups; let the issuer filter them"));
    }
    // What is no name of a group gives nothing to anybody.
    Ok(texts.into_iter().filter(|group| is_name(group)).map(str::to_owned).collect())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.contains(char::is_control)
}

fn refused(error: &Error) -> TokenError {
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYet,
        ErrorKind::InvalidAudience => TokenError::AnotherAudience,
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        _ => TokenError::Claims("cannot be read, or lack `exp`, `iss`, `aud` or `sub`"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn tokens() -> Tokens {
        cameo_runtime::tls::install_provider();
        let algorithm = "RS256".parse().expect("an algorithm");
        let config = OidcConfig::new("https://login.example.com", "cameo", &[algorithm]);
        Tokens::new(config.expect("a configuration"))
    }

    fn claims(value: &Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn groups_are_found_by_name_or_by_path() {
        let claims = claims(&json!({
            "groups": ["crm", "", "ops\n"],
            "role": "crm",
            "https://example.com/groups": ["a"],
            "realm_access": {"roles": ["b", "c"]},
            "number": 7,
        }));
        let of = |claim: &str| groups_of(&claims, claim);
        assert_eq!(of("groups").expect("groups"), ["crm"], "the others are no names");
        assert_eq!(of("role").expect("groups"), ["crm"]);
        assert_eq!(of("https://example.com/groups").expect("groups"), ["a"]);
        assert_eq!(of("/realm_access/roles").expect("groups"), ["b", "c"]);
        for missing in ["nothing", "/realm_access/others", "/nothing/roles", "/role/x"] {
            assert_eq!(of(missing).expect("none"), Vec::<String>::new(), "{missing}");
        }
        assert!(of("number").is_err() && of("/realm_access").is_err());
        let many = json!({"groups": vec!["g"; GROUPS_MAX + 1]});
        assert!(groups_of(many.as_object().expect("an object"), "groups").is_err());
    }

    #[test]
    fn what_is_no_token_is_refused_before_anybody_is_asked() {
        let tokens = tokens();
        let of = |text: &str| check_header(&tokens.config, text);
        for text in ["", ".", "..", "a.b", "a..b", "a.b.c.d", "no dots"] {
            assert_eq!(of(text), Err(TokenError::Shape), "{text:?}");
        }
        assert_eq!(of(&"a.b.c".repeat(2_000)), Err(TokenError::TooLong));
        assert!(matches!(of("a.b.c"), Err(TokenError::Header(_))));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,80}", parts in "[A-Za-z0-9_=-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}") {
            prop_assert!(check_header(&tokens().config, &text).is_err());
            let _ = check_header(&tokens().config, &parts);
        }
    }
}
