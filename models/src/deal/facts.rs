//! What the health of a deal is read from, already gathered.

use revgauge_contract::Timestamp;

use super::{DealHistory, StageMedian};
use crate::{
    definitions::TextSignals,
    directory::{Outcome, number},
    facts::{ActivityRow, Fields},
    text::{DealText, TextFindings},
};

/// A deal, all merged ids together.
#[derive(Debug, Clone, PartialEq)]
pub struct DealFacts {
    /// Canonical id.
    pub deal_id: String,
    /// Canonical account id, when known.
    pub account_id: Option<String>,
    /// CRM fields as they stand.
    pub fields: Fields,
    /// Open, won or lost.
    pub outcome: Outcome,
    /// Its change log, folded.
    pub history: DealHistory,
    /// Layer-1 rows of `deal_activity`, all ids.
    pub activity: Vec<ActivityRow>,
    /// People on it, by role or by activity.
    pub contacts: Vec<DealContact>,
    /// The tenant's usual time in its stage, when enough deals tell.
    pub stage_median: Option<StageMedian>,
    /// Texts on it, until they are analysed.
    pub texts: Vec<DealText>,
    /// What its texts say.
    pub findings: TextFindings,
}

impl DealFacts {
    /// Analyses its texts by a definition.
    pub(crate) fn analyse(&mut self, rules: &TextSignals) {
        let amounts: Vec<f64> = self
            .history
            .amounts
            .iter()
            .flat_map(|change| [&change.from, &change.to])
            .chain(self.fields.get("amount"))
            .filter_map(|amount| number(amount))
            .collect();
        self.findings = TextFindings::of(rules, &std::mem::take(&mut self.texts), &amounts);
    }
}

/// A person on a deal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DealContact {
    /// Canonical contact id.
    pub contact_id: String,
    /// Role on the deal, where the CRM says.
    pub role: Option<String>,
    /// Buying authority, 0-1, when scored.
    pub authority: Option<f64>,
    /// Last answer: on this deal, or at all for a person whom the CRM names on it.
    pub last_answer: Option<Timestamp>,
    /// Last contact in either direction.
    pub last_contact: Option<Timestamp>,
    /// Has answered at some time after being contacted.
    pub two_way: bool,
    /// Inbound human events on this deal.
    pub inbound: i64,
}
