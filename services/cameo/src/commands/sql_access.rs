//! `cameo sql-access`: which logins of Postgres read what a tenant is shown.

use std::process::ExitCode;

use cameo_domain::TenantName;
use cameo_store::logins;
use serde::Serialize;

use crate::{
    cli::{Global, SqlAccess},
    deployment::Deployment,
    output::{Output, table},
};

#[derive(Serialize)]
struct Changed {
    tenant: TenantName,
    login: String,
}

pub(crate) async fn run(
    global: &Global,
    access: SqlAccess,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let store = &deployment.store;
    match access {
        SqlAccess::Grant { tenant, login } => {
            logins::grant(store, &tenant, &login).await?;
            output.show(&Changed { tenant, login }, |changed| {
                let Changed { tenant, login } = changed;
                format!("{login} reads the views of the schema tenant_{tenant} and its own rows of cameo")
            })?;
        }
        SqlAccess::Revoke { tenant, login } => {
            logins::revoke(store, &tenant, &login).await?;
            output.show(&Changed { tenant, login }, |changed| {
                format!("{} no longer reads what is {}'s", changed.login, changed.tenant)
            })?;
        }
        SqlAccess::List { tenant } => {
            let listed = logins::list(store, tenant.as_ref()).await?;
            output.show(&listed, |listed| {
                if listed.is_empty() {
                    return "no login reads by SQL yet; `cameo sql-access grant <tenant> <login>` lets one"
                        .to_owned();
                }
                table(
                    &["tenant", "login"],
                    listed.iter().map(|record| vec![record.tenant.clone(), record.login.clone()]),
                )
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
