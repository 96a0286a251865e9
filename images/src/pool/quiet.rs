//! Panics of the workers go to the log as one event each. A stranger's file can
//! cause them at will, so they may not print a backtrace every time.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

thread_local! {
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

/// Puts itself before the process's panic hook, once; other threads keep theirs.
pub(super) fn install() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if WITHIN.try_with(Cell::get).unwrap_or(false) {
                let place = info.location().map(ToString::to_string);
                tracing::error!(place, panic = info.payload_as_str(), "image worker panicked");
            } else {
                others(info);
            }
        }));
    });
}

pub(super) fn within(work: impl FnOnce()) {
    WITHIN.set(true);
    work();
}
