//! How many queries run at once: places by tenant and in all, and a short queue for who comes when they are taken.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::error::SqlError;
use crate::settings::SqlSettings;

/// Places of queries. Who waits is served in the order of coming; a tenant that waits takes no place of another.
#[derive(Debug)]
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    /// One entry a tenant that has asked; there are no more than tenants.
    by_tenant: Mutex<HashMap<Arc<str>, Arc<Places>>>,
}

#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A running query's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _of_tenant: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// Counts one who waits, for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slots {
    pub(crate) fn new(settings: &SqlSettings) -> Self {
        Self {
            all: Arc::new(Semaphore::new(settings.concurrent_queries)),
            by_tenant: Mutex::default(),
        }
    }

    fn places(&self, tenant_id: &Arc<str>, settings: &SqlSettings) -> Arc<Places> {
        let mut by_tenant = self.by_tenant.lock();
        let places = by_tenant.entry(Arc::clone(tenant_id)).or_insert_with(|| {
            Arc::new(Places {
                free: Arc::new(Semaphore::new(settings.concurrent_queries_per_tenant)),
                waiting: AtomicUsize::new(0),
            })
        });
        Arc::clone(places)
    }

    /// A place, at once or after a wait of at most `queue_ms`, which counts as time of the query.
    ///
    /// # Errors
    /// `too_many_queries` when the wait was in vain, or too many wait already.
    pub(super) async fn take(
        &self,
        tenant_id: &Arc<str>,
        settings: &SqlSettings,
        deadline: Instant,
    ) -> Result<Slot, SqlError> {
        let places = self.places(tenant_id, settings);
        let most = settings.concurrent_queries_per_tenant;
        let before = places.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(&places.waiting);
        if places.free.available_permits() == 0 && before >= settings.queued_queries_per_tenant {
            return Err(SqlError::too_many(most));
        }
        let until = deadline.min(Instant::now() + Duration::from_millis(settings.queue_ms));
        let of_tenant = timeout_at(until, Arc::clone(&places.free).acquire_owned()).await;
        // Neither semaphore is ever closed.
        let Ok(Ok(of_tenant)) = of_tenant else {
            return Err(SqlError::too_many(most));
        };
        let of_all = timeout_at(until, Arc::clone(&self.all).acquire_owned()).await;
        let Ok(Ok(of_all)) = of_all else {
            return Err(SqlError::too_many(settings.concurrent_queries));
        };
        drop(waiting);
        Ok(Slot {
            _of_tenant: of_tenant,
            _of_all: of_all,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(queued: usize) -> SqlSettings {
        SqlSettings {
            concurrent_queries: 2,
            concurrent_queries_per_tenant: 1,
            queued_queries_per_tenant: queued,
            queue_ms: 400,
            ..SqlSettings::default()
        }
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn who_comes_when_places_are_taken_waits_for_a_while() {
        let settings = settings(1);
        let slots = Arc::new(Slots::new(&settings));
        let acme: Arc<str> = Arc::from("acme");
        let first = slots.take(&acme, &settings, later()).await.expect("free");
        assert_eq!(
            slots.take(&acme, &settings, later()).await.unwrap_err().code,
            "too_many_queries"
        );
        let waits = slots.take(&acme, &settings, later());
        let ends = async {
            tokio::task::yield_now().await;
            // The queue is full, so this one does not even wait.
            let began = Instant::now();
            assert!(slots.take(&acme, &settings, later()).await.is_err());
            assert!(began.elapsed() < Duration::from_millis(400));
            drop(first);
        };
        let (second, ()) = tokio::join!(waits, ends);
        second.expect("its turn");
        let other: Arc<str> = Arc::from("other");
        let _own = slots
            .take(&other, &settings, later())
            .await
            .expect("a place of its own");
    }

    #[tokio::test]
    async fn tenants_share_the_places_in_all() {
        let settings = settings(9);
        let slots = Slots::new(&settings);
        let tenants: [Arc<str>; 3] = [Arc::from("a"), Arc::from("b"), Arc::from("c")];
        let _a = slots.take(&tenants[0], &settings, later()).await.expect("free");
        let b = slots.take(&tenants[1], &settings, later()).await.expect("free");
        assert!(slots.take(&tenants[2], &settings, later()).await.is_err());
        drop(b);
        slots
            .take(&tenants[2], &settings, later())
            .await
            .expect("free again");
    }
}
