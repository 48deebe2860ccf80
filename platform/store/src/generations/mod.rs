//! Generations: the immutable predictions that runs produced.
//!
//! An attempt [`begin`]s a generation with a table of its own, loads it through any number of
//! [`Writer`]s, [`seal`]s it and [`publish`]es it in one transaction. Nothing ever updates a table
//! of a generation, and nothing but an erasure takes rows out of it, of which it keeps the account;
//! [`retain`] drops what is no longer needed.

mod begin;
mod encode;
mod index;
mod publish;
mod record;
mod retain;
mod rewrite;
mod rollback;
mod seal;
mod views;
mod withdraw;
mod writer;

pub(crate) use begin::STORAGE as TABLE_STORAGE;
pub use begin::{GenerationMeta, begin};
pub(crate) use index::definition as index_definition;
pub use publish::{Outcome, publish};
pub use record::{GenerationRecord, GenerationState, Publication, history, list, table_bytes};
pub use retain::{GRACE_SECONDS, retain, retain_after};
pub use rewrite::{Rewritten, rewrite};
pub use rollback::{Releases, RolledBack, rollback};
pub use seal::seal;
pub(crate) use seal::{digest, hash_sql};
pub use views::refresh_views;
pub use withdraw::{ARCHIVED_KEPT_SECONDS, withdraw, withdraw_after};
pub use writer::Writer;

use cameo_domain::{Epoch, GenerationId, PredictionSchema, RunId, ServicePath, TenantName};

use crate::row::{quoted, tenant_schema};

/// Copying so many rows takes a fraction of a second: what copies one generation after the other, such as snapshots and
/// the mirror, has turns of its own for those of no more, so that they do not wait behind large ones.
pub const SMALL_ROWS_MAX: u64 = 500_000;

/// A generation that an attempt is making.
#[derive(Debug, Clone)]
pub struct Generation {
    /// Its number.
    pub id: GenerationId,
    /// Its table.
    pub table: Table,
    /// Whose predictions.
    pub path: ServicePath,
    /// The run that makes it.
    pub run: RunId,
    /// The claim under which it is made.
    pub epoch: Epoch,
    /// Its columns.
    pub schema: PredictionSchema,
}

/// The table of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Table {
    /// The tenant's schema.
    pub schema: String,
    /// The table's name in it.
    pub name: String,
}

impl Table {
    pub(crate) fn of(tenant: &TenantName, service: &str, generation: GenerationId) -> Self {
        Self { schema: tenant_schema(tenant), name: format!("{service}_g{generation}") }
    }

    /// Where it is written anew.
    pub(crate) fn rewritten(&self) -> Self {
        Self { name: format!("{}_clean", self.name), ..self.clone() }
    }

    /// The quoted, qualified name.
    pub(crate) fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}
