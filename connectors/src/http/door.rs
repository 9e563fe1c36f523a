//! What both doors do alike: who may come in, how fast, and how judged events become durable.

use std::{fmt, sync::Arc, time::Instant};

use axum::http::{HeaderMap, StatusCode};
use metrics::{counter, describe_counter, describe_histogram, histogram};
use revgauge_contract::{
    Clock, Position,
    access::{Authenticator, Caller, Role, Scope},
    event::Reception,
    intake::{DeadLetters, EventIntake},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::event_names::EventNames;

use super::{
    credentials::key_of,
    error::DoorError,
    rate::Rates,
    settings::{HttpSettings, HttpSettingsError},
    sheet::Sheet,
};

/// Everything the HTTP doors need from outside, and their limits.
pub struct Door {
    intake: Arc<dyn EventIntake>,
    dead_letters: Arc<dyn DeadLetters>,
    authenticator: Arc<dyn Authenticator>,
    clock: Arc<dyn Clock>,
    settings: HttpSettings,
    event_names: Arc<EventNames>,
    rates: Rates,
    in_flight: Arc<Semaphore>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// A caller that was let in, with its place among the requests in flight.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) caller: Caller,
    _place: OwnedSemaphorePermit,
}

/// What became of a request's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) accepted: usize,
    pub(crate) refused: usize,
    pub(crate) position: Option<Position>,
}

impl Door {
    /// A door over a journal, a place for refused events, a key store and a clock.
    ///
    /// # Errors
    /// A setting that cannot work, by name.
    pub fn new(
        intake: Arc<dyn EventIntake>,
        dead_letters: Arc<dyn DeadLetters>,
        authenticator: Arc<dyn Authenticator>,
        clock: Arc<dyn Clock>,
        settings: HttpSettings,
        event_names: Arc<EventNames>,
    ) -> Result<Self, HttpSettingsError> {
        settings.check()?;
        describe();
        Ok(Self {
            intake,
            dead_letters,
            authenticator,
            clock,
            rates: Rates::new(&settings),
            in_flight: Arc::new(Semaphore::new(settings.max_in_flight)),
            settings,
            event_names,
        })
    }

    /// The limits it was opened with.
    #[must_use]
    pub const fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    pub(crate) fn event_names(&self) -> &EventNames {
        &self.event_names
    }

    /// Lets a request in by the key in its headers.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<Pass, DoorError> {
        self.admit_key(&key_of(headers).ok_or(DoorError::NoKey)?)
    }

    /// Lets a request in by its key.
    pub(crate) fn admit_key(&self, key: &str) -> Result<Pass, DoorError> {
        let caller = self
            .authenticator
            .authenticate(key)
            .ok_or(DoorError::UnknownKey)?;
        if !matches!(caller.role, Role::Admin | Role::Service) || !caller.has_scope(Scope::Ingest) {
            return Err(DoorError::ReadOnlyKey);
        }
        self.rates.request(&caller.key_id)?;
        let place = self.place()?;
        Ok(Pass {
            caller,
            _place: place,
        })
    }

    /// One of the places for requests in flight.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, DoorError> {
        Arc::clone(&self.in_flight)
            .try_acquire_owned()
            .map_err(|_| DoorError::Busy {
                retry_after_s: self.settings.retry_after_s,
            })
    }

    /// How events of this caller are received now. The tenant is always the key's.
    pub(crate) fn reception(&self, pass: &Pass, source: &'static str) -> Reception {
        Reception {
            max_future_us: i64::from(self.settings.max_future_s) * 1_000_000,
            ..Reception::live(Arc::clone(&pass.caller.tenant_id), self.clock.now(), source)
        }
    }

    /// Makes the accepted events durable, then keeps the refused ones.
    ///
    /// In this order a failure on the way leaves nothing acknowledged, and the sender's retry gives the same ids.
    pub(crate) async fn settle(
        &self,
        pass: &Pass,
        sheet: &mut Sheet,
        secret: Option<&str>,
    ) -> Result<Settled, DoorError> {
        let source = sheet.reception().source;
        self.rates.events(&pass.caller.key_id, sheet.judged())?;
        let retry_after_s = self.settings.retry_after_s;
        let (accepted, refused) = (sheet.accepted(), sheet.refusals().len());
        let position = match sheet.take_batch() {
            Some(batch) => {
                let appended = self.intake.append_batch(batch).await;
                Some(appended.map_err(|failure| {
                    tracing::warn!(door = source, events = accepted, error = %failure, "cannot append events");
                    DoorError::Intake { failure, retry_after_s }
                })?)
            }
            None => None,
        };
        counter!("revgauge_ingest_accepted_total", "door" => source).increment(accepted as u64);
        counter!("revgauge_ingest_unknown_types_total", "door" => source).increment(sheet.unknown_types());
        if refused > 0 {
            for refusal in sheet.refusals() {
                counter!("revgauge_ingest_refused_total", "door" => source, "code" => refusal.code.clone())
                    .increment(1);
            }
            let kept = self.dead_letters.keep(sheet.take_letters(secret)).await;
            kept.map_err(|failure| {
                tracing::warn!(door = source, events = refused, error = %failure, "cannot keep refused events");
                DoorError::Letters { failure, retry_after_s }
            })?;
        }
        Ok(Settled {
            accepted,
            refused,
            position,
        })
    }

    pub(crate) fn count_bytes(&self, source: &'static str, bytes: usize) {
        counter!("revgauge_ingest_bytes_total", "door" => source).increment(bytes as u64);
    }

    /// Starts to time a request.
    pub(crate) fn timer(&self, source: &'static str) -> Timer {
        Timer {
            source,
            started: Instant::now(),
        }
    }
}

/// Times one request.
#[derive(Debug)]
pub(crate) struct Timer {
    source: &'static str,
    started: Instant,
}

impl Timer {
    pub(crate) fn stop(self, status: StatusCode) {
        let seconds = self.started.elapsed().as_secs_f64();
        let status = status.as_str().to_owned();
        histogram!("revgauge_ingest_seconds", "door" => self.source, "status" => status).record(seconds);
    }
}

fn describe() {
    describe_counter!("revgauge_ingest_accepted_total", "events taken in, durable");
    describe_counter!(
        "revgauge_ingest_refused_total",
        "events refused, by code; each is a dead letter"
    );
    describe_counter!(
        "revgauge_ingest_unknown_types_total",
        "events taken in whose type nobody knows: stored, unscored"
    );
    describe_counter!(
        "revgauge_ingest_bytes_total",
        metrics::Unit::Bytes,
        "bytes of event bodies after decompression"
    );
    describe_histogram!(
        "revgauge_ingest_seconds",
        metrics::Unit::Seconds,
        "time from request to durable answer"
    );
}
