//! Who answers forecasts of a tenant: reads its deals' change log, then calls the pure functions.

use std::sync::Arc;

use async_trait::async_trait;
use revgauge_contract::{
    Clock, Timestamp,
    error::Failure,
    forecast::{Forecast, ForecastAccuracy, ForecastNode, ForecastQuestion, ForecastService},
    statistics::Knowledge,
};

use super::{
    ForecastSettings,
    accuracy::accuracy_of,
    answer::answer,
    by_node::by_node,
    present::Present,
    question::{Made, check},
    remembered::{Lessons, LiveLog, PastKey, Remembered, View},
    tenant::Tenant,
};
use crate::{
    changelog::{self, ChangeLog},
    service::Scoring,
};

/// The pipeline that keeps every value of each deal.
const DEALS: &str = "deal_history";

/// The forecast service.
#[derive(Debug)]
pub struct Forecasts {
    scoring: Arc<Scoring>,
    clock: Arc<dyn Clock>,
    settings: ForecastSettings,
    logs: Remembered<Arc<str>, LiveLog>,
    present: Remembered<PresentKey, Present>,
    past: Remembered<PastKey, Lessons>,
}

/// By what the deals as known now are found again.
#[derive(Debug, Clone, PartialEq)]
struct PresentKey {
    version: u64,
    view: View,
    period: (Timestamp, Timestamp),
}

impl Forecasts {
    /// Reads what the score service reads.
    #[must_use]
    pub fn new(scoring: Arc<Scoring>, clock: Arc<dyn Clock>, settings: ForecastSettings) -> Self {
        Self {
            scoring,
            clock,
            logs: Remembered::new(settings.remembered_changes),
            present: Remembered::new(settings.remembered_deals),
            past: Remembered::new(settings.remembered_deals),
            settings,
        }
    }
}

/// When, and what is known of a tenant beside its deals.
struct Setting {
    at: Timestamp,
    knowledge: Knowledge,
    /// Of the live state of the deals, read before anything of it; only of now.
    version: Option<u64>,
    tenant: Tenant,
}

impl Forecasts {
    async fn setting(&self, tenant_id: &str, question: &ForecastQuestion) -> Result<Setting, Failure> {
        check(question)?;
        let now = self.clock.now();
        let at = question.as_of.unwrap_or(now).min(now);
        let knowledge = if at >= now {
            Knowledge::Now
        } else {
            Knowledge::At(at)
        };
        let source = &*self.scoring.source;
        let version = match knowledge {
            Knowledge::Now => source.version(DEALS),
            Knowledge::At(_) => None,
        };
        let directory = self
            .scoring
            .directories()
            .get(source, tenant_id, knowledge)
            .await?;
        let tenant = Tenant::of(&directory.read());
        Ok(Setting {
            at,
            knowledge,
            version,
            tenant,
        })
    }

    /// The deals' log; that of the live state is remembered as long as it stays the same.
    async fn log(&self, tenant_id: &str, setting: &Setting) -> Result<Arc<ChangeLog>, Failure> {
        let key: Arc<str> = tenant_id.into();
        if let Some(version) = setting.version
            && let Some(held) = self.logs.get(&key)
            && held.version == version
        {
            return Ok(Arc::clone(&held.log));
        }
        let (source, limits) = (&*self.scoring.source, self.settings.change_log.clone());
        let log = changelog::load(source, tenant_id, "deal", setting.knowledge, limits).await?;
        let log = Arc::new(log);
        if let Some(version) = setting.version {
            let held = LiveLog {
                version,
                log: Arc::clone(&log),
            };
            self.logs.put(key, &Arc::new(held), log.len(), |_| false);
        }
        Ok(log)
    }

    /// What the deals say as known at the instant of the question, or at that of an earlier question since which none
    /// changed.
    async fn present(
        &self,
        tenant_id: &str,
        setting: &Setting,
        made: &Made,
    ) -> Result<Arc<Present>, Failure> {
        let key = setting.version.map(|version| PresentKey {
            version,
            view: made.view.clone(),
            period: made.span(),
        });
        let longest = i64::from(self.settings.same_deals_s) * 1_000_000;
        // An instant asked for by name is answered as of itself.
        let reused = if made.named_instant { 0 } else { longest };
        if let Some(held) = key.as_ref().and_then(|key| self.present.get(key))
            && (0..=reused).contains(&(setting.at.0 - held.at.0))
        {
            return Ok(held);
        }
        let log = self.log(tenant_id, setting).await?;
        let present = Arc::new(Present::learn(
            &log,
            &made.view,
            made.span(),
            setting.at,
            &self.settings,
            &self.past,
        )?);
        if let Some(key) = key {
            let version = key.version;
            self.present
                .put(key, &present, present.weight(), |held| held.version != version);
        }
        Ok(present)
    }
}

#[async_trait]
impl ForecastService for Forecasts {
    async fn forecast(&self, tenant_id: &str, question: &ForecastQuestion) -> Result<Vec<Forecast>, Failure> {
        let setting = self.setting(tenant_id, question).await?;
        let tenant = &setting.tenant;
        let made = Made::out(tenant_id, tenant, question, setting.at, &self.settings)?;
        let present = self.present(tenant_id, &setting, &made).await?;
        answer(&present, &made, tenant, question, &self.settings)
    }

    async fn by_node(
        &self,
        tenant_id: &str,
        question: &ForecastQuestion,
    ) -> Result<Vec<ForecastNode>, Failure> {
        let setting = self.setting(tenant_id, question).await?;
        let tenant = &setting.tenant;
        let made = Made::out(tenant_id, tenant, question, setting.at, &self.settings)?;
        let present = self.present(tenant_id, &setting, &made).await?;
        by_node(&present, &made, tenant, question, &self.settings)
    }

    async fn accuracy(
        &self,
        tenant_id: &str,
        question: &ForecastQuestion,
    ) -> Result<Vec<ForecastAccuracy>, Failure> {
        let setting = self.setting(tenant_id, question).await?;
        let log = self.log(tenant_id, &setting).await?;
        accuracy_of(&log, &setting.tenant, question, setting.at, &self.settings)
    }
}
