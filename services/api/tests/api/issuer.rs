//! A small identity provider: it describes itself, publishes keys and signs tokens.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use cameo_access::OidcConfig;
use chrono::Utc;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use rsa::{RsaPrivateKey, pkcs1::EncodeRsaPrivateKey, rand_core::OsRng, traits::PublicKeyParts};
use serde_json::{Value, json};

pub(crate) const AUDIENCE: &str = "cameo-tests";
/// The group that may do everything.
pub(crate) const ADMINS: &str = "platform-admins";
const RSA_BITS: usize = 2_048;

/// A key that signs tokens.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) name: String,
    pub(crate) key: EncodingKey,
    pub(crate) algorithm: Algorithm,
    /// What is published of it.
    pub(crate) public: Value,
}

impl Signer {
    /// An elliptic key, made now.
    pub(crate) fn elliptic(name: &str) -> Self {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let pair = pair.expect("a key");
        let read =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.as_ref(), &random);
        let read = read.expect("its own form");
        let (x, y) = read.public_key().as_ref()[1..].split_at(32);
        Self {
            name: name.to_owned(),
            key: EncodingKey::from_ec_der(pair.as_ref()),
            algorithm: Algorithm::ES256,
            public: json!({
                "kty": "EC", "crv": "P-256", "use": "sig", "kid": name, "x": base64(x), "y": base64(y),
            }),
        }
    }

    /// An RSA key, made now.
    pub(crate) fn rsa(name: &str) -> Self {
        let key = RsaPrivateKey::new(&mut OsRng, RSA_BITS).expect("a key");
        let der = key.to_pkcs1_der().expect("DER");
        Self {
            name: name.to_owned(),
            key: EncodingKey::from_rsa_der(der.as_bytes()),
            algorithm: Algorithm::RS256,
            public: json!({
                "kty": "RSA", "use": "sig", "kid": name,
                "n": base64(&key.n().to_bytes_be()), "e": base64(&key.e().to_bytes_be()),
            }),
        }
    }

    /// The same key, signing in another way or under another name.
    pub(crate) fn with(&self, edit: impl FnOnce(&mut Self)) -> Self {
        let mut signer = self.clone();
        edit(&mut signer);
        signer
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.name.clone());
        encode(&header, claims, &self.key).expect("a token")
    }
}

pub(crate) struct Issuer {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    url: String,
    keys: Mutex<Vec<Value>>,
    asked: AtomicUsize,
    is_down: AtomicBool,
}

impl Issuer {
    /// An issuer that publishes the keys of these signers.
    pub(crate) async fn start(signers: &[&Signer]) -> Self {
        cameo_runtime::tls::install_provider();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            url: url.clone(),
            keys: Mutex::default(),
            asked: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(described))
            .route("/keys", get(keys))
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let issuer = Self { url, shared };
        issuer.publish(signers);
        issuer
    }

    /// Publishes the keys of these signers and no others.
    pub(crate) fn publish(&self, signers: &[&Signer]) {
        let public = signers.iter().map(|signer| signer.public.clone()).collect();
        *self.shared.keys.lock().expect("no panic") = public;
    }

    /// Publishes the key of a further signer.
    pub(crate) fn publish_also(&self, signer: &Signer) {
        self.shared.keys.lock().expect("no panic").push(signer.public.clone());
    }

    /// How often its keys were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn go_down(&self) {
        self.shared.is_down.store(true, Ordering::SeqCst);
    }

    /// What a server is told of it.
    pub(crate) fn config(&self, algorithms: &[&str]) -> OidcConfig {
        let algorithms = algorithms.iter().map(|word| word.parse().expect("an algorithm"));
        let algorithms: Vec<_> = algorithms.collect();
        let config = OidcConfig::new(&self.url, AUDIENCE, &algorithms).expect("a configuration");
        config.admin_group(Some(ADMINS.to_owned()))
    }

    /// Claims of a person for the next hour.
    pub(crate) fn claims(&self, subject: &str, groups: &[&str]) -> Value {
        let now = Utc::now().timestamp();
        json!({
            "iss": self.url, "aud": AUDIENCE, "sub": subject, "groups": groups,
            "iat": now, "nbf": now, "exp": now + 3_600,
        })
    }
}

async fn described(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, StatusCode> {
    shared.answer(json!({"issuer": shared.url, "jwks_uri": format!("{}/keys", shared.url)}))
}

async fn keys(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, StatusCode> {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let keys = shared.keys.lock().expect("no panic").clone();
    shared.answer(json!({ "keys": keys }))
}

impl Shared {
    fn answer(&self, body: Value) -> Result<Json<Value>, StatusCode> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        Ok(Json(body))
    }
}

/// Base64url without padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]));
        }
    }
    text
}
