//! The words of the platform: names, identifiers, types, schedules and states.
//!
//! Pure values without I/O. Everything that crosses a crate boundary is parsed into one of these
//! types once, at the edge; a callee never wonders whether a name is valid.

pub mod audit;
pub mod card;
pub mod hash;
pub mod ids;
pub mod key;
pub mod name;
pub mod role;
pub mod run;
pub mod schedule;
pub mod schema;
pub mod scope;
pub mod services;
pub mod stage;

pub use audit::AuditAnchor;
pub use card::Card;
pub use hash::Sha256;
pub use ids::{Epoch, ErasureId, GenerationId, ReleaseId, RunId};
pub use key::{Key, KeyRef};
pub use name::{
    ColumnName, ConsumerName, NameError, SegmentName, ServiceName, ServicePath, TenantName,
    WebhookName,
};
pub use role::{GroupAccess, Role};
pub use run::{Reason, RunState, Transition};
pub use schedule::{MissedRunPolicy, Schedule, ScheduleError};
pub use schema::{Column, DataType, EXPLANATION_COLUMN, PredictionSchema, RANK_COLUMN};
pub use scope::{Scope, ScopeError, Scopes};
pub use services::Services;
pub use stage::{Stage, StageError};
