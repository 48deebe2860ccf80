//! The API against a real Postgres with published generations.

mod deployments;
mod errors;
mod explanations;
mod lookups;
mod operations;
mod provenance;
mod releases;
mod scopes;
mod tenancy;
mod webhooks;
mod world;
