//! What one caller sees: its tenant, the rows its rule gives, what is masked in them.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{TryRngCore as _, rngs::OsRng};
use revgauge_contract::{
    access::{Caller, Ownership},
    error::Failure,
};
use tokio::time::Instant;

use super::{
    mask::Masks,
    rules::{AccessSettings, Rows, view_of},
    visible::Visible,
};

type Place = Arc<tokio::sync::Mutex<Option<(Instant, Arc<Visible>)>>>;

/// Makes the sights of all callers and keeps what they share.
pub(crate) struct Sights {
    settings: AccessSettings,
    ownership: Arc<dyn Ownership>,
    mask_secret: [u8; 32],
    places: Mutex<HashMap<String, Place>>,
}

impl fmt::Debug for Sights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sights")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Sights {
    /// # Errors
    /// When the system gives no randomness.
    pub(crate) fn new(settings: AccessSettings, ownership: Arc<dyn Ownership>) -> Result<Arc<Self>, String> {
        let mut mask_secret = [0; 32];
        OsRng
            .try_fill_bytes(&mut mask_secret)
            .map_err(|error| error.to_string())?;
        Ok(Arc::new(Self {
            settings,
            ownership,
            mask_secret,
            places: Mutex::default(),
        }))
    }

    /// The people of a tenant, all of them: the wall around the table shows no more than the caller may see.
    pub(crate) fn ownership(&self) -> Arc<dyn Ownership> {
        Arc::clone(&self.ownership)
    }

    /// What a caller sees. Costs nothing until rows are asked for.
    pub(crate) fn of(self: &Arc<Self>, caller: &Caller) -> Arc<Sight> {
        let rule = self.settings.roles.of(caller.role);
        let limited = !rule.rows.contains(&Rows::All);
        Arc::new(Sight {
            caller: caller.clone(),
            view: view_of(caller, rule),
            masks: Masks::new(&rule.masks, self.mask_secret),
            rows: limited.then(|| (Arc::clone(self), rule.rows.clone())),
        })
    }

    fn place(&self, view: &str) -> Place {
        let mut places = self.places.lock();
        let most = self.settings.visible_sets.max(1);
        if places.len() >= most && !places.contains_key(view) {
            let fresh = Duration::from_millis(self.settings.visible_ms);
            // Those in use stay: someone else holds them.
            places.retain(|_, place| {
                Arc::strong_count(place) > 1
                    || place
                        .try_lock()
                        .is_ok_and(|kept| kept.as_ref().is_some_and(|(at, _)| at.elapsed() < fresh))
            });
        }
        if places.len() >= most && !places.contains_key(view) {
            return Place::default();
        }
        Arc::clone(places.entry(view.to_owned()).or_default())
    }
}

/// What one caller sees.
pub(crate) struct Sight {
    pub(crate) caller: Caller,
    /// Callers with the same text see the same.
    pub(crate) view: String,
    pub(crate) masks: Masks,
    rows: Option<(Arc<Sights>, Vec<Rows>)>,
}

impl fmt::Debug for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sight")
            .field("view", &self.view)
            .finish_non_exhaustive()
    }
}

impl Sight {
    /// The sight of who sees all of a tenant.
    #[cfg(test)]
    pub(crate) fn whole(tenant_id: &str) -> Arc<Self> {
        Arc::new(Self {
            caller: Caller::new(tenant_id, "k", revgauge_contract::access::Role::Admin),
            view: tenant_id.to_owned(),
            masks: Masks::default(),
            rows: None,
        })
    }

    pub(crate) fn tenant_id(&self) -> &Arc<str> {
        &self.caller.tenant_id
    }

    /// Whether rows of the tenant are hidden from the caller.
    pub(crate) const fn is_limited(&self) -> bool {
        self.rows.is_some()
    }

    /// Whether the caller sees all of its tenant as it is stored.
    pub(crate) const fn is_full(&self) -> bool {
        self.rows.is_none() && !self.masks.any()
    }

    /// The records the caller may see; `None` when these are all. Computed at most every `visible_ms`.
    ///
    /// # Errors
    /// What reading the owners met; then nothing may be shown.
    pub(crate) async fn visible(&self) -> Result<Option<Arc<Visible>>, Failure> {
        let Some((sights, rows)) = &self.rows else {
            return Ok(None);
        };
        let fresh = Duration::from_millis(sights.settings.visible_ms);
        let place = sights.place(&self.view);
        let mut kept = place.lock().await;
        if let Some((at, visible)) = &*kept
            && at.elapsed() < fresh
        {
            return Ok(Some(Arc::clone(visible)));
        }
        let visible = Arc::new(Visible::of(&self.caller, rows, sights.ownership.as_ref()).await?);
        *kept = Some((Instant::now(), Arc::clone(&visible)));
        Ok(Some(visible))
    }
}
