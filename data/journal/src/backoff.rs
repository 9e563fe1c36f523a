//! Waits between repetitions: exponential, bounded, with jitter.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

/// The wait before the next try.
#[derive(Debug)]
pub(crate) struct Backoff {
    initial_ms: u64,
    max_ms: u64,
    failures: u32,
    random: StdRng,
}

impl Backoff {
    pub(crate) fn new(initial_ms: u64, max_ms: u64, seed: u64) -> Self {
        Self {
            initial_ms,
            max_ms,
            failures: 0,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Counts a failure and gives the wait after it: between half and all of the exponential step.
    pub(crate) fn next(&mut self) -> Duration {
        let step = self
            .initial_ms
            .saturating_mul(1_u64.checked_shl(self.failures).unwrap_or(u64::MAX))
            .min(self.max_ms);
        self.failures = (self.failures + 1).min(63);
        Duration::from_millis(self.random.random_range(step / 2..=step))
    }

    /// Failures since the last success.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    /// A success: the next wait is short again.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let mut backoff = Backoff::new(10, 100, 1);
        for limit in [10, 20, 40, 80, 100, 100] {
            let wait = backoff.next().as_millis();
            assert!((limit / 2..=limit).contains(&wait), "{wait} for {limit}");
        }
        for _ in 0..100 {
            backoff.next();
        }
        backoff.reset();
        assert!(backoff.next().as_millis() <= 10);
    }
}
