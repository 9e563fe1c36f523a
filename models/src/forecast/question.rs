//! What exactly is asked, and is it in range?

use std::{collections::BTreeSet, sync::Arc};

use revgauge_contract::{
    ErrorKind, Timestamp,
    error::Failure,
    forecast::ForecastQuestion,
    period::{FiscalCalendar, Period},
};

use super::{
    ForecastSettings, Scope,
    outlook::{CATEGORIES, spelled},
    remembered::View,
    tenant::Tenant,
};

/// Most quantiles of one answer.
const MOST_QUANTILES: usize = 99;

/// A refusal that the user can mend.
pub(super) fn user(text: String) -> Failure {
    Failure::new(ErrorKind::User, text)
}

fn calendar_of(question: &ForecastQuestion, settings: &ForecastSettings) -> Result<FiscalCalendar, Failure> {
    let month = question.fiscal_year_starts.unwrap_or(settings.fiscal_year_starts);
    FiscalCalendar::starting(month).ok_or_else(|| {
        user(format!(
            "cannot begin the fiscal year with month {month}: give 1 to 12"
        ))
    })
}

/// The period asked for: by its name, by its ends, or the current quarter.
fn period_of(
    question: &ForecastQuestion,
    at: Timestamp,
    calendar: FiscalCalendar,
) -> Result<Period, Failure> {
    match (&question.period, question.start, question.end) {
        (Some(name), None, None) => calendar.period(name, at).map_err(|error| user(error.to_string())),
        (None, None, None) => Ok(calendar.quarter_at(at)),
        (None, Some(start), Some(end)) if start < end => Ok(Period {
            name: String::new(),
            start,
            end,
        }),
        (None, Some(start), Some(end)) => Err(user(format!(
            "cannot forecast the period from {start} to {end}: give the earlier instant first"
        ))),
        _ => Err(user(
            "cannot tell the period: give its name, or both its start and its end".to_owned(),
        )),
    }
}

/// # Errors
/// `User` for a number out of range.
pub(super) fn check(question: &ForecastQuestion) -> Result<(), Failure> {
    if question
        .quota
        .is_some_and(|quota| !(quota.is_finite() && quota > 0.0))
    {
        return Err(user(
            "cannot forecast attainment of the quota: give a quota above 0".to_owned(),
        ));
    }
    if question.quantiles.len() > MOST_QUANTILES
        || question.quantiles.iter().any(|p| !(0.0..=1.0).contains(p))
    {
        return Err(user(format!(
            "cannot answer the quantiles: give at most {MOST_QUANTILES} probabilities from 0 to 1"
        )));
    }
    for overlay in &question.what_if {
        let amount = overlay.amount.is_none_or(|amount| (0.0..=1e13).contains(&amount));
        let probability = overlay.probability.is_none_or(|p| (0.0..=1.0).contains(&p));
        if !amount || !probability {
            return Err(user(format!(
                "cannot see deal {} otherwise: give an amount from 0 to 1e13 and a probability from 0 to 1",
                overlay.deal_id
            )));
        }
        if let Some(category) = &overlay.category
            && !CATEGORIES.contains(&spelled(category).as_str())
        {
            return Err(user(format!(
                "cannot see deal {} in another category: give one of {}",
                overlay.deal_id,
                CATEGORIES.join(", ")
            )));
        }
    }
    Ok(())
}

fn scope_of(question: &ForecastQuestion, owners: Option<&BTreeSet<String>>) -> Scope {
    Scope {
        owner_ids: owners.cloned().filter(|_| question.confined),
        pipeline: question.pipeline.clone(),
        without: question.without_deals.iter().cloned().collect(),
    }
}

/// What was asked, made out.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) named_instant: bool,
    pub(super) calendar: FiscalCalendar,
    pub(super) period: Period,
    pub(super) owners: Option<BTreeSet<String>>,
    pub(super) view: View,
}

impl Made {
    /// # Errors
    /// `User` for a question out of range, `Data` for a team that manages itself.
    pub(super) fn out(
        tenant_id: &str,
        tenant: &Tenant,
        question: &ForecastQuestion,
        at: Timestamp,
        settings: &ForecastSettings,
    ) -> Result<Self, Failure> {
        check(question)?;
        let calendar = calendar_of(question, settings)?;
        let period = period_of(question, at, calendar)?;
        let owners = tenant.owners(question)?;
        let currency = question.currency.as_ref();
        let view = View {
            tenant_id: tenant_id.into(),
            stages: Arc::clone(&tenant.stages),
            scope: scope_of(question, owners.as_ref()),
            currency: currency.map(|currency| (currency.clone(), Arc::clone(&tenant.rates))),
        };
        Ok(Self {
            named_instant: question.as_of.is_some(),
            calendar,
            period,
            owners,
            view,
        })
    }

    pub(super) const fn span(&self) -> (Timestamp, Timestamp) {
        (self.period.start, self.period.end)
    }
}
