//! The API against a real Postgres with published generations.

mod deployments;
mod errors;
mod explanations;
mod json_schema;
mod lookups;
mod openapi;
mod operations;
mod profiles;
mod provenance;
mod releases;
mod scopes;
mod tenancy;
mod world;
