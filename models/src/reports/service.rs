//! Reports of a tenant: reads its change log and its people, then calls the pure functions.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use revgauge_contract::{
    Clock, ErrorKind, Timestamp,
    error::Failure,
    reports::{AttributedCredit, AttributionModel, ReportService, WaterfallPart, WaterfallQuestion},
    statistics::Knowledge,
};
use serde::{Deserialize, Serialize};

use super::{Scope, attribute, journeys, waterfall};
use crate::{
    changelog::{self, ChangeLogSettings},
    gather::Gatherer,
    hierarchy::Hierarchy,
    service::Scoring,
};

/// Settings of the reports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSettings {
    /// The change log read for a waterfall.
    pub change_log: ChangeLogSettings,
}

/// The report service.
#[derive(Debug)]
pub struct Reports {
    scoring: Arc<Scoring>,
    clock: Arc<dyn Clock>,
    settings: ReportSettings,
}

impl Reports {
    /// Reads what the score service reads.
    #[must_use]
    pub fn new(scoring: Arc<Scoring>, clock: Arc<dyn Clock>, settings: ReportSettings) -> Self {
        Self {
            scoring,
            clock,
            settings,
        }
    }
}

fn wrong_way(what: &str) -> Failure {
    Failure::new(
        ErrorKind::User,
        format!("cannot make a waterfall {what}: give the earlier instant first"),
    )
}

#[async_trait]
impl ReportService for Reports {
    async fn waterfall(
        &self,
        tenant_id: &str,
        question: &WaterfallQuestion,
    ) -> Result<Vec<WaterfallPart>, Failure> {
        let (from, to) = (question.from, question.to);
        if from > to {
            return Err(wrong_way(&format!("from {from} to {to}")));
        }
        if let Some((start, end)) = question.period
            && start >= end
        {
            return Err(wrong_way(&format!("of the period from {start} to {end}")));
        }
        let knowledge = if question.latest || to >= self.clock.now() {
            Knowledge::Now
        } else {
            Knowledge::At(to)
        };
        let source = &*self.scoring.source;
        let directory = self
            .scoring
            .directories()
            .get(source, tenant_id, knowledge)
            .await?;
        let (stages, team) = {
            let directory = directory.read();
            let team = question
                .team_of
                .as_deref()
                .map(|head| Hierarchy::of(&directory).team(head));
            (directory.stages(), team)
        };
        let log = changelog::load(
            source,
            tenant_id,
            "deal",
            knowledge,
            self.settings.change_log.clone(),
        )
        .await?;
        let asked = question
            .owner_ids
            .as_ref()
            .map(|ids| ids.iter().cloned().collect::<BTreeSet<_>>());
        let scope = Scope {
            period: question.period,
            owner_ids: match (asked, team) {
                (Some(asked), Some(team)) => Some(asked.intersection(&team).cloned().collect()),
                (asked, team) => asked.or(team),
            },
            pipeline: question.pipeline.clone(),
            group_by: question.group_by,
        };
        Ok(waterfall(&log, &stages, &scope, from, to, question.gross))
    }
    async fn attribution(
        &self,
        tenant_id: &str,
        model: AttributionModel,
        period: Option<(Timestamp, Timestamp)>,
        as_of: Option<Timestamp>,
    ) -> Result<Vec<AttributedCredit>, Failure> {
        if let Some((start, end)) = period
            && start >= end
        {
            return Err(Failure::new(
                ErrorKind::User,
                format!(
                    "cannot attribute deals closed from {start} to {end}: give the earlier instant first"
                ),
            ));
        }
        let now = self.clock.now();
        let (knowledge, at) = match as_of.filter(|at| *at < now) {
            Some(at) => (Knowledge::At(at), at),
            None => (Knowledge::Now, now),
        };
        let source = &*self.scoring.source;
        let directory = self
            .scoring
            .directories()
            .get(source, tenant_id, knowledge)
            .await?;
        let settings = self.settings.change_log.clone();
        let log = changelog::load(source, tenant_id, "deal", knowledge, settings).await?;
        let gatherer = Gatherer {
            source,
            directory: &directory,
            tenant_id,
            knowledge,
        };
        let journeys = journeys::load(&gatherer, &log, period, at).await?;
        Ok(attribute(&journeys, model))
    }
}
