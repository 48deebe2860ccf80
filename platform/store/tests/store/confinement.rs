//! SQL users, each with a login of their own, meet nothing of other tenants and write nothing.
//!
//! What is tried is read from the catalogue: a table or a function that a later migration adds is tried too.

use std::collections::{BTreeMap, BTreeSet};

use cameo_runtime::postgres::ConnectionInfo;
use cameo_store::{
    ConnectOptions, Store, StoreError, generations, invariants,
    keys::{self, NewKey},
    logins,
    tenants::{self, TenantSettings},
};
use sqlx::{
    AssertSqlSafe, Connection, Executor, FromRow, PgConnection, Row, postgres::PgConnectOptions,
};

use crate::support::{World, crm, tenant};

const DENIED: &str = "42501";
/// Each is the login of one tenant, but for the last, whom nobody let in.
const LOGINS: [(&str, Option<&str>); 3] =
    [("alice", Some("crm")), ("bob", Some("marketing")), ("eve", None)];

/// A table or view of the platform.
#[derive(Debug, Clone, FromRow)]
struct Relation {
    schema: String,
    name: String,
    kind: String,
    /// Whether tenants are shown their rows of it.
    shown: bool,
    column: String,
}

impl Relation {
    fn sql(&self) -> String {
        format!("\"{}\".\"{}\"", self.schema, self.name)
    }

    /// Whether SQL users of this tenant may read it.
    fn is_for(&self, tenant: Option<&str>) -> bool {
        let Some(tenant) = tenant else { return false };
        self.shown || (self.kind == "v" && self.schema == format!("tenant_{tenant}"))
    }
}

/// Two tenants, each with something in every table that either is shown, and their SQL users.
async fn world() -> World {
    let world = World::start().await;
    world.tenant("marketing", 10).await;
    for (tenant, service) in [("crm", "clv"), ("marketing", "gender")] {
        world.service(tenant, service).await;
        world.published_by(tenant, service, "2026-03-01T00:00:00Z", 3).await;
        world.published_by(tenant, service, "2026-03-02T00:00:00Z", 3).await;
    }
    generations::refresh_views(&world.store).await.expect("the views");
    // What the platform would write in the course of time, here without its course.
    world
        .any_sql(
            "set session_replication_role = replica;
             insert into cameo.verdicts (run, tenant, service, release, due_at, passed, checks)
                 select run, tenant, service, release, due_at, true, '[]' from cameo.runs;
             insert into cameo.explanations (generation, tenant, service, method, description, output,
                     unit, base_value, stored, rows)
                 select generation, tenant, service, 'TREE', '', 'score', 'margin', 0, false, 3
                 from cameo.generations;
             insert into cameo.importances (generation, feature, rows, mean_absolute, mean)
                 select generation, 'age', 3, 1, 1 from cameo.generations;
             insert into cameo.quarantine (run, epoch, ordinal, reason)
                 select run, epoch, 1, 'the key is null' from cameo.runs",
        )
        .await
        .expect("rows for every table");
    for (login, tenant_name) in LOGINS {
        world.any_sql(&format!("create role {login} login")).await.expect("a login");
        if let Some(name) = tenant_name {
            logins::grant(&world.store, &tenant(name), login).await.expect("a grant");
        }
    }
    world
}

async fn as_user(world: &World, user: &str) -> PgConnection {
    let ConnectionInfo { socket_dir, port, database, .. } = world.postgres.connection();
    let options = PgConnectOptions::new_without_pgpass().socket(socket_dir).port(port);
    let options = options.username(user).database(&database);
    PgConnection::connect_with(&options).await.expect("a login")
}

async fn superuser(world: &World) -> PgConnection {
    PgConnection::connect(&world.postgres.url()).await.expect("a connection")
}

async fn relations(world: &World) -> Vec<Relation> {
    sqlx::query_as(
        "select n.nspname::text as schema, c.relname::text as name, c.relkind::text as kind,
                exists (select from pg_policy p
                        where p.polrelid = c.oid and p.polname = 'own_rows') as shown,
                (select quote_ident(a.attname) from pg_attribute a
                 where a.attrelid = c.oid and a.attnum > 0 and a.attidentity = '' and not a.attisdropped
                 order by a.attnum limit 1) as column
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where (n.nspname = 'cameo' or n.nspname like 'tenant\\_%') and c.relkind in ('r', 'p', 'v', 'm')
         order by 1, 2",
    )
    .fetch_all(&mut superuser(world).await)
    .await
    .expect("the catalogue")
}

/// The SQLSTATE with which Postgres refuses the statement, or none.
async fn refusal(connection: &mut PgConnection, sql: &str) -> Option<String> {
    let error = connection.execute(AssertSqlSafe(sql.to_owned())).await.err()?;
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    Some(code.unwrap_or_else(|| panic!("{sql}: {error}")).into_owned())
}

async fn assert_denied(connection: &mut PgConnection, who: &str, sql: &str) {
    assert_eq!(refusal(connection, sql).await.as_deref(), Some(DENIED), "{who}: {sql}");
}

/// Which rows of a table somebody sees.
async fn rows(connection: &mut PgConnection, relation: &Relation) -> BTreeSet<String> {
    let sql = format!("select ctid::text from {}", relation.sql());
    let rows = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(connection).await;
    rows.unwrap_or_else(|error| panic!("{}: {error}", relation.sql())).into_iter().collect()
}

#[tokio::test]
async fn sql_users_read_what_is_shown_to_their_tenant_and_nothing_else() {
    let world = world().await;
    let relations = relations(&world).await;
    assert!(relations.len() > 20, "{relations:?}");
    for (login, tenant) in LOGINS {
        let mut connection = as_user(&world, login).await;
        for relation in &relations {
            let sql = format!("select * from {}", relation.sql());
            if relation.is_for(tenant) {
                assert_eq!(refusal(&mut connection, &sql).await, None, "{login}: {sql}");
            } else {
                assert_denied(&mut connection, login, &sql).await;
            }
        }
    }
    let views = relations.iter().filter(|relation| relation.kind == "v").count();
    assert_eq!(views, 2, "each tenant has a view");
}

#[tokio::test]
async fn the_rows_of_shared_tables_are_each_seen_by_one_tenant_alone() {
    let world = world().await;
    let mut everybody = superuser(&world).await;
    let (mut alice, mut bob) = (as_user(&world, "alice").await, as_user(&world, "bob").await);
    let mut shown = BTreeMap::new();
    for relation in relations(&world).await.iter().filter(|relation| relation.shown) {
        let all = rows(&mut everybody, relation).await;
        let (own, other) = (rows(&mut alice, relation).await, rows(&mut bob, relation).await);
        assert!(!own.is_empty() && !other.is_empty(), "{} has rows of both", relation.name);
        assert!(own.is_disjoint(&other), "{}", relation.name);
        assert_eq!(own.union(&other).cloned().collect::<BTreeSet<_>>(), all, "{}", relation.name);
        shown.insert(relation.name.clone(), own.len());
    }
    assert_eq!(
        shown.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "explanations",
            "generations",
            "importances",
            "publications",
            "quarantine",
            "release_stages",
            "releases",
            "runs",
            "services",
            "verdicts",
        ],
        "what tenants are shown is decided in a migration, and here a second time"
    );
    // Neither what a transaction says of itself nor a switch opens more.
    alice.execute("set cameo.tenant = 'marketing'").await.expect("anybody may say so");
    let seen: i64 = sqlx::query_scalar("select count(*) from cameo.runs")
        .fetch_one(&mut alice)
        .await
        .expect("a count");
    assert_eq!(seen, 0);
    alice.execute("reset cameo.tenant; set row_security = off").await.expect("a switch");
    assert_denied(&mut alice, "alice", "select * from cameo.runs").await;
}

#[tokio::test]
async fn sql_users_write_change_and_lock_nothing() {
    let world = world().await;
    let entries = world.number("select count(*) from cameo.audit").await;
    let relations = relations(&world).await;
    for (login, _) in LOGINS {
        let mut connection = as_user(&world, login).await;
        for relation in &relations {
            let (name, column) = (relation.sql(), &relation.column);
            let mut tried = vec![
                format!("insert into {name} default values"),
                format!("update {name} set {column} = {column}"),
                format!("delete from {name}"),
                format!("select * from {name} for update"),
                format!("alter {} {name} rename to taken", kind(relation)),
                format!("drop {} {name} cascade", kind(relation)),
            ];
            if relation.kind != "v" {
                tried.extend([
                    format!("truncate {name} cascade"),
                    format!("do $$ begin lock table {name} in row exclusive mode; end $$"),
                    format!("alter table {name} disable row level security"),
                    format!("create policy mine on {name} using (true)"),
                    format!("create index on {name} ({column})"),
                    format!("copy {name} from stdin"),
                    format!("copy {name} to '/tmp/taken'"),
                ]);
            }
            for sql in tried {
                assert_denied(&mut connection, login, &sql).await;
            }
        }
        for schema in ["cameo", "tenant_crm", "tenant_marketing", "public"] {
            for sql in [
                format!("create table {schema}.mine (x int)"),
                format!("create view {schema}.mine as select 1 as x"),
                format!("create function {schema}.mine() returns int language sql return 1"),
                format!("drop schema {schema} cascade"),
                format!("grant usage on schema {schema} to public"),
            ] {
                let found = refusal(&mut connection, &sql).await;
                // A grant of what one does not own warns, where one has a right to pass nothing on.
                let expected =
                    if sql.starts_with("grant") && found.is_none() { None } else { Some(DENIED) };
                assert_eq!(found.as_deref(), expected, "{login}: {sql}");
            }
        }
        assert_denied(&mut connection, login, "create schema mine").await;
    }
    assert_eq!(world.number("select count(*) from cameo.audit").await, entries);
}

fn kind(relation: &Relation) -> &'static str {
    if relation.kind == "v" { "view" } else { "table" }
}

#[tokio::test]
async fn sql_users_call_none_of_the_platforms_functions_and_become_nobody_else() {
    let world = world().await;
    let mut catalogue = superuser(&world).await;
    catalogue.execute("set search_path = ''").await.expect("types with their schemas");
    let functions: Vec<(String, String)> = sqlx::query_as(
        "select p.proname::text, format('select cameo.%I(%s)', p.proname, (
                    select string_agg(format('null::%s', format_type(t, null)), ', ' order by n)
                    from unnest(p.proargtypes) with ordinality as a (t, n)))
         from pg_proc p where p.pronamespace = 'cameo'::regnamespace order by 1",
    )
    .fetch_all(&mut catalogue)
    .await
    .expect("the catalogue");
    assert!(functions.len() > 20, "{functions:?}");
    let roles: Vec<String> = sqlx::query("select rolname::text from pg_roles order by 1")
        .fetch_all(&mut catalogue)
        .await
        .expect("the roles")
        .iter()
        .map(|row| row.get(0))
        .collect();
    for (login, tenant) in LOGINS {
        let mut connection = as_user(&world, login).await;
        for (name, call) in &functions {
            if name != "own_tenants" || tenant.is_none() {
                assert_denied(&mut connection, login, call).await;
            }
        }
        let own = tenant.map(|tenant| format!("tenant_{tenant}"));
        for role in &roles {
            let is_own = role == login
                || tenant.is_some() && (Some(role) == own.as_ref() || role == "cameo_readers");
            if is_own {
                continue;
            }
            assert_denied(&mut connection, login, &format!("set role \"{role}\"")).await;
            let sql = format!("set session authorization \"{role}\"");
            assert_denied(&mut connection, login, &sql).await;
            if let Some(own) = &own {
                assert_denied(&mut connection, login, &format!("grant \"{own}\" to \"{role}\""))
                    .await;
            }
        }
        assert_denied(&mut connection, login, "select pg_read_file('postgresql.conf')").await;
        assert_denied(&mut connection, login, "create role mine").await;
    }
}

#[tokio::test]
async fn a_view_that_is_made_anew_stays_readable_and_a_revoked_login_reads_nothing() {
    let world = world().await;
    let mut alice = as_user(&world, "alice").await;
    let sql = "select * from tenant_crm.clv";
    world.any_sql("drop view tenant_crm.clv").await.expect("somebody drops the view");
    world
        .any_sql("update cameo.services set view_generation = null")
        .await
        .expect("and it is missed");
    generations::refresh_views(&world.store).await.expect("the views");
    assert_eq!(refusal(&mut alice, sql).await, None);
    let record = |tenant: &str, login: &str| logins::LoginRecord {
        tenant: tenant.to_owned(),
        login: login.to_owned(),
    };
    let listed = logins::list(&world.store, None).await.expect("the logins");
    assert_eq!(listed, [record("crm", "alice"), record("marketing", "bob")]);
    logins::revoke(&world.store, &crm(), "alice").await.expect("a revocation");
    assert_denied(&mut alice, "alice", sql).await;
    assert_denied(&mut alice, "alice", "select * from cameo.runs").await;
    assert!(logins::list(&world.store, Some(&crm())).await.expect("the logins").is_empty());
    let again = logins::revoke(&world.store, &crm(), "alice").await;
    assert!(matches!(again, Err(StoreError::NotFound(_))), "{again:?}");
    let noted = world
        .number(
            "select count(*) from cameo.audit where action like 'login.%' and subject = 'alice'",
        )
        .await;
    assert_eq!(noted, 2);
}

#[tokio::test]
async fn a_login_that_no_row_security_would_bind_is_refused() {
    let world = world().await;
    world.any_sql("create role root_like superuser login; create role team").await.expect("roles");
    for (login, expected) in [
        ("nobody", "expected a login of Postgres, found no role nobody"),
        ("root_like", "sees everything already"),
        ("platform", "sees everything already"),
        ("team", "expected a role that can log in"),
    ] {
        let refused = logins::grant(&world.store, &crm(), login).await.expect_err(login);
        assert!(refused.to_string().contains(expected), "{refused}");
    }
    let unknown = logins::grant(&world.store, &tenant("absent"), "alice").await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
}

#[tokio::test]
async fn without_the_right_to_make_roles_nothing_fails_and_the_doctor_says_what_to_run() {
    let world = World::start().await;
    world.assert_sound().await;
    world.any_sql("alter role platform nocreaterole").await.expect("a right less");
    world
        .any_sql("drop owned by cameo_readers; drop role cameo_readers")
        .await
        .expect("a role less");
    world.tenant("late", 1).await;
    let mut statements = Vec::new();
    while let Some(breach) =
        invariants::check(&world.store).await.expect("the check").first().cloned()
    {
        assert_eq!(breach.invariant, "the SQL users of each tenant have its role", "{breach:?}");
        let (_, statement) = breach.detail.split_once("has to run: ").expect("a statement");
        world.any_sql(statement).await.expect("an administrator's statement");
        statements.push(statement.to_owned());
        assert!(statements.len() < 10, "{statements:?}");
    }
    assert_eq!(
        statements,
        [
            "create role cameo_readers nologin",
            "grant cameo_readers to tenant_crm",
            "create role tenant_late nologin in role cameo_readers",
        ]
    );
    // The next start of any process does the rest.
    world.store.migrate().await.expect("a start");
    world.any_sql("create role carol login; grant tenant_late to carol").await.expect("a login");
    let mut carol = as_user(&world, "carol").await;
    assert_eq!(refusal(&mut carol, "select * from cameo.runs").await, None);
}

#[tokio::test]
async fn databases_of_one_cluster_make_their_tenants_roles_at_the_same_time() {
    let world = World::start().await;
    world.any_sql("create database second owner platform").await.expect("a database");
    let ConnectionInfo { socket_dir, port, .. } = world.postgres.connection();
    let options = ConnectOptions::from_socket(&socket_dir, port, "platform", "second");
    let second = Store::connect(&options).await.expect("a connection");
    second.migrate().await.expect("the migrations");
    for number in 0..20 {
        let name = tenant(&format!("t{number}"));
        let settings = TenantSettings { max_concurrent_runs: 1 };
        let (one, other) = tokio::join!(
            tenants::ensure(&world.store, &name, &settings),
            tenants::ensure(&second, &name, &settings)
        );
        one.expect("a tenant");
        other.expect("a tenant");
    }
    world.assert_sound().await;
    assert!(invariants::check(&second).await.expect("the check").is_empty());
}

#[tokio::test]
async fn a_statement_that_forgets_its_tenant_meets_nobody_elses_rows_in_a_confined_transaction() {
    let world = world().await;
    let key = NewKey {
        prefix: "marketing".to_owned(),
        hash: cameo_domain::Sha256::of("secret"),
        tenant: Some(tenant("marketing")),
        name: "test".to_owned(),
        scopes: cameo_domain::Scopes::all(),
        services: cameo_domain::Services::All,
        created_by: "test".to_owned(),
        expires_at: None,
    };
    keys::insert(&world.store, &key).await.expect("a key");
    // Asked without a tenant the store takes every key: what would be a leak is one here.
    let confined = world.store.confined(crm());
    let hidden = keys::revoke(&confined, None, "marketing").await;
    assert!(matches!(hidden, Err(StoreError::NotFound(_))), "{hidden:?}");
    let foreign = keys::insert(&confined, &NewKey { prefix: "other".to_owned(), ..key }).await;
    assert!(foreign.is_err(), "a row of somebody else is not written either");
    let own = world.store.confined(tenant("marketing"));
    keys::revoke(&own, None, "marketing").await.expect("the own key");
    // The next transaction on the same connection says nothing of it.
    assert_eq!(keys::list(&world.store, None).await.expect("all keys").len(), 1);
}

#[tokio::test]
async fn tables_that_a_backup_brings_back_under_another_owner_are_seen_again() {
    let world = World::start().await;
    world.service("crm", "clv").await;
    world
        .any_sql(
            "create role successor login createrole;
             reassign owned by platform to successor;
             alter table cameo.runs no force row level security",
        )
        .await
        .expect("another owner");
    let ConnectionInfo { socket_dir, port, database, .. } = world.postgres.connection();
    let options = ConnectOptions::from_socket(&socket_dir, port, "successor", &database);
    let store = Store::connect(&options).await.expect("a connection");
    let seen = cameo_store::services::list(&store, None).await.expect("the services");
    assert!(seen.is_empty(), "the policies still name the owner of before");
    store.migrate().await.expect("a start");
    let seen = cameo_store::services::list(&store, None).await.expect("the services");
    assert_eq!(seen.len(), 1);
    assert!(invariants::check(&store).await.expect("the check").is_empty());
}
