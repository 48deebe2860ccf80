//! Segments of a world, and who is told of them.

use cameo_domain::{SegmentName, TenantName};
use cameo_segment::{Catalog, Draft};
use cameo_store::{
    By,
    segments::{self, Materialisation, NewSegment},
    services,
    webhooks::{self, NewWebhook, deliveries},
};

use crate::{Receiver, Service, World};

/// Signs what a world's webhooks are told.
pub(crate) const WEBHOOK_SECRET: [u8; 32] = [7; 32];
/// More deliveries than a scenario has.
const DELIVERIES_MAX: u32 = 1_000;

impl Service<'_> {
    /// Defines a segment of the service's tenant, through the API's part of the store.
    pub async fn define_segment(&self, name: &str, condition: &str, attributes: &[&str]) {
        let (store, tenant) = (&self.world.store, &self.path.tenant);
        let records = services::list(store, Some(tenant)).await.expect("services");
        let schemas = records.into_iter().map(|record| (record.path.service, record.schema));
        let attributes = attributes.iter().map(|name| (*name).to_owned()).collect();
        let draft = Draft { condition: condition.to_owned(), attributes, ..Draft::default() };
        let read = draft.read(&Catalog::new(schemas.collect())).expect("a sound definition");
        let services = read.definition.services(&read.condition);
        let new = NewSegment { segment: segment(name), definition: read.definition, services };
        segments::define(store, tenant, &new, &by()).await.expect("defined");
    }

    /// The materialisations of a segment of the service's tenant, newest first.
    pub async fn materialisations(&self, name: &str) -> Vec<Materialisation> {
        let (store, tenant) = (&self.world.store, &self.path.tenant);
        segments::materialisations(store, tenant, &segment(name)).await.expect("a list")
    }
}

impl World {
    /// Has a receiver told of all segments of a tenant.
    pub async fn tell(&self, tenant: &TenantName, webhook: &str, receiver: &Receiver) {
        let new = NewWebhook {
            webhook: webhook.parse().expect("a name"),
            url: receiver.url.clone(),
            segments: Vec::new(),
            secret: WEBHOOK_SECRET.to_vec(),
        };
        webhooks::put(&self.store, tenant, &new, &by()).await.expect("a webhook");
    }

    /// What a webhook was to be told, oldest first.
    pub async fn deliveries(
        &self,
        tenant: &TenantName,
        webhook: &str,
    ) -> Vec<deliveries::DeliveryRecord> {
        let webhook = webhook.parse().expect("a name");
        let listed = deliveries::list(&self.store, tenant, &webhook, DELIVERIES_MAX).await;
        let mut listed = listed.expect("the deliveries");
        listed.reverse();
        listed
    }

    /// Has what failed tried again at once, and what the dead were telling as well.
    pub async fn hurry_deliveries(&self) {
        self.sql(
            "update cameo.webhook_deliveries set not_before = now(),
                 lease_expires_at = case when lease_expires_at is null then null else now() end
             where state = 'pending'",
        )
        .await;
    }
}

fn segment(name: &str) -> SegmentName {
    name.parse().expect("a name")
}

fn by() -> By {
    By::new("key:ann", "api")
}
