//! Access by SQL.

use cameo_domain::TenantName;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum SqlAccess {
    /// Give a login the role of a tenant: its views, and its own rows of the control plane.
    Grant {
        /// The tenant.
        tenant: TenantName,
        /// A role of Postgres that can log in; an administrator makes it.
        login: String,
    },
    /// Take the role from a login.
    Revoke {
        /// The tenant.
        tenant: TenantName,
        /// The role of Postgres.
        login: String,
    },
    /// List the logins of all tenants, or of one.
    List {
        /// Only of this tenant.
        tenant: Option<TenantName>,
    },
}
