//! Of which tenants something changed, for those who wait to show it: events move pages also where they move no score.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Counts what was heard of each tenant. Holds a number a tenant; a mark is a few nanoseconds a tenant heard of.
#[derive(Debug)]
pub(super) struct Pulse {
    beats: Mutex<HashMap<Arc<str>, u64>>,
    beat: watch::Sender<u64>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            beats: Mutex::default(),
            beat: watch::Sender::new(0),
        }
    }
}

impl Pulse {
    /// Something of these tenants changed.
    pub(super) fn beat<'a>(&self, tenants: impl IntoIterator<Item = &'a Arc<str>>) {
        let mut beats = self.beats.lock();
        let now = *self.beat.borrow() + 1;
        let mut last: Option<&Arc<str>> = None;
        for tenant in tenants {
            if last != Some(tenant) {
                beats.insert(Arc::clone(tenant), now);
                last = Some(tenant);
            }
        }
        drop(beats);
        if last.is_some() {
            self.beat.send_replace(now);
        }
    }

    /// The last beat of a tenant; zero when nothing was heard of it.
    pub(super) fn last(&self, tenant_id: &str) -> u64 {
        self.beats.lock().get(tenant_id).copied().unwrap_or(0)
    }

    /// Waits for a beat of the tenant after this one.
    pub(super) async fn after(&self, tenant_id: &str, beat: u64) {
        let mut beats = self.beat.subscribe();
        loop {
            beats.mark_unchanged();
            if self.last(tenant_id) > beat || beats.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_tenant_is_woken_by_that_tenant_alone() {
        let pulse = Arc::new(Pulse::default());
        let (acme, globex): (Arc<str>, Arc<str>) = ("acme".into(), "globex".into());
        let heard = pulse.last("acme");
        let waiting = {
            let pulse = Arc::clone(&pulse);
            tokio::spawn(async move { pulse.after("acme", heard).await })
        };
        pulse.beat([&globex, &globex]);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished(), "nothing of acme changed");
        pulse.beat([&globex, &acme]);
        timeout(Duration::from_secs(1), waiting)
            .await
            .expect("woken")
            .expect("ends");
        // A beat between reading the last and waiting is not missed.
        pulse.beat([&acme]);
        let missed = timeout(Duration::from_secs(20), pulse.after("acme", heard));
        missed.await.expect("told at once");
        let none = timeout(Duration::from_millis(20), pulse.after("acme", pulse.last("acme")));
        none.await.expect_err("nothing after the last");
    }
}
