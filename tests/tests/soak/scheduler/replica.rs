//! A scheduler that can die at any moment.

use std::sync::Arc;

use cameo_runtime::{clock::ManualClock, metrics::Metrics};
use cameo_scheduler::{Dependencies, SchedulerMetrics};
use cameo_store::StoreError;
use cameo_tests::{Place, at};
use tokio::{runtime::Runtime, task::JoinHandle};

/// One of several schedulers, with a clock, connections and a runtime of its own.
pub(crate) struct Replica {
    /// The name under which Postgres shows its connections.
    pub(crate) name: String,
    pub(crate) clock: Arc<ManualClock>,
    place: Place,
    alive: Option<(Runtime, Dependencies)>,
}

impl Replica {
    pub(crate) fn new(place: &Place, number: usize) -> Self {
        let clock = Arc::new(ManualClock::new(at("1970-01-01T00:00:00Z")));
        Self { name: format!("replica-{number}"), clock, place: place.clone(), alive: None }
    }

    /// One look at the schedules. One who is dead starts anew.
    pub(crate) fn tick(&mut self) -> JoinHandle<Result<(), StoreError>> {
        let (runtime, dependencies) = self.alive.get_or_insert_with(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime");
            let dependencies = Dependencies {
                store: runtime.block_on(self.place.store(&self.name)),
                clock: self.clock.clone(),
                metrics: SchedulerMetrics::register(&Metrics::new()),
            };
            (runtime, dependencies)
        });
        let dependencies = dependencies.clone();
        runtime.spawn(async move { cameo_scheduler::tick(&dependencies).await })
    }

    /// Dies as a process does: whatever it is waiting for, it goes no step further, and its connections close
    /// with their transactions.
    pub(crate) fn die(&mut self) {
        if let Some((runtime, _)) = self.alive.take() {
            runtime.shutdown_background();
        }
    }
}
