//! What is kept of a key that nobody may keep.

use cameo_domain::{Key, Sha256, TenantName};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use sqlx::{PgConnection, Row, postgres::PgRow};

use crate::StoreError;

const SALT_BYTES: usize = 32;

/// Makes HMAC-SHA-256 of keys, with the salt of one tenant.
///
/// The type goes in before the value, so that the number 17 and the text `17` differ: a number as 8
/// big-endian bytes, a text as it is.
#[derive(Debug, Clone)]
pub struct Fingerprint(hmac::Key);

impl Fingerprint {
    pub(super) fn new(salt: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, salt))
    }

    /// Of a key.
    #[must_use]
    pub fn of(&self, key: &Key) -> [u8; 32] {
        match key {
            Key::Int(number) => self.of_int(*number),
            Key::String(text) => self.of_text(text),
        }
    }

    /// Of a key declared `INT`.
    #[must_use]
    pub fn of_int(&self, number: i64) -> [u8; 32] {
        let mut message = [0; 9];
        message[0] = b'I';
        message[1..].copy_from_slice(&number.to_be_bytes());
        self.sign(&[&message])
    }

    /// Of a key declared `STRING`.
    #[must_use]
    pub fn of_text(&self, text: &str) -> [u8; 32] {
        self.sign(&[b"S", text.as_bytes()])
    }

    fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        let tag = context.sign();
        let mut bytes = [0; 32];
        // The tag of HMAC-SHA-256 is as long.
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }
}

/// The tenant's own, where it ever erased anybody.
pub(super) async fn of_tenant(
    connection: &mut PgConnection,
    tenant: &TenantName,
) -> Result<Option<Fingerprint>, StoreError> {
    let salt: Option<Vec<u8>> =
        sqlx::query_scalar("select salt from cameo.suppression_salts where tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(connection)
            .await?;
    Ok(salt.map(|salt| Fingerprint::new(&salt)))
}

/// The tenant's own, with a new salt where it has none. Its row stays locked until the transaction ends, so
/// that requests of a tenant come one after the other.
pub(super) async fn ensure(
    connection: &mut PgConnection,
    tenant: &TenantName,
) -> Result<Fingerprint, StoreError> {
    let mut salt = vec![0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).map_err(|_| StoreError::NoRandomness)?;
    sqlx::query(
        "insert into cameo.suppression_salts (tenant, salt) values ($1, $2)
         on conflict (tenant) do nothing",
    )
    .bind(tenant.as_str())
    .bind(salt)
    .execute(&mut *connection)
    .await?;
    let salt: Vec<u8> =
        sqlx::query_scalar("select salt from cameo.suppression_salts where tenant = $1 for update")
            .bind(tenant.as_str())
            .fetch_one(connection)
            .await?;
    Ok(Fingerprint::new(&salt))
}

/// A nullable column of 32 bytes.
pub(super) fn read(row: &PgRow, column: &str) -> Result<Option<Sha256>, sqlx::Error> {
    let bytes: Option<Vec<u8>> = row.try_get(column)?;
    Ok(bytes.map(|bytes| Sha256::from(array(&bytes))))
}

/// A column of 32 bytes, which its constraint makes it.
pub(super) fn array(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_text_and_the_same_key_of_another_tenant_differ() {
        let (ours, theirs) = (Fingerprint::new(&[1; 32]), Fingerprint::new(&[2; 32]));
        let (number, text) = (Key::Int(17), Key::String("17".to_owned()));
        assert_eq!(ours.of(&number), ours.of_int(17));
        assert_ne!(ours.of(&number), ours.of(&text));
        assert_ne!(ours.of(&number), theirs.of(&number));
    }

    #[test]
    fn it_is_the_hmac_of_rfc_4231() {
        let known = Fingerprint::new(b"Jefe").sign(&[b"what do ya want ", b"for nothing?"]);
        assert_eq!(
            Sha256::from(known).to_string(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
