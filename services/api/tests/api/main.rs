//! The API against a real Postgres with published generations.

mod deployments;
mod erasures;
mod errors;
mod explanations;
mod exports;
mod issuer;
mod json_schema;
mod keys;
mod limits;
mod lookups;
mod matrix;
mod openapi;
mod operations;
mod profiles;
mod provenance;
mod releases;
mod scopes;
mod segments;
mod sweep;
mod tenancy;
mod tokens;
mod webhooks;
mod world;
