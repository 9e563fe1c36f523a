//! Rate limits per key: requests a second and events a second.

use std::{fmt, num::NonZeroU32, sync::Arc};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};

use super::{error::DoorError, settings::HttpSettings};

/// Both limits. Only authenticated keys get an entry, so their number is bounded by the keys there are.
pub(crate) struct Rates {
    requests: Option<DefaultKeyedRateLimiter<Arc<str>>>,
    events: Option<DefaultKeyedRateLimiter<Arc<str>>>,
    event_burst: u32,
    clock: DefaultClock,
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates").finish_non_exhaustive()
    }
}

impl Rates {
    pub(crate) fn new(settings: &HttpSettings) -> Self {
        let limiter = |per_second: u32, burst: u32| {
            let per_second = NonZeroU32::new(per_second)?;
            let burst = NonZeroU32::new(burst).unwrap_or(per_second);
            Some(RateLimiter::keyed(
                Quota::per_second(per_second).allow_burst(burst),
            ))
        };
        let full_request = u32::try_from(settings.max_events).unwrap_or(u32::MAX);
        let event_burst = settings.events_per_second.max(full_request);
        Self {
            requests: limiter(settings.requests_per_second, settings.requests_per_second),
            events: limiter(settings.events_per_second, event_burst),
            event_burst,
            clock: DefaultClock::default(),
        }
    }

    /// Counts one request of the key.
    pub(crate) fn request(&self, key_id: &Arc<str>) -> Result<(), DoorError> {
        self.check(self.requests.as_ref(), key_id, 1, "requests")
    }

    /// Counts the events of one request of the key. One message may stand for several events, so a full request may
    /// hold more than the burst; it counts as the burst.
    pub(crate) fn events(&self, key_id: &Arc<str>, count: usize) -> Result<(), DoorError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(self.event_burst);
        self.check(self.events.as_ref(), key_id, count, "events")
    }

    fn check(
        &self,
        limiter: Option<&DefaultKeyedRateLimiter<Arc<str>>>,
        key_id: &Arc<str>,
        count: u32,
        what: &'static str,
    ) -> Result<(), DoorError> {
        let (Some(limiter), Some(count)) = (limiter, NonZeroU32::new(count)) else {
            return Ok(());
        };
        match limiter.check_key_n(key_id, count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.clock.now());
                let retry_after_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                Err(DoorError::Rate {
                    what,
                    retry_after_s: retry_after_s.max(1),
                })
            }
            // Not reached: counts are held to the burst.
            Err(_) => Err(DoorError::Rate {
                what,
                retry_after_s: 1,
            }),
        }
    }
}
