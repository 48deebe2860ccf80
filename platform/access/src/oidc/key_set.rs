//! The keys with which an issuer signs: a JSON Web Key Set after RFC 7517.

use std::collections::HashMap;

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use super::config::TokenAlgorithm;

/// Most keys of a set; issuers have a handful.
const KEYS_MAX: usize = 100;
/// Longest name of a key.
pub(super) const KEY_ID_BYTES_MAX: usize = 256;
/// Shorter RSA keys have been factored or nearly; in base64url digits of 2,048 bits.
const RSA_DIGITS_MIN: usize = 342;
/// Longer RSA keys make checking a token expensive; in base64url digits of 8,192 bits.
const RSA_DIGITS_MAX: usize = 1_366;

/// A key that checks tokens, and the algorithms that it is for.
pub(super) struct SigningKey {
    pub(super) key: DecodingKey,
    algorithms: Vec<TokenAlgorithm>,
}

impl SigningKey {
    /// Whether a token that this key has signed may say that it is signed by `algorithm`.
    pub(super) fn is_for(&self, algorithm: TokenAlgorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}

/// The keys of an issuer by name.
#[derive(Default)]
pub(super) struct KeySet(HashMap<String, SigningKey>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// The keys of a document that can check tokens. What is meant for something else, such as
    /// encryption, is left out, and so is what this server does not understand.
    pub(super) fn read(document: &[u8]) -> Result<Self, serde_json::Error> {
        let document: Document = serde_json::from_slice(document)?;
        let keys = document.keys.into_iter().take(KEYS_MAX);
        let usable = keys.filter_map(|key| signing_key(&serde_json::from_value(key).ok()?));
        Ok(Self(usable.collect()))
    }

    pub(super) fn find(&self, name: &str) -> Option<&SigningKey> {
        self.0.get(name)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn signing_key(key: &Jwk) -> Option<(String, SigningKey)> {
    let common = &key.common;
    let name = common.key_id.as_ref().filter(|name| name.len() <= KEY_ID_BYTES_MAX)?;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let fitting: &[Algorithm] = match &key.algorithm {
        AlgorithmParameters::RSA(rsa)
            if (RSA_DIGITS_MIN..=RSA_DIGITS_MAX).contains(&rsa.n.trim_end_matches('=').len()) =>
        {
            &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ]
        }
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        // A secret that is published checks nothing.
        _ => return None,
    };
    let declared = match common.key_algorithm {
        Some(declared) => Some(Algorithm::try_from(declared).ok()?),
        None => None,
    };
    let algorithms: Vec<_> = fitting
        .iter()
        .filter(|fitting| declared.is_none_or(|declared| declared == **fitting))
        .filter_map(|fitting| TokenAlgorithm::of(*fitting))
        .collect();
    let key = DecodingKey::from_jwk(key).ok()?;
    (!algorithms.is_empty()).then(|| (name.clone(), SigningKey { key, algorithms }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(keys: &Value) -> KeySet {
        KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).expect("a key set")
    }

    fn rsa(digits: usize) -> Value {
        json!({"kty": "RSA", "kid": "a", "n": "A".repeat(digits), "e": "AQAB"})
    }

    fn with(mut key: Value, member: &str, value: &str) -> Value {
        key[member] = json!(value);
        key
    }

    #[test]
    fn what_cannot_check_a_token_is_left_out() {
        let p256 = json!({"kty": "EC", "crv": "P-256", "kid": "a", "x": "AA", "y": "AA"});
        for (unusable, why) in [
            (json!({"kty": "oct", "kid": "a", "k": "c2VjcmV0"}), "a shared secret"),
            (rsa(RSA_DIGITS_MIN - 2), "a short key"),
            (rsa(RSA_DIGITS_MAX + 2), "a long key"),
            (with(rsa(342), "use", "enc"), "for encryption"),
            (with(rsa(342), "alg", "RSA-OAEP"), "for encryption"),
            (with(rsa(342), "alg", "HS256"), "another kind of algorithm"),
            (with(rsa(342), "alg", "ES256"), "another kind of key"),
            (with(rsa(342), "kid", &"k".repeat(KEY_ID_BYTES_MAX + 1)), "a long name"),
            (with(p256.clone(), "crv", "P-521"), "a curve that is not checked"),
            (json!({"kty": "RSA", "n": "A".repeat(342), "e": "AQAB"}), "no name"),
            (json!({"kty": "new", "kid": "a"}), "unknown"),
            (json!("key"), "no object"),
        ] {
            assert_eq!(read(&json!([unusable])).len(), 0, "{why}");
        }
        assert_eq!(read(&json!([rsa(342), with(p256, "kid", "b"), 17])).len(), 2);
        assert!(KeySet::read(b"{}").is_err() && KeySet::read(b"<html>").is_err());
    }

    #[test]
    fn a_key_is_for_what_it_says_and_its_kind_allows() {
        let algorithm = |word: &str| word.parse::<TokenAlgorithm>().expect("an algorithm");
        let any = read(&json!([rsa(342)]));
        let key = any.find("a").expect("the key");
        assert!(key.is_for(algorithm("RS256")) && key.is_for(algorithm("PS256")));
        assert!(!key.is_for(algorithm("ES256")));
        let pinned = read(&json!([with(rsa(342), "alg", "RS256")]));
        let key = pinned.find("a").expect("the key");
        assert!(key.is_for(algorithm("RS256")) && !key.is_for(algorithm("PS256")));
    }
}
