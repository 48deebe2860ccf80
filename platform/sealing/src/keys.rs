//! The tenants' data keys: found, made, rotated.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use cameo_domain::{Key, TenantName};
use cameo_store::{
    Store, StoreError,
    lookup::{ServedGeneration, Value},
    tenant_keys::{self, WrappedKey},
};

use crate::{DataKey, MasterKey, MasterKeyError, OpenError, Opener, UnwrapError, open::version_of};

/// Why there is no key, or a value does not open.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The process was started without a master key.
    #[error(
        "sensitive predictions need a master key, and none is configured; `cameo keys new-master` makes \
         one, and --master-key-file or CAMEO_MASTER_KEY_FILE names its file"
    )]
    NoMaster,
    /// A value was sealed by a version that the database does not have.
    #[error("version {version} of the key of tenant {tenant} is not there; take it from a backup")]
    Missing {
        /// Whose key.
        tenant: TenantName,
        /// Which version.
        version: u32,
    },
    /// The master key does not fit.
    #[error(transparent)]
    Unwrap(#[from] UnwrapError),
    /// No key could be made.
    #[error(transparent)]
    Make(#[from] MasterKeyError),
    /// A value does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database.
    #[error("the tenant's key could not be read")]
    Store(#[from] StoreError),
}

/// The data keys of all tenants, as far as they were needed.
#[derive(Debug)]
pub struct TenantKeys {
    store: Store,
    master: Option<MasterKey>,
    known: Mutex<HashMap<(TenantName, u32), DataKey>>,
}

impl TenantKeys {
    /// Over the keys that `master` has wrapped. Without one, nothing is sealed or opened.
    #[must_use]
    pub fn new(store: Store, master: Option<MasterKey>) -> Self {
        Self { store, master, known: Mutex::default() }
    }

    /// The master key.
    ///
    /// # Errors
    /// [`KeysError::NoMaster`] where there is none.
    pub fn master(&self) -> Result<&MasterKey, KeysError> {
        self.master.as_ref().ok_or(KeysError::NoMaster)
    }

    /// The key that seals now; the first one is made where there is none yet.
    pub async fn current(&self, tenant: &TenantName) -> Result<DataKey, KeysError> {
        let master = self.master()?;
        if let Some(latest) = tenant_keys::latest(&self.store, tenant).await? {
            return self.unwrapped(master, tenant, &latest);
        }
        self.add(master, tenant, 1).await
    }

    /// Makes a new version, which seals from the next run on. What older versions sealed they still open.
    pub async fn rotate(&self, tenant: &TenantName) -> Result<DataKey, KeysError> {
        let master = self.master()?;
        let latest = tenant_keys::latest(&self.store, tenant).await?;
        self.add(master, tenant, latest.map_or(1, |latest| latest.version + 1)).await
    }

    /// Wraps the keys of all tenants by the master key, which `before` had wrapped. Gives how many.
    pub async fn rewrap(&self, before: &MasterKey) -> Result<u64, KeysError> {
        let master = self.master()?;
        let mut rewrapped = 0;
        for (tenant, found) in tenant_keys::wrapped_by(&self.store, before.name()).await? {
            let key = before.unwrap(&tenant, found.version, &found.wrapped, &found.master)?;
            let anew = wrapped(master, &tenant, &key)?;
            tenant_keys::rewrap(&self.store, &tenant, &anew).await?;
            rewrapped += 1;
        }
        Ok(rewrapped)
    }

    /// Opens the sensitive ones among the values that a generation has for a key.
    ///
    /// # Errors
    /// [`KeysError`] says why; the values are then of no use, and nothing of them may be shown.
    pub async fn open(
        &self,
        served: &ServedGeneration,
        rows: Vec<(&Key, &mut Vec<Value>)>,
    ) -> Result<(), KeysError> {
        let master = self.master()?;
        let Some(first) = served.schema.sensitive().next() else { return Ok(()) };
        let mut opener: Option<(u32, Opener)> = None;
        for (key, values) in rows {
            let not_sealed = || OpenError::NotSealed(first.name.to_string());
            let Some(Value::Text(text)) = values.get(first.at) else {
                return Err(not_sealed().into());
            };
            let version = version_of(text).ok_or_else(not_sealed)?;
            // All of a generation are of one version.
            if opener.as_ref().is_none_or(|(known, _)| *known != version) {
                let data_key = self.version(master, &served.path.tenant, version).await?;
                let made = Opener::new(&data_key, &served.path, served.generation);
                opener = Some((version, made.ok_or_else(not_sealed)?));
            }
            if let Some((_, opener)) = &opener {
                opener.open(&served.schema, key, values)?;
            }
        }
        Ok(())
    }

    async fn version(
        &self,
        master: &MasterKey,
        tenant: &TenantName,
        version: u32,
    ) -> Result<DataKey, KeysError> {
        let known = self.known().get(&(tenant.clone(), version)).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = tenant_keys::find(&self.store, tenant, version).await?;
        let missing = || KeysError::Missing { tenant: tenant.clone(), version };
        self.unwrapped(master, tenant, &found.ok_or_else(missing)?)
    }

    async fn add(
        &self,
        master: &MasterKey,
        tenant: &TenantName,
        version: u32,
    ) -> Result<DataKey, KeysError> {
        let made = wrapped(master, tenant, &DataKey::generate(version)?)?;
        // Another process may have been faster: what the database has counts.
        let kept = tenant_keys::add(&self.store, tenant, &made).await?;
        self.unwrapped(master, tenant, &kept)
    }

    fn unwrapped(
        &self,
        master: &MasterKey,
        tenant: &TenantName,
        found: &WrappedKey,
    ) -> Result<DataKey, KeysError> {
        let key = master.unwrap(tenant, found.version, &found.wrapped, &found.master)?;
        self.known().insert((tenant.clone(), found.version), key.clone());
        Ok(key)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<(TenantName, u32), DataKey>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wrapped(
    master: &MasterKey,
    tenant: &TenantName,
    key: &DataKey,
) -> Result<WrappedKey, MasterKeyError> {
    Ok(WrappedKey {
        version: key.version(),
        wrapped: master.wrap(tenant, key)?,
        master: master.name().to_owned(),
    })
}
