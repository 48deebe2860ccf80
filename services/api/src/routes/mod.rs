//! The routes, one module per kind of thing.

pub(crate) mod audit;
pub(crate) mod card;
pub(crate) mod deployments;
pub(crate) mod erasures;
pub(crate) mod explanations;
pub(crate) mod exports;
pub(crate) mod generations;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod lineage;
pub(crate) mod me;
pub(crate) mod predictions;
pub(crate) mod profiles;
pub(crate) mod receipts;
pub(crate) mod releases;
pub(crate) mod runs;
pub(crate) mod segments;
pub(crate) mod services;
pub(crate) mod suppressions;
pub(crate) mod tenants;
pub(crate) mod verdicts;
pub(crate) mod webhooks;
