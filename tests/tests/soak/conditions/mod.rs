//! A condition means what it means in a `WHERE`: the members of a segment are whom Postgres finds by the same
//! condition over the same predictions, nulls, customers whom a service does not know and shares included.
//!
//! `platform/segment` holds its evaluation to an interpreter of its own; this is the opinion of somebody else.
//! Left out is what is documented to differ: NaN, and infinities that make it, equal nothing here, and integers
//! beyond 64 bits are NULL.

mod tables;
mod written;

use std::cell::{Cell, RefCell};

use cameo_segment::{Catalog, Condition, Members, Selection, Share, Source, count};
use cameo_tests::{Cluster, report, rounds, seed};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use tables::{SERVICES, Table, rows, schema, table};
use written::{Written, condition};

/// Rounds in CI: each is new predictions with [`CONDITIONS`] conditions over them.
const ROUNDS: u32 = 150;
const CONDITIONS: usize = 8;
/// What a hold-out may be called; some of a salt's buckets are hit by the few customers there are.
const SALTS: [&str; 3] = ["spring", "a", "x_1"];

/// A condition with the shares that go with it.
#[derive(Debug, Clone)]
struct Asked {
    condition: Written,
    hold_out: Option<(u32, &'static str)>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let share = (1_u32..=10_000, proptest::sample::select(SALTS.to_vec()));
    (condition(), option::weighted(0.3, share))
        .prop_map(|(condition, hold_out)| Asked { condition, hold_out })
}

#[test]
fn members_are_whom_postgres_finds() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = runtime.block_on(Cluster::shared());
    let url = cluster.postgres().url();
    let mut connection = runtime.block_on(PgConnection::connect(&url)).expect("a connection");
    runtime.block_on(tables::create(&mut connection));
    let connection = RefCell::new(connection);

    let rounds = rounds(ROUNDS);
    let config = Config { cases: rounds, failure_persistence: None, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed().to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let (conditions, members) = (Cell::new(0_u64), Cell::new(0_u64));
    let cases = (proptest::array::uniform3(rows()), vec(asked(), CONDITIONS));
    let told = TestRunner::new_with_rng(config, random).run(&cases, |(rows, asked)| {
        let connection = &mut *connection.borrow_mut();
        runtime.block_on(tables::fill(connection, &rows));
        let tables = rows.map(|rows| table(&rows));
        for asked in asked {
            let ours = evaluated(&tables, &asked)?;
            let theirs = runtime.block_on(found(connection, &asked));
            prop_assert_eq!(
                &ours,
                &theirs,
                "{} | {}",
                asked.condition.cameo,
                asked.condition.postgres
            );
            conditions.set(conditions.get() + 1);
            members.set(members.get() + ours.len() as u64);
        }
        Ok(())
    });
    told.unwrap_or_else(|failure| panic!("{failure}"));
    report(
        "conditions compared with Postgres",
        &[("conditions", &conditions.get()), ("members", &members.get()), ("differences", &0)],
    );
}

/// The members as the platform finds them, by key; the count says the same.
fn evaluated(tables: &[Table; 3], asked: &Asked) -> Result<Vec<i64>, TestCaseError> {
    let failed = |error: &dyn std::error::Error| {
        TestCaseError::fail(format!("{error}: {}", asked.condition.cameo))
    };
    let services = SERVICES.map(|name| name.parse().expect("a service name"));
    let catalog = services.iter().map(|service| (Clone::clone(service), schema())).collect();
    let condition = Condition::parse(&asked.condition.cameo, &Catalog::new(catalog));
    let condition = condition.map_err(|error| failed(&error))?;
    let schema = schema();
    let sources: Vec<Source<'_>> = services
        .iter()
        .zip(tables)
        .filter(|(service, _)| condition.services().contains(service))
        .map(|(service, table)| Source { service, schema: &schema, batches: &table.batches })
        .collect();
    let share = asked
        .hold_out
        .map(|(buckets, salt)| Share::new(f64::from(buckets) / 100.0, salt).expect("a share"));
    let selection = Selection { condition: &condition, sample: None, hold_out: share.as_ref() };
    let members = Members::prepare(&selection, &[], &sources).map_err(|error| failed(&error))?;
    let mut keys = Vec::new();
    let of_walk = members.each_batch(|batch| {
        keys.extend(tables::keys(&batch));
        Ok::<_, cameo_segment::EvaluateError>(())
    });
    let of_walk = of_walk.map_err(|error| failed(&error))?;
    let threads = std::num::NonZeroUsize::MIN;
    let counted = count(&selection, &sources, threads).map_err(|error| failed(&error))?;
    prop_assert_eq!(counted.members, keys.len() as u64);
    prop_assert_eq!((counted.members, counted.profiles), (of_walk.members, of_walk.profiles));
    Ok(keys)
}

/// The members as Postgres finds them, by key.
async fn found(connection: &mut PgConnection, asked: &Asked) -> Vec<i64> {
    let Asked { condition, hold_out } = asked;
    let named = SERVICES.into_iter().filter(|service| condition.names(service));
    let known: Vec<String> = named.map(|service| format!("select id from {service}")).collect();
    // As docs/segments.md tells analysts.
    let shares = hold_out.map_or_else(String::new, |(buckets, salt)| {
        format!(
            " and not ('x' || left(encode(sha256(convert_to('{salt}' || ':' || k.id, 'UTF8')), 'hex'),
             15))::bit(60)::bigint % 10000 < {buckets}"
        )
    });
    let sql = format!(
        "select k.id from ({}) k left join a on a.id = k.id left join b on b.id = k.id
         left join c on c.id = k.id where ({}){shares} order by k.id",
        known.join(" union "),
        condition.postgres
    );
    let found = sqlx::query_scalar(AssertSqlSafe(sql.clone())).fetch_all(connection).await;
    found.unwrap_or_else(|error| panic!("{error}: {sql}"))
}
