//! Stopping a query that nobody waits for any more, be it one that would never end.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use duckdb::InterruptHandle;
use tokio::runtime::Handle;

use super::Engine;
use crate::WarehouseError;

/// Between two interrupts: a statement that begins forgets the one that came just before.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The blocking side: what works on an engine lets it be watched.
#[derive(Default)]
pub(crate) struct Cancel(Mutex<State>);

#[derive(Default)]
struct State {
    cancelled: bool,
    running: Option<Arc<InterruptHandle>>,
}

/// The waiting side: dropping it interrupts what is watched until that has ended.
pub(crate) struct CancelOnDrop(Arc<Cancel>);

impl Cancel {
    /// Both sides.
    pub(crate) fn new() -> (Arc<Self>, CancelOnDrop) {
        let cancel = Arc::new(Self::default());
        (Arc::clone(&cancel), CancelOnDrop(cancel))
    }

    /// Lets an engine be interrupted from now on; refuses where nobody waits any more.
    pub(crate) fn watch(&self, engine: &Engine) -> Result<(), WarehouseError> {
        let mut state = self.state();
        if state.cancelled {
            return Err(WarehouseError::Transient("the query was cancelled".to_owned()));
        }
        state.running = Some(engine.connection().interrupt_handle());
        Ok(())
    }

    /// There is nothing left to interrupt.
    pub(crate) fn ended(&self) {
        self.state().running = None;
    }

    /// Interrupts; says whether something may still run.
    fn interrupt(&self) -> bool {
        let mut state = self.state();
        state.cancelled = true;
        state.running.as_ref().inspect(|running| running.interrupt()).is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment: nothing is half done when a holder panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if !self.0.interrupt() {
            return;
        }
        let cancel = Arc::clone(&self.0);
        // Without a runtime the process is about to end, and the query with it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                while cancel.interrupt() {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            });
        }
    }
}
