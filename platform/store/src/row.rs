//! Reading rows into the domain's types, and writing identifiers.

use std::str::FromStr;

use cameo_domain::{ServiceName, ServicePath, Services, TenantName};
use sqlx::{Decode, Error, Postgres, Row, Type, postgres::PgRow};

/// Reads of columns whose values are parsed.
pub(crate) trait Columns {
    /// A text column as a domain type.
    fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> Result<T, Error>;
    /// A nullable text column as a domain type.
    fn parsed_option<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> Result<Option<T>, Error>;
    /// A nullable count.
    fn count(&self, column: &str) -> Result<Option<u64>, Error>;
    /// A JSON column as a typed value.
    fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<Option<T>, Error>;
    /// The columns `tenant` and `service`.
    fn path(&self) -> Result<ServicePath, Error>;
}

impl Columns for PgRow {
    fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> Result<T, Error> {
        let text: &str = self.try_get(column)?;
        text.parse().map_err(|source| wrong(column, source))
    }

    fn parsed_option<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: &str,
    ) -> Result<Option<T>, Error> {
        let text: Option<&str> = self.try_get(column)?;
        text.map(|text| text.parse().map_err(|source| wrong(column, source))).transpose()
    }

    fn count(&self, column: &str) -> Result<Option<u64>, Error> {
        let count: Option<i64> = self.try_get(column)?;
        count.map(|count| u64::try_from(count).map_err(|source| wrong(column, source))).transpose()
    }

    fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<Option<T>, Error> {
        let value: Option<sqlx::types::Json<T>> = self.try_get(column)?;
        Ok(value.map(|value| value.0))
    }

    fn path(&self) -> Result<ServicePath, Error> {
        Ok(ServicePath::new(self.parsed("tenant")?, self.parsed("service")?))
    }
}

fn wrong(column: &str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::ColumnDecode { index: column.to_owned(), source: Box::new(source) }
}

/// A column under a domain newtype.
pub(crate) fn get<'r, T, V>(row: &'r PgRow, column: &str, new: fn(V) -> T) -> Result<T, Error>
where
    V: Decode<'r, Postgres> + Type<Postgres>,
{
    row.try_get(column).map(new)
}

/// A count as Postgres' signed integer. Counts of rows stay far below 2^63.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The names of some services for a query; null stands for all.
pub(crate) fn names(services: &Services) -> Option<Vec<&str>> {
    services.names().map(|names| names.iter().map(ServiceName::as_str).collect())
}

/// A quoted identifier. Names are checked by the domain's types; the quotes keep case.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quoted identifiers, one after the other.
pub(crate) fn quoted_list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// The schema that holds a tenant's generations and views.
pub(crate) fn tenant_schema(tenant: &TenantName) -> String {
    format!("tenant_{tenant}")
}
