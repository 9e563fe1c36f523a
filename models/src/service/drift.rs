//! Which alerts does the tenant's own model raise? What the last look for drift found, while that version serves.

use revgauge_contract::{
    Timestamp,
    models::{DriftAlarm, DriftRule, ModelTarget},
    score::{Alert, EntityKind},
    statistics::Knowledge,
};

use super::Scoring;

/// Looks kept of a tenant: at one a day and target, some months of answers as of the past.
const LOOKS: usize = 200;

/// What a look for drift of the serving model found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftLook {
    /// What the model predicts.
    pub target: ModelTarget,
    /// When it looked.
    pub at: Timestamp,
    /// The version looked at.
    pub version: u32,
    /// What it found.
    pub alarms: Vec<DriftAlarm>,
}

impl Scoring {
    /// Takes what a look for drift found. It stands until the next look, or until another version serves.
    pub fn set_drift(&self, tenant_id: &str, look: DriftLook) {
        let mut held = self.drift_looks.write();
        let looks = held.entry(tenant_id.into()).or_default();
        looks.push(look);
        looks.sort_by_key(|look| look.at);
        let over = looks.len().saturating_sub(LOOKS);
        looks.drain(..over);
    }

    /// The alerts of the looks that stood, each since the first of the looks in a row that found its like.
    pub(super) fn drift_alerts(&self, tenant_id: &str, knowledge: Knowledge) -> Vec<Alert> {
        ModelTarget::ALL
            .into_iter()
            .flat_map(|target| self.alerts_of(tenant_id, target, knowledge))
            .collect()
    }

    fn alerts_of(&self, tenant_id: &str, target: ModelTarget, knowledge: Knowledge) -> Vec<Alert> {
        let Some(serving) = self.model(tenant_id, target, knowledge) else {
            return Vec::new();
        };
        let as_of = match knowledge {
            Knowledge::Now => self.clock.now(),
            Knowledge::At(at) => at,
        };
        let held = self.drift_looks.read();
        let looks = held.get(tenant_id).map_or(&[][..], Vec::as_slice);
        let stood: Vec<&DriftLook> = looks
            .iter()
            .rev()
            .filter(|look| look.target == target)
            .filter(|look| match knowledge {
                Knowledge::Now => true,
                Knowledge::At(at) => look.at <= at,
            })
            .take_while(|look| look.version == serving.version)
            .collect();
        let alarms = stood.first().map_or(&[][..], |look| look.alarms.as_slice());
        alarms
            .iter()
            .map(|alarm| {
                let since = stood
                    .iter()
                    .take_while(|look| look.alarms.iter().any(|found| found.rule == alarm.rule))
                    .last()
                    .map(|look| look.at);
                alert(tenant_id, target, serving.version, alarm, since, as_of)
            })
            .collect()
    }
}

fn alert(
    tenant_id: &str,
    target: ModelTarget,
    version: u32,
    alarm: &DriftAlarm,
    since: Option<Timestamp>,
    as_of: Timestamp,
) -> Alert {
    // A wrong probability misleads now; a moved population may come to.
    let severity = match alarm.rule {
        DriftRule::ModelCalibration => "high",
        DriftRule::ModelPopulation => "medium",
    };
    Alert {
        entity_kind: EntityKind::Tenant,
        entity_id: tenant_id.to_owned(),
        rule: alarm.rule.as_str().to_owned(),
        severity: severity.to_owned(),
        message: format!("model {version} of {}: {}", target.as_str(), alarm.message),
        advice: format!(
            "Train again with 'revgauge train {} --promote' and read the new card; until then take the probabilities with care.",
            target.as_str()
        ),
        since,
        as_of,
    }
}
