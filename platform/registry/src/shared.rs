//! What the inspections of several bundles share, so that a hundred cost little more than one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cameo_domain::Sha256;
use cameo_isolation::{Allowance, Fault, Host, Isolation};
use cameo_scoring::ModelSignature;
use cameo_warehouse::Describer;

/// Most signatures that are kept; beyond it all are forgotten, which costs time and nothing else.
const SIGNATURES_MAX: usize = 10_000;

/// Models that were read, by content, and engines that are open. Any number of threads may use it.
pub struct Shared {
    signatures: Mutex<HashMap<Sha256, Arc<ModelSignature>>>,
    describer: Describer,
    isolation: Isolation,
    /// Where models are read, as long as none has broken it.
    host: Mutex<Option<Host>>,
}

impl Default for Shared {
    /// For models of one's own.
    fn default() -> Self {
        Self::isolated(Isolation::None)
    }
}

impl Shared {
    /// Models are read in isolation.
    #[must_use]
    pub fn isolated(isolation: Isolation) -> Self {
        Self {
            signatures: Mutex::default(),
            describer: Describer::default(),
            isolation,
            host: Mutex::default(),
        }
    }

    /// What a model takes and gives, read once for the same bytes.
    pub(crate) fn signature(&self, model: &[u8]) -> Result<Arc<ModelSignature>, Fault> {
        let hash = Sha256::of(model);
        if let Some(known) = self.signatures().get(&hash) {
            return Ok(Arc::clone(known));
        }
        // Read without the lock: two threads may do it twice, none waits.
        let read = Arc::new(self.read(model)?);
        let mut signatures = self.signatures();
        if signatures.len() >= SIGNATURES_MAX {
            signatures.clear();
        }
        signatures.insert(hash, Arc::clone(&read));
        Ok(read)
    }

    fn read(&self, model: &[u8]) -> Result<ModelSignature, Fault> {
        let host = self.host()?;
        let read = host.inspect(model);
        if !matches!(read, Ok(_) | Err(Fault::Model(_))) {
            // The next model is read by another.
            *self.locked_host() = None;
        }
        read
    }

    fn host(&self) -> Result<Host, Fault> {
        let mut host = self.locked_host();
        if let Some(host) = &*host {
            return Ok(host.clone());
        }
        Ok(host.insert(self.isolation.start(Allowance::default())?).clone())
    }

    fn locked_host(&self) -> MutexGuard<'_, Option<Host>> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn describer(&self) -> &Describer {
        &self.describer
    }

    fn signatures(&self) -> MutexGuard<'_, HashMap<Sha256, Arc<ModelSignature>>> {
        // Nothing can be half done while the map is locked.
        self.signatures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_same_bytes_are_read_once_and_no_model_is_never_kept() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let model = std::fs::read(root.join("tests/models/level.onnx")).expect("a model");
        let shared = Shared::default();
        let first = shared.signature(&model).expect("a model");
        let again = shared.signature(&model).expect("a model");
        assert!(Arc::ptr_eq(&first, &again));
        assert!(shared.signature(&model[..model.len() / 2]).is_err());
        assert_eq!(shared.signatures().len(), 1);
    }
}
