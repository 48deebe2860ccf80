//! Tells webhooks what changed.
//!
//! What is to be told is written by the transaction that makes the news, so nothing is forgotten, and each
//! attempt sends the same message under the same id: a receiver gets it at least once, and can tell a
//! repetition. What changed is counted once, before the first attempt.

use std::{sync::Arc, time::Duration};

use cameo_crashpoint::hit;
use cameo_segment::{
    changes::{Changes, ChangesError, Tally},
    members::Members,
};
use cameo_serving::memberships::{MembershipFileError, Memberships};
use cameo_store::{
    Store, StoreError, exports,
    segments::Materialisation,
    webhooks::deliveries::{self, Delivery, Ending, Failure, Subject},
};
use cameo_webhook::{Event, Message, Refusal, Secret, SegmentChange, Sender, schedule};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Config, Dependencies};

/// Deliveries under way at once: a receiver that is slow must not hold up the others.
const UNDER_WAY_MAX: usize = 16;
/// Another worker may take a delivery over after this many seconds; longer than a message may take, and
/// than counting the changes of a large segment does.
const LEASE_SECONDS: u32 = 120;
/// How often an idle worker looks for something to tell.
const POLL: Duration = Duration::from_secs(1);
/// After how many seconds a message is tried again that could not be written.
const UNWRITTEN_SECONDS: u32 = 60;

/// Why a message cannot be written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    File(#[from] MembershipFileError),
    #[error(transparent)]
    Changes(#[from] ChangesError),
    #[error("the task that counted the changes ended early")]
    Ended,
}

/// What telling needs.
struct Telling {
    dependencies: Dependencies,
    memberships: Memberships,
    sender: Sender,
    api: Option<String>,
}

/// Tells until `shutdown`; what is under way then ends within the time that a message may take.
pub(crate) async fn run(
    config: Arc<Config>,
    dependencies: Dependencies,
    shutdown: CancellationToken,
) {
    let sender = match Sender::new(config.webhook_reach) {
        Ok(sender) => sender,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "webhooks cannot be told");
            return;
        }
    };
    let artifacts = Arc::clone(&dependencies.artifacts);
    let memberships = Memberships::new(artifacts, config.scratch.clone());
    let api = config.public_url.clone();
    let telling = Arc::new(Telling { dependencies, memberships, sender, api });
    let mut under_way = JoinSet::new();
    while !shutdown.is_cancelled() {
        while under_way.try_join_next().is_some() {}
        let claimed = if under_way.len() < UNDER_WAY_MAX {
            deliveries::claim(&telling.dependencies.store, LEASE_SECONDS).await
        } else {
            Ok(None)
        };
        match claimed {
            Ok(Some(delivery)) => {
                hit("webhook_claimed");
                let telling = Arc::clone(&telling);
                under_way.spawn(async move { telling.tell(delivery).await });
                continue;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not look for what to tell webhooks"
            ),
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(POLL) => {}
            Some(_) = under_way.join_next() => {}
        }
    }
    while under_way.join_next().await.is_some() {}
}

impl Telling {
    async fn tell(&self, delivery: Delivery) {
        if let Err(error) = self.attempt(&delivery).await {
            // The lease runs out, and another attempt is made.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                delivery = delivery.id,
                "could not note what became of a delivery"
            );
        }
    }

    async fn attempt(&self, delivery: &Delivery) -> Result<(), StoreError> {
        let Dependencies { store, metrics, clock, .. } = &self.dependencies;
        let body = match self.body(delivery).await {
            Ok(Some(body)) => body,
            Ok(None) => return deliveries::end(store, delivery, Ending::Unchanged).await,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    delivery = delivery.id,
                    "a message to a webhook cannot be written"
                );
                let failure = Failure {
                    status: None,
                    reason: "the changes cannot be counted now".to_owned(),
                    again_seconds: Some(UNWRITTEN_SECONDS),
                };
                return deliveries::fail(store, delivery, &failure).await.map(drop);
            }
        };
        let message = Message {
            id: delivery.id.clone(),
            body,
            secrets: delivery.secrets.iter().cloned().map(Secret::from_bytes).collect(),
        };
        let timestamp = clock.now().timestamp();
        match self.sender.send(&delivery.url, &message, timestamp).await {
            Ok(status) => {
                hit("webhook_sent");
                metrics.webhooks_delivered.inc();
                deliveries::end(store, delivery, Ending::Delivered(status.as_u16())).await
            }
            Err(refusal) => {
                metrics.webhooks_failed.inc();
                self.fail(delivery, &refusal).await
            }
        }
    }

    async fn fail(&self, delivery: &Delivery, refusal: &Refusal) -> Result<(), StoreError> {
        let again = schedule::pause(delivery.attempt);
        let again_seconds = u32::try_from(again.as_secs()).unwrap_or(u32::MAX);
        let failure = Failure {
            status: refusal.status(),
            reason: refusal.to_string(),
            again_seconds: (!matches!(refusal, Refusal::Gone)).then_some(again_seconds),
        };
        let store = &self.dependencies.store;
        let disabled = deliveries::fail(store, delivery, &failure).await?;
        let (tenant, webhook) = (&delivery.tenant, &delivery.webhook);
        if disabled {
            tracing::warn!(%tenant, %webhook, reason = failure.reason, "a webhook was disabled");
        } else {
            tracing::info!(%tenant, %webhook, reason = failure.reason, "a webhook was not told");
        }
        Ok(())
    }

    /// The text of a message; none where there is nothing to tell.
    async fn body(&self, delivery: &Delivery) -> Result<Option<String>, WriteError> {
        if let Some(body) = &delivery.body {
            return Ok(Some(body.clone()));
        }
        let event = match &delivery.subject {
            Subject::Ping => Event::Ping { webhook: delivery.webhook.clone() },
            Subject::Segment { .. } => match self.change(delivery).await? {
                Some(change) => Event::SegmentChanged(change),
                None => return Ok(None),
            },
        };
        let api = self.api.as_deref();
        let body = event.body(&delivery.tenant, &delivery.id, delivery.created_at, api);
        deliveries::write_body(&self.dependencies.store, delivery, &body).await?;
        Ok(Some(body))
    }

    async fn change(&self, delivery: &Delivery) -> Result<Option<SegmentChange>, WriteError> {
        let Subject::Segment { segment, materialisation } = &delivery.subject else {
            return Ok(None);
        };
        let store = &self.dependencies.store;
        let of = async |number: u32| {
            exports::materialisation(store, &delivery.tenant, segment, number).await
        };
        // One that is gone was replaced long ago: there is nothing to lead a receiver to.
        let Some(new) = of(*materialisation).await? else { return Ok(None) };
        let old = match new.number.saturating_sub(1) {
            0 => None,
            // One whose file is gone leads nowhere: then everybody entered.
            previous => of(previous).await?.filter(|old| old.dropped_at.is_none()),
        };
        let Some(tally) = self.tally(old.as_ref(), &new).await? else { return Ok(None) };
        if tally.is_empty() && old.is_some() {
            return Ok(None);
        }
        Ok(Some(SegmentChange {
            segment: segment.clone(),
            materialisation: new.number,
            previous: old.map(|old| old.number),
            as_of: new.as_of,
            members: new.members,
            entered: tally.entered,
            left: tally.left,
            changed: tally.changed,
        }))
    }

    /// Counts what changed; none where the newer file is gone. Where there is no older one, or where it is
    /// about other customers, everybody entered.
    async fn tally(
        &self,
        old: Option<&Materialisation>,
        new: &Materialisation,
    ) -> Result<Option<Tally>, WriteError> {
        if new.dropped_at.is_some() {
            return Ok(None);
        }
        let everybody = Tally { entered: new.members, ..Tally::default() };
        let Some(old) = old else { return Ok(Some(everybody)) };
        let old = Members::all(self.memberships.open(&old.sha256).await?);
        let new = Members::all(self.memberships.open(&new.sha256).await?);
        let counted = tokio::task::spawn_blocking(move || {
            let (old_schema, new_schema) = (old.schema(), new.schema());
            Changes::new((old, &*old_schema), (new, &*new_schema), true)?.tally()
        });
        match counted.await {
            Ok(Err(ChangesError::Keys { .. })) => Ok(Some(everybody)),
            Ok(tally) => Ok(Some(tally?)),
            Err(_) => Err(WriteError::Ended),
        }
    }
}

/// Forgets what was told long ago.
pub(crate) async fn retain(store: &Store) {
    if let Err(error) = deliveries::retain(store).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "could not forget old deliveries");
    }
}
