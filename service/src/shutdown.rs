//! The signal to stop.

use std::io;

use tokio_util::sync::CancellationToken;

/// Exit code after a second signal, as shells report an interrupt.
const EXIT_INTERRUPTED: i32 = 130;

/// Tells every part of a server to stop. Clones share one signal; once given it stays.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A signal that is given by [`Shutdown::trigger`] only.
    pub fn new() -> Self {
        Self::default()
    }

    /// A signal that SIGINT or SIGTERM gives. A second one of these ends the process at once,
    /// for an operator who does not want to wait for the drain.
    ///
    /// # Errors
    /// The handlers could not be installed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::new();
        let mut signals = Signals::install()?;
        tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                let signal = signals.next().await;
                tracing::info!(signal, "stopping; a second signal exits at once");
                shutdown.trigger();
                let signal = signals.next().await;
                tracing::warn!(signal, "exiting at once");
                std::process::exit(EXIT_INTERRUPTED);
            }
        });
        Ok(shutdown)
    }

    /// Gives the signal.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether the signal was given.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits for the signal.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "the unix form can fail")]
    fn install() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        // Without a handler there is nothing to wait for but the end of the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_signal_stays_given() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.is_triggered());
        let other = shutdown.clone();
        other.trigger();
        other.trigger();
        shutdown.wait().await;
        assert!(shutdown.is_triggered());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn sigterm_gives_it() {
        let shutdown = Shutdown::on_signals().unwrap();
        let me = std::process::id().to_string();
        assert!(
            std::process::Command::new("kill").args(["-TERM", &me]).status().unwrap().success()
        );
        shutdown.wait().await;
    }
}
