//! What is known of a tenant beside its deals, and whose deals does a question mean?

use std::{collections::BTreeSet, sync::Arc};

use revgauge_contract::{error::Failure, forecast::ForecastQuestion};

use super::Rates;
use crate::{
    directory::{Directory, StageCatalogue},
    facts::Fields,
    hierarchy::Hierarchy,
};

/// What is known of a tenant beside its deals.
#[derive(Debug, Clone, Default)]
pub(super) struct Tenant {
    pub(super) stages: Arc<StageCatalogue>,
    pub(super) hierarchy: Hierarchy,
    pub(super) rates: Arc<Rates>,
    pub(super) quotas: Vec<(Arc<str>, Fields)>,
    pub(super) submissions: Vec<(Arc<str>, Fields)>,
}

impl Tenant {
    pub(super) fn of(directory: &Directory) -> Self {
        Self {
            stages: directory.stages(),
            hierarchy: Hierarchy::of(directory),
            rates: Arc::new(Rates::read(&directory.objects("exchange_rate"))),
            quotas: directory.objects("quota"),
            submissions: directory.objects("forecast_submission"),
        }
    }

    /// The owners whose deals are asked about; all when absent.
    pub(super) fn owners(&self, question: &ForecastQuestion) -> Result<Option<BTreeSet<String>>, Failure> {
        let asked = question.owner_ids.as_ref();
        let asked = asked.map(|ids| ids.iter().cloned().collect::<BTreeSet<_>>());
        let Some(head) = &question.team_of else {
            return Ok(asked);
        };
        self.hierarchy.check()?;
        let team = self.hierarchy.team(head);
        Ok(Some(match asked {
            Some(asked) => asked.intersection(&team).cloned().collect(),
            None => team,
        }))
    }
}
