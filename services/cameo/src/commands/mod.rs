//! One module per command.

pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod card;
pub(crate) mod check;
pub(crate) mod demo_data;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod generations;
pub(crate) mod importance;
pub(crate) mod keys;
pub(crate) mod lineage;
pub(crate) mod model;
pub(crate) mod new;
pub(crate) mod package;
pub(crate) mod plan;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod up;
