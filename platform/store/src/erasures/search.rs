//! The search at the end: every place once more, to find nothing.

use std::collections::{BTreeMap, HashMap};

use cameo_domain::{GenerationId, Key};
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::{
    ErasedKey, Turn, quarantined,
    rows::bind_keys,
    tables::lock,
    turns::{hold, keys_of},
};
use crate::{
    Store, StoreError,
    row::{quoted, signed},
};

/// Keys as the arrays of a query.
pub(super) struct Asked {
    pub(super) erasures: Vec<i64>,
    pub(super) keys: Vec<String>,
    pub(super) key_types: Vec<&'static str>,
}

impl Asked {
    pub(super) fn of(keys: &[ErasedKey]) -> Self {
        Self {
            erasures: keys.iter().map(|erased| erased.erasure.0).collect(),
            keys: keys.iter().map(|erased| erased.key.to_string()).collect(),
            key_types: keys.iter().map(|erased| type_of(&erased.key)).collect(),
        }
    }
}

/// As what a key is declared.
pub(super) fn type_of(key: &Key) -> &'static str {
    match key {
        Key::Int(_) => "INT",
        Key::String(_) => "STRING",
    }
}

/// Searches the tables and quarantine once more for the erasures of the turn that are done everywhere, and
/// writes down what was found. A place where anything was found is gone through again.
pub async fn search_again(store: &Store, turn: &Turn) -> Result<(), StoreError> {
    let steps = sqlx::query(
        "select s.erasure, s.place, s.subject from cameo.erasure_steps s
         where s.erasure = any ($1) and s.place in ('table', 'quarantine')
           and not exists (select from cameo.erasure_steps o
                           where o.erasure = s.erasure and o.state <> 'done')",
    )
    .bind(turn.ids())
    .fetch_all(store.control())
    .await?;
    let mut done = Vec::new();
    let mut tables: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for step in &steps {
        let erasure: i64 = step.try_get("erasure")?;
        match step.try_get("place")? {
            "table" => tables.entry(step.try_get("subject")?).or_default().push(erasure),
            _ => done.push(erasure),
        }
    }
    // One table at a time: whoever holds one service waits for no other.
    for (generation, erasures) in tables {
        let turn = turn.clone();
        store
            .transaction(move |connection| {
                Box::pin(async move {
                    search_table(connection, &turn, GenerationId(generation), &erasures).await
                })
            })
            .await?;
    }
    let turn = turn.clone();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &turn).await?;
                quarantined::search(connection, &turn, &done).await
            })
        })
        .await
}

async fn search_table(
    connection: &mut PgConnection,
    turn: &Turn,
    generation: GenerationId,
    erasures: &[i64],
) -> Result<(), StoreError> {
    hold(connection, turn).await?;
    let kept = lock(connection, generation).await?;
    let declared = kept.schema.key();
    let mut keys = keys_of(connection, turn).await?;
    keys.retain(|erased| {
        erasures.contains(&erased.erasure.0) && type_of(&erased.key) == declared.data_type.as_str()
    });
    let mut found: HashMap<String, u64> = HashMap::new();
    if !kept.dropped {
        let name = quoted(declared.name.as_str());
        let sql = format!(
            "select {name}::text as key, count(*) as rows from {} where {name} = any ($1) group by 1",
            kept.table.sql()
        );
        let query = bind_keys(sqlx::query(AssertSqlSafe(sql)), keys.iter().map(|one| &one.key));
        for row in query.fetch_all(&mut *connection).await? {
            let rows: i64 = row.try_get("rows")?;
            found.insert(row.try_get("key")?, rows.unsigned_abs());
        }
    }
    for ErasedKey { erasure, key } in keys {
        let rows = found.get(&key.to_string()).copied().unwrap_or_default();
        found_again(connection, erasure.0, "table", generation.0, rows).await?;
    }
    Ok(())
}

/// Writes down what the search at the end found in a place.
pub(super) async fn found_again(
    connection: &mut PgConnection,
    erasure: i64,
    place: &str,
    subject: i64,
    rows: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "update cameo.erasure_steps
         set rows_found_again = $4,
             state = case when $4 = 0 then state else 'pending' end,
             finished_at = case when $4 = 0 then finished_at end
         where erasure = $1 and place = $2 and subject = $3",
    )
    .bind(erasure)
    .bind(place)
    .bind(subject)
    .bind(signed(rows))
    .execute(connection)
    .await?;
    Ok(())
}
