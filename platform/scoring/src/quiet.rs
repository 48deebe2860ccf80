//! Panics of the runtime as values: caught, and not printed, since the caller reports them as what they
//! are, a model that cannot run.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread is in [`catch`].
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`; its panic becomes an error with its message.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    // The hook belongs to the process: outside of this function it does what it did before.
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !CAUGHT.get() {
                before(panic);
            }
        }));
    });
    let outer = CAUGHT.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(outer);
    outcome.map_err(|panic| text(&*panic))
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    let line: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
    format!(
        "the runtime gave up ({line}); a value or a constant is out of the range that an operator allows"
    )
}

#[cfg(test)]
mod tests {
    use super::catch;

    #[test]
    fn a_panic_becomes_its_message_and_the_next_call_works() {
        let error = catch(|| -> u8 { panic!("index {} out of range", 7) }).expect_err("it panics");
        assert!(error.contains("index 7 out of range"), "{error}");
        assert_eq!(catch(|| 1), Ok(1));
        let nested = catch(|| catch(|| panic!("inside")).is_err());
        assert_eq!(nested, Ok(true));
    }
}
