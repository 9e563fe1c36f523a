//! Cancelling what a connection runs, asked for over another connection with the secret of the first.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use async_trait::async_trait;
use parking_lot::Mutex;
use pgwire::{
    api::cancel::CancelHandler,
    messages::{cancel::CancelRequest, startup::SecretKey},
};
use tokio::sync::watch;

/// All connections by their process number.
#[derive(Debug, Default)]
pub(super) struct Cancels {
    next: AtomicI32,
    open: Mutex<HashMap<i32, (SecretKey, watch::Sender<u64>)>>,
}

impl Cancels {
    /// Registers a connection: its number, and the sign that counts its cancellations.
    pub(super) fn register(&self, secret: SecretKey) -> (i32, watch::Receiver<u64>) {
        let pid = self.next.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let (sender, receiver) = watch::channel(0);
        self.open.lock().insert(pid, (secret, sender));
        (pid, receiver)
    }

    /// Forgets a connection.
    pub(super) fn forget(&self, pid: i32) {
        self.open.lock().remove(&pid);
    }
}

/// Gives cancel requests to [`Cancels`].
#[derive(Debug)]
pub(super) struct CancelDoor(pub(super) Arc<Cancels>);

#[async_trait]
impl CancelHandler for CancelDoor {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let open = self.0.open.lock();
        if let Some((secret, sign)) = open.get(&request.pid)
            && secret.eq_value(&request.secret_key)
        {
            sign.send_modify(|count| *count += 1);
        }
    }
}
