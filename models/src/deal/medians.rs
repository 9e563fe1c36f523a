//! How long deals of the tenant usually stay in each stage, deals still in it included.

use std::collections::BTreeMap;

use revgauge_contract::Timestamp;
use serde::{Deserialize, Serialize};

use super::DealHistory;

/// The usual time in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StageMedian {
    /// Median days, by Kaplan and Meier.
    pub days: f64,
    /// Spells it is from.
    pub spells: usize,
}

/// Medians by stage name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageMedians(pub BTreeMap<String, StageMedian>);

impl StageMedians {
    /// The medians at an instant. A spell that is not over by then says only "at least this long" (censored), which a
    /// plain median of finished spells would leave out and so make every open deal look late.
    #[must_use]
    pub fn of<'a>(histories: impl IntoIterator<Item = &'a DealHistory>, at: Timestamp) -> Self {
        let mut spells: BTreeMap<&str, Vec<(f64, bool)>> = BTreeMap::new();
        for spell in histories.into_iter().flat_map(|history| &history.stages) {
            if spell.from > at {
                continue;
            }
            let left = spell.to.filter(|to| *to <= at);
            let days = left.unwrap_or(at).days_since(spell.from).max(0.0);
            spells
                .entry(&spell.stage)
                .or_default()
                .push((days, left.is_some()));
        }
        Self(
            spells
                .into_iter()
                .filter_map(|(stage, spells)| {
                    let count = spells.len();
                    let days = kaplan_meier_median(spells)?;
                    Some((stage.to_owned(), StageMedian { days, spells: count }))
                })
                .collect(),
        )
    }

    /// The median of a stage when it is from at least so many spells.
    #[must_use]
    pub fn of_stage(&self, stage: &str, min_spells: usize) -> Option<StageMedian> {
        self.0
            .get(stage)
            .copied()
            .filter(|median| median.spells >= min_spells)
    }
}

/// The least duration by which half are over; the longest one seen when fewer than half ever are. `None` when none is.
fn kaplan_meier_median(mut spells: Vec<(f64, bool)>) -> Option<f64> {
    spells.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
    if !spells.iter().any(|(_, over)| *over) {
        return None;
    }
    let (mut at_risk, mut surviving) = (spells.len() as f64, 1.0);
    for (days, over) in &spells {
        if *over {
            surviving *= 1.0 - 1.0 / at_risk;
            if surviving <= 0.5 + 1e-12 {
                return Some(*days);
            }
        }
        at_risk -= 1.0;
    }
    spells.last().map(|(days, _)| *days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn censored_spells_move_the_median_up() {
        let over = |days: f64| (days, true);
        let open = |days: f64| (days, false);
        let cases = [
            (vec![over(1.0), over(2.0), over(3.0)], Some(2.0)),
            (vec![over(1.0), open(1.5), over(4.0), over(9.0)], Some(4.0)),
            (vec![over(1.0), open(5.0), open(6.0), open(7.0)], Some(7.0)),
            (vec![open(5.0)], None),
            (vec![], None),
        ];
        for (spells, median) in cases {
            assert_eq!(kaplan_meier_median(spells.clone()), median, "{spells:?}");
        }
    }
}
