//! What do people themselves say of a period: quotas, and what they submit?
//!
//! Both are CRM objects of their own id, so nothing that is configured later rewrites them (N-18): another calendar,
//! hierarchy or roll-up reads the same objects otherwise, and back again the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use revgauge_contract::{
    Timestamp,
    forecast::Submission,
    period::{FiscalCalendar, Period},
};

use crate::{
    deal::instant,
    directory::{first, number},
    facts::Fields,
    hierarchy::Hierarchy,
};

/// A person's quota for a span of time.
#[derive(Debug, Clone, PartialEq)]
struct Quota {
    id: Arc<str>,
    person: String,
    currency: String,
    amount: f64,
    start: Timestamp,
    end: Timestamp,
}

/// The quotas and submissions of a tenant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Targets {
    quotas: Vec<Quota>,
    submissions: Vec<(Submission, Timestamp, Timestamp)>,
}

/// The span an object is about: its `period` by the calendar, else its `start` and `end`.
fn span(fields: &Fields, calendar: FiscalCalendar, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let edge = |names: &[&str]| first(fields, names).and_then(instant);
    if let (Some(start), Some(end)) = (edge(&["start", "period_start"]), edge(&["end", "period_end"])) {
        return (start < end).then_some((start, end));
    }
    let Period { start, end, .. } = calendar.period(first(fields, &["period"])?, at).ok()?;
    Some((start, end))
}

fn amount(fields: &Fields) -> Option<f64> {
    first(fields, &["amount", "value", "quota"])
        .and_then(number)
        .filter(|amount| (0.0..=1e13).contains(amount))
}

impl Targets {
    /// From `quota` and `forecast_submission` objects. One without person, period or an amount from 0 on is left out.
    #[must_use]
    pub fn read(
        quotas: &[(Arc<str>, Fields)],
        submissions: &[(Arc<str>, Fields)],
        calendar: FiscalCalendar,
        at: Timestamp,
    ) -> Self {
        let text = |fields: &Fields, names: &[&str]| first(fields, names).unwrap_or_default().to_owned();
        let person = |fields: &Fields| first(fields, &["user_id", "owner_id"]).map(str::to_owned);
        let quotas = quotas.iter().filter_map(|(id, fields)| {
            let (start, end) = span(fields, calendar, at)?;
            Some(Quota {
                id: Arc::clone(id),
                person: person(fields)?,
                currency: text(fields, &["currency"]),
                amount: amount(fields)?,
                start,
                end,
            })
        });
        let submissions = submissions.iter().filter_map(|(id, fields)| {
            let (start, end) = span(fields, calendar, at)?;
            let by = person(fields)?;
            let submission = Submission {
                submission_id: id.to_string(),
                about: first(fields, &["about_user_id", "for_user_id"])
                    .unwrap_or(&by)
                    .to_owned(),
                user_id: by,
                category: first(fields, &["category", "forecast_category"])
                    .unwrap_or("commit")
                    .to_lowercase()
                    .replace(['_', '-'], " "),
                amount: amount(fields)?,
                currency: text(fields, &["currency"]),
                submitted_at: first(fields, &["submitted_at", "created_at"]).and_then(instant),
                stands: false,
            };
            Some((submission, start, end))
        });
        Self {
            quotas: quotas.collect(),
            submissions: submissions.collect(),
        }
    }

    /// The quota of some people together for a period: for each person without a manager among them their own, else the
    /// sum of those of their reports, and so on down. None where nobody has one.
    #[must_use]
    pub fn quota(
        &self,
        people: &BTreeSet<&str>,
        hierarchy: &Hierarchy,
        currency: &str,
        period: (Timestamp, Timestamp),
    ) -> Option<f64> {
        let own = |person: &str| self.own_quota(person, currency, period);
        standing(people, hierarchy, &own).map(|(sum, _)| sum)
    }

    /// A person's own quota: of each span of days the share that lies in the period. Where quotas of a person overlap, the
    /// one for the shorter span counts, being the more exact; of equal ones that of the greater id.
    fn own_quota(&self, person: &str, currency: &str, (start, end): (Timestamp, Timestamp)) -> Option<f64> {
        let mine: Vec<&Quota> = self
            .quotas
            .iter()
            .filter(|quota| quota.person == person && same_currency(&quota.currency, currency))
            .filter(|quota| quota.start < end && start < quota.end)
            .collect();
        let mut edges: Vec<Timestamp> = mine.iter().flat_map(|quota| [quota.start, quota.end]).collect();
        edges.extend([start, end]);
        edges.retain(|edge| start <= *edge && *edge <= end);
        edges.sort();
        edges.dedup();
        let parts = edges.windows(2).filter_map(|edge| {
            let (from, until) = (*edge.first()?, *edge.last()?);
            let covers = mine
                .iter()
                .filter(|quota| quota.start <= from && until <= quota.end);
            let quota =
                covers.min_by_key(|quota| (quota.end.0 - quota.start.0, std::cmp::Reverse(&quota.id)))?;
            Some(quota.amount * until.days_since(from) / quota.end.days_since(quota.start))
        });
        (!mine.is_empty()).then(|| parts.sum())
    }

    /// The submissions for exactly this period about some people, each told whether it stands: of those about a person
    /// and category, the one from highest above stands, of one submitter's the newest. None is ever dropped, but where an
    /// instant is given those that do not tell that they were submitted by then.
    #[must_use]
    pub fn submissions(
        &self,
        people: &BTreeSet<&str>,
        hierarchy: &Hierarchy,
        currency: &str,
        period: (Timestamp, Timestamp),
        until: Option<Timestamp>,
    ) -> Vec<Submission> {
        let mut told: Vec<Submission> = self
            .submissions
            .iter()
            .filter(|(one, start, end)| (*start, *end) == period && people.contains(one.about.as_str()))
            .filter(|(one, ..)| same_currency(&one.currency, currency))
            .filter(|(one, ..)| until.is_none_or(|until| one.submitted_at.is_some_and(|at| at <= until)))
            .map(|(one, ..)| one.clone())
            .collect();
        let rank = |one: &Submission| {
            let above = hierarchy
                .chain(&one.about)
                .iter()
                .position(|person| *person == one.user_id);
            (above, one.submitted_at, one.submission_id.clone())
        };
        let mut best: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (place, one) in told.iter().enumerate() {
            // Somebody who is not above the person has no say for it.
            if rank(one).0.is_none() {
                continue;
            }
            let held = best
                .entry((one.about.clone(), one.category.clone()))
                .or_insert(place);
            if rank(&told[*held]) < rank(one) {
                *held = place;
            }
        }
        for place in best.into_values() {
            told[place].stands = true;
        }
        told
    }

    /// What people together submitted as a category, as [`Targets::quota`], of what stands; and whom that covers.
    #[must_use]
    pub fn submitted(
        told: &[Submission],
        people: &BTreeSet<&str>,
        hierarchy: &Hierarchy,
        category: &str,
    ) -> Option<(f64, BTreeSet<String>)> {
        standing(people, hierarchy, &|person| {
            let of = |one: &&Submission| one.stands && one.about == person && one.category == category;
            told.iter().find(of).map(|one| one.amount)
        })
    }
}

fn same_currency(held: &str, asked: &str) -> bool {
    held.is_empty() || held.eq_ignore_ascii_case(asked)
}

/// For each of `people` whose manager is not among them: their own number, else the sum of their reports'; and those whose
/// own number, or that of somebody above, is in it.
fn standing(
    people: &BTreeSet<&str>,
    hierarchy: &Hierarchy,
    own: &dyn Fn(&str) -> Option<f64>,
) -> Option<(f64, BTreeSet<String>)> {
    let mut reports: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    // People, and whether a number covers them.
    let mut waiting = Vec::new();
    for person in people {
        match hierarchy
            .manager(person)
            .filter(|manager| people.contains(manager))
        {
            Some(manager) => reports.entry(manager).or_default().push(person),
            None => waiting.push((*person, false)),
        }
    }
    let mut sum = None;
    let (mut seen, mut covered) = (BTreeSet::new(), BTreeSet::new());
    while let Some((person, above)) = waiting.pop() {
        if !seen.insert(person) {
            continue;
        }
        let number = if above { None } else { own(person) };
        if let Some(number) = number {
            *sum.get_or_insert(0.0) += number;
        }
        let covers = above || number.is_some();
        if covers {
            covered.insert(person.to_owned());
        }
        let below = reports.get(person).into_iter().flatten();
        waiting.extend(below.map(|report| (*report, covers)));
    }
    sum.map(|sum| (sum, covered))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn objects(all: &[&[(&str, &str)]]) -> Vec<(Arc<str>, Fields)> {
        let fields = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        all.iter()
            .enumerate()
            .map(|(id, pairs)| (Arc::from(format!("o{id}")), fields(pairs)))
            .collect()
    }

    fn people() -> Hierarchy {
        let pairs = [
            ("rep-1", Some("lead")),
            ("rep-2", Some("lead")),
            ("lead", Some("head")),
            ("head", None),
        ];
        Hierarchy::new(pairs.map(|(person, manager)| (person.to_owned(), manager.map(str::to_owned))))
    }

    fn quarter(calendar: FiscalCalendar) -> (Timestamp, Timestamp) {
        let period = calendar.period("2026-Q2", Timestamp(0)).expect("a period");
        (period.start, period.end)
    }

    #[test]
    fn a_manager_s_word_stands_above_and_what_it_covers_is_kept() {
        let calendar = FiscalCalendar::default();
        let submissions = objects(&[
            &[("user_id", "rep-1"), ("period", "2026-Q2"), ("amount", "100")],
            &[
                ("user_id", "rep-2"),
                ("period", "2026-Q2"),
                ("amount", "50"),
                ("submitted_at", "2026-04-02"),
            ],
            &[
                ("user_id", "rep-2"),
                ("period", "2026-Q2"),
                ("amount", "70"),
                ("submitted_at", "2026-04-09"),
            ],
            &[
                ("user_id", "lead"),
                ("about_user_id", "rep-1"),
                ("period", "2026-Q2"),
                ("amount", "80"),
            ],
            &[
                ("user_id", "rep-1"),
                ("about_user_id", "rep-2"),
                ("period", "2026-Q2"),
                ("amount", "1"),
            ],
            &[("user_id", "rep-1"), ("period", "2026-Q3"), ("amount", "999")],
        ]);
        let targets = Targets::read(&[], &submissions, calendar, Timestamp(0));
        let (hierarchy, all) = (people(), BTreeSet::from(["rep-1", "rep-2", "lead", "head"]));
        let told = targets.submissions(&all, &hierarchy, "USD", quarter(calendar), None);
        assert_eq!(told.len(), 5);
        let stand: Vec<f64> = told
            .iter()
            .filter(|one| one.stands)
            .map(|one| one.amount)
            .collect();
        assert_eq!(stand, [70.0, 80.0]);
        let (sum, covered) = Targets::submitted(&told, &all, &hierarchy, "commit").expect("some stand");
        assert!((sum - 150.0).abs() < 1e-9);
        assert_eq!(covered, BTreeSet::from(["rep-1".to_owned(), "rep-2".to_owned()]));
        let day = |text: &str| Some(text.parse::<Timestamp>().expect("an instant"));
        let then = targets.submissions(
            &all,
            &hierarchy,
            "USD",
            quarter(calendar),
            day("2026-04-05T00:00:00Z"),
        );
        let (sum, _) =
            Targets::submitted(&then, &all, &hierarchy, "commit").expect("one had submitted by then");
        assert!((sum - 50.0).abs() < 1e-9, "{then:?}");
        assert_eq!(Targets::submitted(&told, &all, &hierarchy, "best case"), None);
    }

    #[test]
    fn the_more_exact_of_overlapping_quotas_counts_and_a_head_s_stands_for_the_team() {
        let calendar = FiscalCalendar::default();
        let quotas = objects(&[
            &[("user_id", "rep-1"), ("period", "2026"), ("amount", "3650")],
            &[("user_id", "rep-1"), ("period", "2026-Q2"), ("amount", "1000")],
            &[("user_id", "rep-2"), ("period", "2026-04"), ("amount", "300")],
            &[("user_id", "rep-2"), ("period", "2026-05"), ("amount", "-4")],
        ]);
        let targets = Targets::read(&quotas, &[], calendar, Timestamp(0));
        let (hierarchy, team) = (people(), BTreeSet::from(["rep-1", "rep-2", "lead"]));
        let quota = targets
            .quota(&team, &hierarchy, "EUR", quarter(calendar))
            .expect("a quota");
        assert!((quota - 1300.0).abs() < 1e-6, "{quota}");
        let may = calendar.period("2026-Q1", Timestamp(0)).expect("a period");
        let rest = targets.quota(
            &BTreeSet::from(["rep-1"]),
            &hierarchy,
            "EUR",
            (may.start, may.end),
        );
        assert!((rest.expect("a quota") - 900.0).abs() < 1e-6, "{rest:?}");
        assert_eq!(
            targets.quota(&BTreeSet::from(["head"]), &hierarchy, "EUR", quarter(calendar)),
            None
        );
    }

    proptest! {
        #[test]
        fn another_calendar_and_back_is_the_same(month in 1u32..=12, amounts in prop::collection::vec(0u32..1000, 0..6)) {
            let texts: Vec<String> = amounts.iter().map(u32::to_string).collect();
            let fields: Vec<Vec<(&str, &str)>> = texts
                .iter()
                .map(|amount| vec![("user_id", "rep-1"), ("period", "2026-Q2"), ("amount", amount.as_str())])
                .collect();
            let submissions = objects(&fields.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let answer = |calendar: FiscalCalendar| {
                let targets = Targets::read(&submissions, &submissions, calendar, Timestamp(0));
                let people = BTreeSet::from(["rep-1"]);
                let told = targets.submissions(&people, &Hierarchy::default(), "", quarter(calendar), None);
                (told, targets.quota(&people, &Hierarchy::default(), "", quarter(calendar)))
            };
            let before = answer(FiscalCalendar::default());
            let _ = answer(FiscalCalendar::starting(month).expect("a month"));
            prop_assert_eq!(before.0.len(), amounts.len());
            prop_assert_eq!(before, answer(FiscalCalendar::default()));
        }
    }
}
