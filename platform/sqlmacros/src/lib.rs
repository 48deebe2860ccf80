//! Macros over the SQL of bundles: text in, text out.
//!
//! A file with `{{ … }}`, `{% … %}` or `{# … #}` is a Jinja template. It sees two namespaces: `std`, the
//! library that comes with Cameo, and `team`, the macros of its own tenant. What it gives is GoogleSQL,
//! which is checked and run like SQL written by hand; [`Places`] leads from there back to what was written.
//!
//! Nothing here reads a file, a clock or the environment, so the same texts always give the same SQL. A
//! template cannot run away: work and memory are bounded by fuel, nesting by a depth, the result by a size,
//! and there is no `include`.

mod docs;
mod library;
mod namespace;
mod places;
mod problem;
mod render;
mod standard;

pub use docs::page;
pub use library::{Definition, Library, MACROS_MAX, MacroFile, Origin, Parameter};
pub use places::{Place, Places};
pub use problem::{Problem, ProblemKind, Unknown, Where};
pub use render::{DEPTH_MAX, FUEL, MacroUse, Rendered, SQL_BYTES_MAX, is_template, render};
pub use standard::{EXAMPLES, standard};
