//! Migrations leave behind the binaries that they name, and nobody else.
//!
//! What a migration takes away is seen in the catalogue, before and after: whoever changed it must say so by raising
//! `works_since` to its own number.

use std::{collections::BTreeMap, path::Path};

use cameo_runtime::postgres::{EmbeddedPostgres, PostgresSettings};
use cameo_store::schema;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, migrate::Migrator};

/// From here on old and new run side by side.
const BASELINE: i64 = 23;

/// What binaries rely on: the name of a thing, and what is said of it.
type Catalogue = BTreeMap<String, String>;

const CATALOGUE: &str = "
    select format('column %s.%s', c.relname, a.attname) as thing,
           format_type(a.atttypid, a.atttypmod)
               || case when a.attnotnull then ' not null' else ' or null' end as said,
           a.attnotnull and not a.atthasdef and a.attidentity = '' as must_be_given
    from pg_class c join pg_attribute a on a.attrelid = c.oid
    where c.relnamespace = 'cameo'::regnamespace and c.relkind in ('r', 'p')
      and c.relname <> 'migrations' and a.attnum > 0 and not a.attisdropped
    union all
    select format('rule %s of cameo.%s', k.conname, c.relname), pg_get_constraintdef(k.oid), false
    from pg_constraint k join pg_class c on c.oid = k.conrelid
    where k.connamespace = 'cameo'::regnamespace and k.contype <> 'n'
    union all
    select format('rule %s of cameo.%s', i.indexrelid::regclass, c.relname),
           pg_get_indexdef(i.indexrelid), false
    from pg_index i join pg_class c on c.oid = i.indrelid
    where c.relnamespace = 'cameo'::regnamespace and i.indisunique
    union all
    select format('function %s', p.oid::regprocedure), pg_get_function_result(p.oid), false
    from pg_proc p where p.pronamespace = 'cameo'::regnamespace and p.prorettype <> 'trigger'::regtype";

struct Seen {
    catalogue: Catalogue,
    /// Columns that every insert has to name.
    must_be_given: Vec<String>,
}

async fn see(connection: &mut PgConnection) -> Seen {
    let rows = sqlx::query(CATALOGUE).fetch_all(connection).await.expect("the catalogue");
    let mut seen = Seen { catalogue: BTreeMap::new(), must_be_given: Vec::new() };
    for row in rows {
        let thing: String = row.get("thing");
        if row.get("must_be_given") {
            seen.must_be_given.push(thing.clone());
        }
        seen.catalogue.insert(thing, row.get("said"));
    }
    seen
}

/// What a binary of `before` would trip over in `after`.
fn taken_away(before: &Seen, after: &Seen) -> Vec<String> {
    let mut found = Vec::new();
    for (thing, said) in &before.catalogue {
        match after.catalogue.get(thing) {
            None => found.push(format!("{thing} is gone")),
            Some(now) if now != said => found.push(format!("{thing} was {said}, is {now}")),
            Some(_) => {}
        }
    }
    let table = |thing: &str| thing.rsplit_once('.').map(|(table, _)| table.to_owned());
    let known = |thing: &str| {
        before.catalogue.keys().any(|other| {
            other.starts_with("column ") && table(other).is_some() && table(other) == table(thing)
        })
    };
    for thing in &after.must_be_given {
        if !before.catalogue.contains_key(thing) && known(thing) {
            found.push(format!("{thing} has to be given"));
        }
    }
    for (thing, said) in &after.catalogue {
        // A new rule of a table that was there may refuse what older binaries write.
        let of_known = thing.split_once(" of cameo.").is_some_and(|(_, of)| {
            before.catalogue.keys().any(|other| other.starts_with(&format!("column {of}.")))
        });
        if thing.starts_with("rule ") && of_known && !before.catalogue.contains_key(thing) {
            found.push(format!("{thing} is new: {said}"));
        }
    }
    found
}

struct Database {
    connection: PgConnection,
    _postgres: EmbeddedPostgres,
    _folder: tempfile::TempDir,
}

impl Database {
    async fn start() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::Builder::new()
            .prefix("cameo-store-")
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("a temporary folder");
        let settings = PostgresSettings { shared_buffers_mb: 64, ..PostgresSettings::default() };
        let postgres =
            EmbeddedPostgres::start(&folder.path().join("pg"), &settings).expect("a Postgres");
        let connection = PgConnection::connect(&postgres.url()).await.expect("a connection");
        Self { connection, _postgres: postgres, _folder: folder }
    }
}

#[tokio::test]
async fn a_migration_that_takes_something_away_leaves_older_binaries_behind() {
    let mut database = Database::start().await;
    let connection = &mut database.connection;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
    let mut migrator = Migrator::new(folder.as_path()).await.expect("the migrations");
    migrator.create_schema("cameo");
    migrator.dangerous_set_table_name("cameo.migrations");
    migrator.run_direct(Some(BASELINE), connection, false).await.expect("the baseline");
    let mut before = see(connection).await;
    let mut works_since = BASELINE;
    for step in schema::steps().into_iter().filter(|step| step.version > BASELINE) {
        migrator.run_direct(Some(step.version), connection, false).await.expect("a migration");
        let after = see(connection).await;
        let found = taken_away(&before, &after);
        if found.is_empty() {
            assert_eq!(step.works_since, None, "migration {} leaves nobody behind", step.version);
        } else {
            let said = Some(step.version);
            assert_eq!(
                step.works_since, said,
                "migration {} has to set works_since to its number, for {found:#?}",
                step.version
            );
            works_since = step.version;
        }
        let told: i64 = sqlx::query_scalar("select works_since from cameo.schema_compatibility")
            .fetch_one(&mut *connection)
            .await
            .expect("the compatibility");
        assert_eq!(told, works_since, "what is read from the text is what is written");
        before = after;
    }
}

/// That the eye above sees: each change of this kind would break an older binary, or would not.
#[tokio::test]
async fn what_older_binaries_rely_on_is_seen_in_the_catalogue() {
    let mut database = Database::start().await;
    let connection = &mut database.connection;
    connection
        .execute(
            "create schema cameo;
             create table cameo.migrations (version bigint);
             create table cameo.things (thing bigint primary key, note text,
                 state text not null check (state in ('a', 'b')));
             create function cameo.helps(thing bigint) returns bigint language sql return thing",
        )
        .await
        .expect("a schema");
    let cases = [
        ("alter table cameo.things add column more text", false),
        ("alter table cameo.things add column more bigint not null default 0", false),
        ("create table cameo.others (other bigint primary key, note text not null)", false),
        ("create index things_by_note on cameo.things (note)", false),
        ("alter table cameo.things add column more text not null", true),
        ("alter table cameo.things drop column note", true),
        ("alter table cameo.things rename column note to remark", true),
        ("alter table cameo.things alter column thing type text", true),
        ("alter table cameo.things alter column note set not null", true),
        ("alter table cameo.things alter column state drop not null", true),
        ("alter table cameo.things add constraint short check (length(note) < 9)", true),
        (
            "alter table cameo.things drop constraint things_state_check, \
          add constraint things_state_check check (state in ('a', 'b', 'c'))",
            true,
        ),
        ("create unique index things_once on cameo.things (note)", true),
        ("drop function cameo.helps(bigint)", true),
        ("drop table cameo.things", true),
    ];
    let before = see(connection).await;
    for (statement, breaks) in cases {
        let mut transaction = connection.begin().await.expect("a transaction");
        transaction.execute(AssertSqlSafe(statement)).await.expect("the change");
        let found = taken_away(&before, &see(&mut transaction).await);
        assert_eq!(!found.is_empty(), breaks, "{statement}: {found:#?}");
        transaction.rollback().await.expect("back");
    }
}
