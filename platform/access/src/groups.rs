//! What the groups of a person may do.
//!
//! Each tenant says so in its `tenant.yaml`. The list of all tenants is read anew every few seconds while
//! tokens are in use, so a group that is added or taken away counts within that time, and a person's
//! groups count as soon as a token says so.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use cameo_domain::{Scope, Scopes, Services, TenantName};
use cameo_store::{Store, StoreError, tenants};

use crate::{
    caller::{Caller, Grant},
    oidc::Verified,
};

/// What a group may do in some tenants.
type Given = Vec<(TenantName, &'static [Scope])>;

/// What groups may do, as it was read.
pub(crate) struct Table {
    pub(crate) read_at: Instant,
    by_group: HashMap<String, Given>,
}

/// See the module.
pub(crate) struct Groups {
    store: Store,
    /// The group that may do everything in every tenant.
    admin_group: Option<String>,
    table: ArcSwapOption<Table>,
    /// One reader at a time; whoever waited for it finds the result.
    reading: tokio::sync::Mutex<()>,
}

impl Groups {
    pub(crate) fn new(store: Store, admin_group: Option<String>) -> Self {
        Self {
            store,
            admin_group,
            table: ArcSwapOption::empty(),
            reading: tokio::sync::Mutex::new(()),
        }
    }

    /// What groups may do, read at most `age_max` ago.
    pub(crate) async fn table(&self, age_max: Duration) -> Result<Arc<Table>, StoreError> {
        if let Some(table) = self.recent(age_max) {
            return Ok(table);
        }
        let _reading = self.reading.lock().await;
        if let Some(table) = self.recent(age_max) {
            return Ok(table);
        }
        let read_at = Instant::now();
        let mut by_group: HashMap<String, Given> = HashMap::new();
        for record in tenants::list(&self.store).await? {
            for (_, groups, scopes) in record.access.lists() {
                for group in groups {
                    by_group
                        .entry(group.clone())
                        .or_default()
                        .push((record.tenant.clone(), scopes));
                }
            }
        }
        let table = Arc::new(Table { read_at, by_group });
        self.table.store(Some(table.clone()));
        Ok(table)
    }

    fn recent(&self, age_max: Duration) -> Option<Arc<Table>> {
        self.table.load_full().filter(|table| table.read_at.elapsed() < age_max)
    }

    /// Whom a token speaks for.
    pub(crate) fn caller(&self, table: &Table, token: &Verified) -> Caller {
        let is_operator =
            self.admin_group.as_ref().is_some_and(|group| token.groups.contains(group));
        let all = Grant { scopes: Scopes::all(), services: Services::All };
        let mut tenants: Vec<(TenantName, Grant)> = Vec::new();
        let given = token.groups.iter().filter_map(|group| table.by_group.get(group)).flatten();
        for (tenant, scopes) in given {
            let known = tenants.iter_mut().find(|(known, _)| known == tenant);
            if let Some((_, grant)) = known {
                grant.scopes = grant.scopes.with(scopes);
            } else {
                // An operator keeps what holds everywhere, and gets what groups give beside it.
                let before = if is_operator { Scopes::all() } else { Scopes::NONE };
                let grant = Grant { scopes: before.with(scopes), services: Services::All };
                tenants.push((tenant.clone(), grant));
            }
        }
        Caller::of_person(&token.subject, is_operator.then_some(all), tenants)
    }
}
