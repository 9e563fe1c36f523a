//! What the operating system asks of a running process: to stop (Ctrl-C, SIGTERM), or to read its definitions again (SIGHUP).

use anyhow::{Context, Result};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Stop,
    Reload,
}

/// Listens for signals from its making on, so that one that comes before anybody waits is kept, and does not end the process
/// by the system's default.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

#[cfg(unix)]
impl Signals {
    /// # Errors
    /// The system lets the process have no handler.
    pub(crate) fn listen() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).context("cannot listen for signals of the operating system");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }
}

#[cfg(windows)]
impl Signals {
    /// # Errors
    /// The system lets the process have no handler.
    pub(crate) fn listen() -> Result<Self> {
        let interrupt = tokio::signal::windows::ctrl_c();
        let interrupt = interrupt.context("cannot listen for signals of the operating system")?;
        Ok(Self { interrupt })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) -> Signal {
        self.interrupt.recv().await;
        Signal::Stop
    }
}

impl Signals {
    /// Waits for the signal to stop; any other is let pass.
    pub(crate) async fn stop(&mut self) {
        while self.next().await != Signal::Stop {}
    }
}
