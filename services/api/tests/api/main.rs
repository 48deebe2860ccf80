//! The API against a real Postgres with published generations.

mod deployments;
mod errors;
mod explanations;
mod issuer;
mod keys;
mod lookups;
mod matrix;
mod operations;
mod provenance;
mod releases;
mod scopes;
mod sweep;
mod tenancy;
mod tokens;
mod world;
