//! Segments that a bundle declares beside the predictions of its service.

use cameo_domain::{PredictionSchema, SegmentName, ServiceName};
use serde::{Deserialize, Serialize};

use crate::{Catalog, DefinitionError, Draft, Read};

/// A segment as `SEGMENT_CONFIG` of a bundle writes it, and as the releases made of the bundle keep it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    /// Its name.
    pub name: SegmentName,
    /// What it shall be.
    #[serde(flatten)]
    pub draft: Draft,
}

impl Declared {
    /// Reads it as far as the predictions of its own service tell: a column without a service is that
    /// service's, and what other services have is taken on trust. So a release means the same segments
    /// whenever it enters production, whatever the others predict by then.
    ///
    /// # Errors
    /// [`DefinitionError`] where it does not fit its own service.
    pub fn read(
        &self,
        service: &ServiceName,
        schema: &PredictionSchema,
    ) -> Result<Read, DefinitionError> {
        self.draft.read(&Catalog::of_bundle(service.clone(), schema.clone()))
    }
}
