//! Random predictions of three services, as batches and as tables.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch,
        StringArray, TimestampMicrosecondArray,
    },
    datatypes::Int64Type,
};
use cameo_domain::{Column, DataType, PredictionSchema};
use chrono::{DateTime, Days, NaiveDate, Utc};
use proptest::{collection::btree_map, option, prelude::*, sample::select};
use sqlx::{Executor, PgConnection};

/// The services, each with [`schema`].
pub(super) const SERVICES: [&str; 3] = ["a", "b", "c"];
/// Customers have keys from 0 to here: few enough that services share some.
const KEYS: i64 = 24;
/// Rows of a batch: a service has several.
const BATCH_ROWS: usize = 7;

/// What a service says of a customer; all of it may be null.
pub(super) type Row =
    (i64, Option<i64>, Option<f64>, Option<&'static str>, Option<bool>, Option<i32>, Option<i64>);

/// The predictions of a service.
pub(super) struct Table {
    pub(super) batches: Vec<RecordBatch>,
}

pub(super) fn schema() -> PredictionSchema {
    let columns = [
        ("id", DataType::Int),
        ("i", DataType::Int),
        ("f", DataType::Float64),
        ("s", DataType::String),
        ("b", DataType::Bool),
        ("d", DataType::Date),
        ("t", DataType::Timestamp),
    ];
    let columns = columns
        .map(|(name, data_type)| Column { name: name.parse().expect("a column name"), data_type });
    PredictionSchema::new(columns.into()).expect("a schema")
}

/// Rows sorted by key.
pub(super) fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        option::of(-2_i64..4),
        // No infinity: their difference is NaN, which Postgres takes for the greatest number.
        option::of(select(vec![-1.5, -0.0, 0.0, 0.5, 2.0])),
        option::of(select(vec!["", "a", "A", "b", "ab", "a_b", "é", "%"])),
        option::of(any::<bool>()),
        option::of(-2_i32..3),
        option::of(-2_i64..3),
    );
    btree_map(0..KEYS, row, 0..20).prop_map(|rows| {
        let rows = rows.into_iter();
        rows.map(|(id, (i, f, s, b, d, t))| (id, i, f, s, b, d, t)).collect()
    })
}

pub(super) fn table(rows: &[Row]) -> Table {
    let schema = cameo_batch::arrow_schema(&schema());
    let batches = rows.chunks(BATCH_ROWS).map(|rows| {
        let times: TimestampMicrosecondArray = rows.iter().map(|row| row.6).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>()),
            Arc::new(rows.iter().map(|row| row.3).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.4).collect::<BooleanArray>()),
            Arc::new(rows.iter().map(|row| row.5).collect::<Date32Array>()),
            Arc::new(times.with_timezone("UTC")),
        ];
        RecordBatch::try_new(Arc::clone(&schema), columns).expect("a batch")
    });
    Table { batches: batches.collect() }
}

/// The keys of members.
pub(super) fn keys(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

/// Texts are compared by their bytes, as the platform does.
pub(super) async fn create(connection: &mut PgConnection) {
    for service in SERVICES {
        let sql = format!(
            "create temporary table {service} (id bigint primary key, i bigint, f double precision,
                 s text collate \"C\", b boolean, d date, t timestamptz)"
        );
        connection.execute(sqlx::AssertSqlSafe(sql)).await.expect("a table");
    }
}

pub(super) async fn fill(connection: &mut PgConnection, services: &[Vec<Row>; 3]) {
    for (service, rows) in SERVICES.into_iter().zip(services) {
        connection
            .execute(sqlx::AssertSqlSafe(format!("truncate {service}")))
            .await
            .expect("an empty table");
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a day");
        let day = |days: i32| {
            let distance = Days::new(u64::from(days.unsigned_abs()));
            if days < 0 { epoch - distance } else { epoch + distance }
        };
        let instant = |micros| DateTime::<Utc>::from_timestamp_micros(micros).expect("an instant");
        let insert = format!(
            "insert into {service} select * from unnest($1::bigint[], $2::bigint[],
                 $3::double precision[], $4::text[], $5::boolean[], $6::date[], $7::timestamptz[])"
        );
        sqlx::query(sqlx::AssertSqlSafe(insert))
            .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.1).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.2).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.3.map(str::to_owned)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.4).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.5.map(day)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.6.map(instant)).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await
            .expect("the rows");
    }
}
