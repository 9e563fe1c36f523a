//! Threads for work that must not stand before a request: queries and scoring.

use anyhow::Result;

/// A runtime apart from the one that serves. Its end waits for nothing: what runs there is told to stop before.
#[derive(Debug)]
pub(crate) struct Threads(Option<tokio::runtime::Runtime>, tokio::runtime::Handle);

impl Threads {
    /// Starts so many threads, at least one.
    ///
    /// # Errors
    /// What starting a thread met.
    pub(crate) fn start(name: &str, threads: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name(name)
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        Ok(Self(Some(runtime), handle))
    }

    /// Where to spawn.
    pub(crate) const fn handle(&self) -> &tokio::runtime::Handle {
        &self.1
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
