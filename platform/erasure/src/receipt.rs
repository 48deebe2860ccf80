//! What somebody is given who asks for proof of an erasure: a statement, signed, that is checked without the
//! platform.
//!
//! A receipt is an envelope after DSSE, version 1 (<https://github.com/secure-systems-lab/dsse>): the statement's own
//! bytes in base64 and an Ed25519 signature over them and their type, so any program that knows the standard checks
//! it. An erasure that is done never changes, and neither does its receipt: signing again gives the same bytes.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use cameo_domain::{ErasureId, ServiceName, Sha256, TenantName};
use cameo_package::{PublicKey, SigningKey, TrustedKeys};
use cameo_store::{
    Store, StoreError,
    erasures::{self, ErasureRecord, ErasureState, Fingerprint, KeyType, StepRecord, TrailEntry},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What the bytes in the envelope are.
pub const PAYLOAD_TYPE: &str = "application/vnd.cameo.erasure-receipt+json";
/// The format that this version writes and reads.
pub const FORMAT: u32 = 1;
/// Longest receipt that is read, in bytes: of an erasure from some ten thousand places.
pub const RECEIPT_BYTES_MAX: u64 = 16 << 20;

/// A signed statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Receipt {
    /// [`PAYLOAD_TYPE`].
    pub payload_type: String,
    /// The statement as JSON, in base64.
    pub payload: String,
    /// Who signed it; one.
    pub signatures: Vec<Signed>,
}

/// A signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The key that checks it.
    pub keyid: PublicKey,
    /// 64 bytes in base64.
    pub sig: String,
}

/// What is stated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// [`FORMAT`].
    pub format: u32,
    /// Whose customer was erased.
    pub tenant: TenantName,
    /// The erasure's number.
    pub erasure: ErasureId,
    /// The customer's key, where whoever asked for the receipt knew it; it is kept nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// HMAC-SHA-256 of the key as an integer under the tenant's salt.
    pub fingerprint_int: Option<Sha256>,
    /// HMAC-SHA-256 of the key as text under the tenant's salt.
    pub fingerprint_string: Option<Sha256>,
    /// From which services; none: from all.
    pub services: Option<Vec<ServiceName>>,
    /// What the request said of itself.
    pub reason: Option<String>,
    /// Who asked for the erasure.
    pub requested_by: String,
    /// When; from then on nothing of the customer was served.
    pub requested_at: DateTime<Utc>,
    /// When every place had been searched again and found empty.
    pub finished_at: DateTime<Utc>,
    /// What was removed where.
    pub places: Vec<Place>,
    /// The entries of the audit trail that say so, by which the receipt hangs on its chain.
    pub trail: Vec<TrailEntry>,
}

/// What was done in one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// `run` (waited for, until it had ended), `table`, `quarantine`, `mirror`, `snapshot` or `segment`.
    pub place: String,
    /// Of which service, where it is of one.
    pub service: Option<ServiceName>,
    /// The run, the generation or the materialisation; none of a place that there is once.
    pub subject: Option<i64>,
    /// How many rows were removed.
    pub rows_removed: u64,
    /// How many the search at the end found: none.
    pub rows_found_again: Option<u64>,
    /// When the place was done.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing can be stated yet.
    #[error(
        "erasure {0} is not done yet: expected every place to be searched again before it is signed; try again \
         when its state is `done`"
    )]
    GoesOn(ErasureId),
    /// The key is somebody else's.
    #[error(
        "erasure {0} is of another customer: its fingerprint is not that of the key; leave the key out, or look \
         for the erasure of this one"
    )]
    AnotherKey(ErasureId),
    /// It was changed, is not whole, or is none.
    #[error("expected {expected}, found {found}; take the receipt anew from who gave it")]
    Unsound {
        /// What was expected.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// The signature is right, and of somebody who is not trusted.
    #[error(
        "the receipt is signed by {0}, which is not among the trusted keys; ask the platform's operator for its key"
    )]
    NotTrusted(PublicKey),
}

/// Signs what was done for an erasure; none where the tenant has no such erasure. With the customer's `key` it names
/// them, for whoever could not tell by the fingerprint.
pub async fn receipt(
    store: &Store,
    signer: &SigningKey,
    tenant: &TenantName,
    erasure: ErasureId,
    key: Option<&str>,
) -> Result<Option<Receipt>, ReceiptError> {
    let Some((record, steps)) = erasures::find(store, tenant, erasure).await? else {
        return Ok(None);
    };
    let (ErasureState::Done, Some(finished_at)) = (record.state, record.finished_at) else {
        return Err(ReceiptError::GoesOn(erasure));
    };
    if let Some(key) = key {
        let fingerprint = erasures::fingerprint(store, tenant).await?;
        let is_theirs = fingerprint.is_some_and(|fingerprint| is_of(&record, &fingerprint, key));
        if !is_theirs {
            return Err(ReceiptError::AnotherKey(erasure));
        }
    }
    let trail = erasures::trail(store, tenant, erasure).await?;
    let statement = Statement {
        format: FORMAT,
        tenant: record.tenant,
        erasure,
        key: key.map(str::to_owned),
        fingerprint_int: record.fingerprint_int,
        fingerprint_string: record.fingerprint_string,
        services: record.services,
        reason: record.reason,
        requested_by: record.actor,
        requested_at: record.requested_at,
        finished_at,
        places: steps.into_iter().map(Place::from).collect(),
        trail,
    };
    Ok(Some(Receipt::sign(&statement, signer)))
}

/// Whether an erasure was about this key.
fn is_of(record: &ErasureRecord, fingerprint: &Fingerprint, key: &str) -> bool {
    let meant = KeyType::Any.keys(key).unwrap_or_default();
    let theirs = [record.fingerprint_int, record.fingerprint_string];
    meant.iter().any(|key| theirs.contains(&Some(Sha256::from(fingerprint.of(key)))))
}

impl From<StepRecord> for Place {
    fn from(step: StepRecord) -> Self {
        Self {
            place: step.place,
            service: step.service,
            subject: step.subject,
            rows_removed: step.rows_removed,
            rows_found_again: step.rows_found_again,
            finished_at: step.finished_at,
        }
    }
}

impl Receipt {
    fn sign(statement: &Statement, signer: &SigningKey) -> Self {
        let payload = serde_json::json!(statement).to_string();
        let signature = signer.sign_bytes(&signed_bytes(PAYLOAD_TYPE, payload.as_bytes()));
        Self {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload: BASE64.encode(payload),
            signatures: vec![Signed { keyid: signer.public(), sig: BASE64.encode(signature) }],
        }
    }

    /// What it states, where the signature is of one of `trusted`, and who that is. Nothing but the receipt and
    /// the keys is looked at.
    ///
    /// # Errors
    /// [`ReceiptError::Unsound`] and [`ReceiptError::NotTrusted`].
    pub fn verify(&self, trusted: &TrustedKeys) -> Result<(Statement, PublicKey), ReceiptError> {
        let unsound = |expected, found: String| ReceiptError::Unsound { expected, found };
        if self.payload_type != PAYLOAD_TYPE {
            let found = format!("`{}`", self.payload_type);
            return Err(unsound("a receipt of an erasure", found));
        }
        let [Signed { keyid, sig }] = &self.signatures[..] else {
            let found = format!("{} of them", self.signatures.len());
            return Err(unsound("one signature", found));
        };
        let payload = BASE64.decode(&self.payload);
        let payload = payload.map_err(|error| unsound("a payload in base64", error.to_string()))?;
        let signature = BASE64.decode(sig).unwrap_or_default();
        if !keyid.has_signed(&signed_bytes(&self.payload_type, &payload), &signature) {
            let found = "another signature: the receipt was changed".to_owned();
            return Err(unsound("the signature of its payload", found));
        }
        if !trusted.contains(keyid) {
            return Err(ReceiptError::NotTrusted(*keyid));
        }
        let statement: Statement = serde_json::from_slice(&payload)
            .map_err(|error| unsound("a statement of this version", error.to_string()))?;
        if statement.format != FORMAT {
            return Err(unsound("format 1", format!("format {}", statement.format)));
        }
        Ok((statement, *keyid))
    }
}

/// What is signed: type and bytes with their lengths, so that neither can be taken for a part of the other
/// (the standard's "pre-authentication encoding").
fn signed_bytes(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        let at: DateTime<Utc> = "2026-03-01T02:30:00Z".parse().expect("an instant");
        Statement {
            format: FORMAT,
            tenant: "crm".parse().expect("a tenant"),
            erasure: ErasureId(12),
            key: None,
            fingerprint_int: Some(Sha256::of("17")),
            fingerprint_string: None,
            services: None,
            reason: Some("request 4711".to_owned()),
            requested_by: "key:3f9a21bc".to_owned(),
            requested_at: at,
            finished_at: at,
            places: vec![Place {
                place: "table".to_owned(),
                service: Some("clv".parse().expect("a service")),
                subject: Some(42),
                rows_removed: 1,
                rows_found_again: Some(0),
                finished_at: Some(at),
            }],
            trail: vec![TrailEntry {
                entry: 9,
                action: "customer.erased".to_owned(),
                hash: Sha256::of("entry 9"),
            }],
        }
    }

    fn trusting(key: PublicKey) -> TrustedKeys {
        key.to_string().parse().expect("a list of one key")
    }

    #[test]
    fn a_receipt_is_read_by_whoever_trusts_its_signer_and_is_the_same_each_time() {
        let key = SigningKey::generate().expect("random bytes");
        let receipt = Receipt::sign(&statement(), &key);
        let text = serde_json::to_string(&receipt).expect("JSON");
        let again: Receipt = serde_json::from_str(&text).expect("a receipt");
        let (stated, signer) = again.verify(&trusting(key.public())).expect("a sound receipt");
        assert_eq!((stated, signer), (statement(), key.public()));
        assert_eq!(Receipt::sign(&statement(), &key), receipt);
        let other = SigningKey::generate().expect("random bytes").public();
        assert!(matches!(again.verify(&trusting(other)), Err(ReceiptError::NotTrusted(_))));
    }

    #[test]
    fn nothing_of_a_receipt_can_be_changed() {
        let key = SigningKey::generate().expect("random bytes");
        let trusted = trusting(key.public());
        let receipt = Receipt::sign(&statement(), &key);
        let refused = |changed: &Receipt| {
            matches!(changed.verify(&trusted), Err(ReceiptError::Unsound { .. }))
        };
        let other = Statement { erasure: ErasureId(13), ..statement() };
        let payload = Receipt::sign(&other, &key).payload;
        assert!(refused(&Receipt { payload, ..receipt.clone() }));
        assert!(refused(&Receipt { payload: "?".to_owned(), ..receipt.clone() }));
        assert!(refused(&Receipt { payload_type: "text/plain".to_owned(), ..receipt.clone() }));
        assert!(refused(&Receipt { signatures: Vec::new(), ..receipt.clone() }));
        let mut stranger = receipt.clone();
        stranger.signatures[0].keyid = SigningKey::generate().expect("random bytes").public();
        assert!(refused(&stranger), "a signature is of its own key alone");
        let mut short = receipt;
        short.signatures[0].sig.truncate(8);
        assert!(refused(&short));
    }

    #[test]
    fn what_is_signed_is_what_the_standard_says() {
        // The example of DSSE's protocol.md.
        let bytes = signed_bytes("http://example.com/HelloWorld", b"hello world");
        assert_eq!(bytes, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }
}
