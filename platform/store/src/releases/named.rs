//! Which release people mean: they write the first digits of its hash, or its version.

use cameo_domain::{ServiceName, TenantName};

use super::{
    HISTORY_ROWS_MAX, StagedRelease,
    history::{list, staged_releases_sql},
};
use crate::{Store, StoreError};

/// Fewest digits of a hash that name a release.
pub const PREFIX_DIGITS_MIN: usize = 4;
/// Most releases that an error lists.
const LISTED_MAX: usize = 8;

/// The release that `name` means: the one whose hash begins with it, or whose version it is.
///
/// # Errors
/// [`StoreError::UnknownRelease`] and [`StoreError::AmbiguousRelease`] say which there are.
pub async fn named(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
    name: &str,
) -> Result<StagedRelease, StoreError> {
    let mut found: Vec<StagedRelease> = sqlx::query_as(concat!(
        staged_releases_sql!(),
        " and (r.version = $3 or (length($3) >= $4 and starts_with(r.release, lower($3))))
          order by s.promotion desc limit $5"
    ))
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(name)
    .bind(i32::try_from(PREFIX_DIGITS_MIN).unwrap_or(i32::MAX))
    .bind(i64::from(HISTORY_ROWS_MAX))
    .fetch_all(store.control())
    .await?;
    if found.len() > 1 {
        return Err(StoreError::AmbiguousRelease(format!(
            "`{name}` means {} releases of {tenant}/{service}; expected more digits of one of {}",
            found.len(),
            in_words(&found),
        )));
    }
    if let Some(one) = found.pop() {
        return Ok(one);
    }
    let all = list(store, tenant, service).await?;
    let known = if all.is_empty() { "no release".to_owned() } else { in_words(&all) };
    Err(StoreError::UnknownRelease(format!(
        "no release of {tenant}/{service} is named `{name}`; expected a version, or at least \
         {PREFIX_DIGITS_MIN} digits of a hash; there is {known}"
    )))
}

fn in_words(releases: &[StagedRelease]) -> String {
    let mut words: Vec<String> = releases
        .iter()
        .take(LISTED_MAX)
        .map(|one| format!("{} ({}, {})", one.release.0.short(), one.version, one.stage))
        .collect();
    if releases.len() > LISTED_MAX {
        words.push(format!("{} more", releases.len() - LISTED_MAX));
    }
    words.join(", ")
}
