//! The clients and the document, each against a server that runs.

mod conformance;
mod page;
mod python;
mod rust;
mod server;
