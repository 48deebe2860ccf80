//! Access by SQL: which logins of Postgres have the role of a tenant.
//!
//! The role reads the tenant's views and its own rows of the control plane (migration 0014). Logins and their
//! passwords are the administrator's of Postgres: none is made or dropped here.

use cameo_domain::TenantName;
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Row};

use crate::{
    Store, StoreError,
    error::sqlstate,
    row::{quoted, tenant_schema},
    tenants::confine,
};

/// `insufficient_privilege`.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A login that reads what a tenant is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct LoginRecord {
    /// The tenant.
    pub tenant: String,
    /// The role with which its users connect.
    pub login: String,
}

/// Gives a login the role of the tenant, and notes it in the audit trail.
pub async fn grant(store: &Store, tenant: &TenantName, login: &str) -> Result<(), StoreError> {
    let (tenant, login) = (tenant.clone(), login.to_owned());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                must_exist(connection, &tenant).await?;
                must_be_bound(connection, &login).await?;
                if let Some(left) = confine(connection, &tenant).await? {
                    return Err(StoreError::Login(format!(
                        "the tenant {tenant} has no role yet, and the platform's own may not make it; \
                         let an administrator of Postgres run: {left};"
                    )));
                }
                let role = quoted(&tenant_schema(&tenant));
                run(connection, format!("grant {role} to {}", quoted(&login))).await?;
                note(connection, &tenant, "login.granted", &login).await
            })
        })
        .await
}

/// Takes the role of the tenant from a login, and notes it in the audit trail. What the login is reading
/// just now it reads to the end.
pub async fn revoke(store: &Store, tenant: &TenantName, login: &str) -> Result<(), StoreError> {
    let (tenant, login) = (tenant.clone(), login.to_owned());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let listed = members(connection, Some(&tenant)).await?;
                if !listed.iter().any(|record| record.login == login) {
                    return Err(StoreError::NotFound(format!("login {login} of tenant {tenant}")));
                }
                let role = quoted(&tenant_schema(&tenant));
                run(connection, format!("revoke {role} from {}", quoted(&login))).await?;
                note(connection, &tenant, "login.revoked", &login).await
            })
        })
        .await
}

/// The logins of a tenant, or of all, by name.
pub async fn list(
    store: &Store,
    tenant: Option<&TenantName>,
) -> Result<Vec<LoginRecord>, StoreError> {
    let mut connection = store.control().acquire().await?;
    members(&mut connection, tenant).await
}

async fn members(
    connection: &mut PgConnection,
    tenant: Option<&TenantName>,
) -> Result<Vec<LoginRecord>, StoreError> {
    // From PG 16 on who makes a role is its administrator, which lets nobody read by it.
    let records = sqlx::query_as(
        "select distinct t.tenant, member.rolname::text as login
         from cameo.tenants t
         join pg_roles role on role.rolname = 'tenant_' || t.tenant
         join pg_auth_members m on m.roleid = role.oid
         join pg_roles member on member.oid = m.member
         where ($1::text is null or t.tenant = $1)
           and (pg_has_role(member.oid, role.oid, 'usage') or member.rolname <> current_user)
         order by 1, 2",
    )
    .bind(tenant.map(TenantName::as_str))
    .fetch_all(connection)
    .await?;
    Ok(records)
}

async fn must_exist(connection: &mut PgConnection, tenant: &TenantName) -> Result<(), StoreError> {
    let known = sqlx::query("select from cameo.tenants where tenant = $1")
        .bind(tenant.as_str())
        .fetch_optional(connection)
        .await?;
    known.map(|_| ()).ok_or_else(|| StoreError::NotFound(format!("tenant {tenant}")))
}

/// Refuses logins that no row security binds, for they would only seem to be confined.
async fn must_be_bound(connection: &mut PgConnection, login: &str) -> Result<(), StoreError> {
    let found = sqlx::query(
        "select rolcanlogin,
                rolsuper or rolbypassrls or pg_has_role(r.oid, n.nspowner, 'member') as unbound
         from pg_roles r, pg_namespace n where r.rolname = $1 and n.nspname = 'cameo'",
    )
    .bind(login)
    .fetch_optional(connection)
    .await?;
    let refused = match found {
        None => format!(
            "expected a login of Postgres, found no role {login}; let an administrator run: create \
             role {} login",
            quoted(login)
        ),
        Some(found) if found.try_get("unbound")? => {
            format!("the role {login} sees everything already; name one of the tenant's own")
        }
        Some(found) if !found.try_get::<bool, _>("rolcanlogin")? => {
            format!("expected a role that can log in, found {login}, which cannot")
        }
        Some(_) => return Ok(()),
    };
    Err(StoreError::Login(refused))
}

async fn run(connection: &mut PgConnection, statement: String) -> Result<(), StoreError> {
    match sqlx::query(AssertSqlSafe(statement.clone())).execute(connection).await {
        Ok(_) => Ok(()),
        Err(error) if sqlstate(&error).as_deref() == Some(INSUFFICIENT_PRIVILEGE) => {
            Err(StoreError::Login(format!(
                "the platform's own role may not do this; let an administrator of Postgres run: \
                 {statement};"
            )))
        }
        Err(error) => Err(error.into()),
    }
}

async fn note(
    connection: &mut PgConnection,
    tenant: &TenantName,
    action: &str,
    login: &str,
) -> Result<(), StoreError> {
    sqlx::query("select cameo.append_audit(null, $1, null, $2, $3, '{}')")
        .bind(tenant.as_str())
        .bind(action)
        .bind(login)
        .execute(connection)
        .await?;
    Ok(())
}
