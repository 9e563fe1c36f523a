//! What revenue do people themselves say that a period will bring, and the hazard where nobody says anything?

use std::collections::BTreeSet;

use revgauge_contract::{Timestamp, forecast::Submission};

use super::{
    Learnt, Targets,
    outlook::Overlays,
    past::{Asked, PastSpan},
};
use crate::hierarchy::Hierarchy;

/// Submissions, and the people asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spoken<'a> {
    pub(super) targets: &'a Targets,
    pub(super) hierarchy: &'a Hierarchy,
    pub(super) people: &'a BTreeSet<&'a str>,
}

impl Spoken<'_> {
    /// The commits that stand for a period, and the hazard's expectation of the owners whom none of them covers; at least
    /// what is won already. Absent where nobody has committed.
    ///
    /// Cost: a pass over the submissions, and over the deals where one stands.
    pub(super) fn value(
        self,
        learnt: &Learnt,
        asked: Asked<'_>,
        period: (Timestamp, Timestamp),
        overlays: &Overlays<'_>,
    ) -> Option<f64> {
        let told = self
            .targets
            .submissions(self.people, self.hierarchy, asked.currency, period, None);
        self.of(&told, learnt, asked, overlays)
    }

    /// As [`Spoken::value`], of what had been submitted by the instant within a past period. A submission that does not tell
    /// when it was made does not count: it may have been made with knowledge of what came.
    pub(super) fn before(self, learnt: &Learnt, asked: Asked<'_>, span: PastSpan) -> Option<f64> {
        let period = (span.start, span.end);
        let told = self.targets.submissions(
            self.people,
            self.hierarchy,
            asked.currency,
            period,
            Some(span.then),
        );
        self.of(&told, learnt, asked, &Overlays::new())
    }

    fn of(
        self,
        told: &[Submission],
        learnt: &Learnt,
        asked: Asked<'_>,
        overlays: &Overlays<'_>,
    ) -> Option<f64> {
        let (committed, covered) = Targets::submitted(told, self.people, self.hierarchy, "commit")?;
        let (mut closed, mut value) = (0.0, committed);
        for (owner, expected) in learnt.expected_by_owner(asked.owners, overlays) {
            closed += expected.closed;
            if !covered.contains(owner) {
                value += expected.all();
            }
        }
        Some(value.max(closed))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use revgauge_contract::forecast::{Forecast, MethodForecast};

    use crate::{
        facts::Fields,
        forecast::{
            Record,
            tenant::Tenant,
            tests::{Change, ask, day, log_of, memory, question, quick, steady},
            track_record,
        },
        hierarchy::Hierarchy,
    };

    /// A steady business of two, of whom the first commits an amount for each quarter of ninety days.
    fn answered(commits: &[(i64, i64, Option<i64>)]) -> Forecast {
        let mut changes: Vec<Change> = steady(720);
        for n in 0..240 {
            let owner = if n % 2 == 0 { "rep-1" } else { "rep-2" };
            changes.push((format!("deal-{n}"), "owner_id", owner.to_owned(), n * 3));
        }
        let submission = |(start, amount, submitted): &(i64, i64, Option<i64>)| {
            let mut fields: Fields = [
                ("user_id", "rep-1".to_owned()),
                ("start", day(*start).to_string()),
                ("end", day(start + 90).to_string()),
                ("amount", amount.to_string()),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
            if let Some(submitted) = submitted {
                fields.insert("submitted_at".to_owned(), day(*submitted).to_string());
            }
            (Arc::from(format!("s-{start}")), fields)
        };
        let people = ["rep-1", "rep-2"].map(|person| (person.to_owned(), None));
        let tenant = Tenant {
            submissions: commits.iter().map(submission).collect(),
            hierarchy: Hierarchy::new(people),
            ..Tenant::default()
        };
        let asked = question(540, 630);
        let told = ask(&memory(0), &log_of(&changes), &tenant, &asked, day(560), &quick());
        told.expect("an answer").remove(0)
    }

    fn submitted(forecast: &Forecast) -> Option<&MethodForecast> {
        forecast
            .methods
            .iter()
            .find(|method| method.method == "submitted")
    }

    #[test]
    fn a_commit_speaks_for_its_person_and_the_hazard_for_the_others() {
        assert_eq!(submitted(&answered(&[])), None);
        let forecast = answered(&[(540, 9_000, None)]);
        let method = submitted(&forecast).expect("somebody committed");
        let rows = forecast.rows.iter().filter(|row| row.owner_id == "rep-2");
        let others: f64 = rows.map(|row| row.contribution).sum();
        assert!(
            others > 0.0 && (method.value - 9_000.0 - others).abs() < 1e-6,
            "{method:?} {others}"
        );
        assert_eq!((method.weight, method.wape), (0.0, None));
        // What is won already is never committed away.
        let low = answered(&[(540, 0, None)]);
        assert!(submitted(&low).expect("a method").value >= low.closed);
    }

    #[test]
    fn a_commit_of_the_past_counts_from_when_it_says_it_was_made() {
        let wape = |made: Option<i64>| {
            let forecast = answered(&[(540, 9_000, None), (450, 9_000, made)]);
            submitted(&forecast).expect("a method").wape
        };
        assert!(wape(Some(455)).is_some());
        assert_eq!((wape(Some(500)), wape(None)), (None, None));
    }

    #[test]
    fn commits_that_were_right_get_a_share_and_those_that_were_not_none() {
        let record = |actual: f64, committed: f64| Record {
            values: [100.0; 6],
            interval: [85.0, 100.0, 115.0],
            closed: 0.0,
            deviation: 9.0,
            ended: 200,
            submitted: Some(committed),
            actual,
        };
        let share = |error: f64, spoken: bool| {
            let actual = [88.0, 112.0, 91.0, 109.0, 86.0, 114.0, 95.0, 105.0];
            let records = actual.map(|actual| record(actual, actual + error));
            let track = track_record(&records, 200, spoken);
            let all: f64 = track.weights().iter().sum();
            let share = track.submitted.map_or(0.0, |method| method.weight);
            assert!((all + share - 1.0).abs() < 1e-9);
            share
        };
        assert!(share(1.0, true) > 0.4, "{}", share(1.0, true));
        assert_eq!((share(30.0, true), share(1.0, false)), (0.0, 0.0));
        let fresh = track_record(&[], 200, true);
        assert_eq!(fresh.submitted.map(|method| method.weight), Some(0.0));
    }
}
