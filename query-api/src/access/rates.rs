//! How many requests a key may make: the setting of the doors, or a limit of the key's own.

use std::{collections::HashMap, fmt, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use parking_lot::Mutex;
use revgauge_contract::access::Caller;

type Limiter = DefaultKeyedRateLimiter<Arc<str>>;

/// Counts requests by key.
pub(crate) struct Rates {
    common: Limiter,
    /// Limiters of keys with a limit of their own, by that limit; there are no more than keys.
    own: Mutex<HashMap<NonZeroU32, Arc<Limiter>>>,
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates").finish_non_exhaustive()
    }
}

impl Rates {
    /// `per_second` on average, `burst` at once.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst));
        Self {
            common: RateLimiter::keyed(quota),
            own: Mutex::default(),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// How long to wait, when the key makes more than it may.
    pub(crate) fn check(&self, caller: &Caller) -> Result<(), Duration> {
        let checked = match caller.rights.requests_per_second.and_then(NonZeroU32::new) {
            None => self.common.check_key(&caller.key_id),
            Some(limit) => {
                let mut own = self.own.lock();
                let limiter = own
                    .entry(limit)
                    .or_insert_with(|| Arc::new(RateLimiter::keyed(Quota::per_second(limit))));
                let limiter = Arc::clone(limiter);
                drop(own);
                limiter.check_key(&caller.key_id)
            }
        };
        checked.map_err(|wait| wait.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use revgauge_contract::access::{Rights, Role};

    use super::*;

    #[test]
    fn a_key_with_a_limit_of_its_own_is_held_to_that() {
        let rates = Rates::new(1_000, 1_000);
        let free = Caller::new("t", "free", Role::Service);
        let narrow = Caller::new("t", "narrow", Role::Service).with_rights(Rights {
            requests_per_second: Some(2),
            ..Rights::default()
        });
        let passed = |caller: &Caller| (0..50).filter(|_| rates.check(caller).is_ok()).count();
        assert_eq!(passed(&free), 50);
        assert!((2..=3).contains(&passed(&narrow)));
    }
}
