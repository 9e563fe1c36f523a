//! Which rows may a model of leads learn from? Several instants of each contact's life before its first deal, each with what was
//! known then.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use revgauge_contract::{Timestamp, time::DAY_US};
use revgauge_models::{
    changelog::{ChangeLog, ObjectLog},
    facts::Fields,
    win::leads::{LEAD_HORIZON_DAYS, LEAD_LANDMARK_DAYS, lead_fields},
};

use crate::{
    deals::{Activity, DealSet, DealSetError, DealSetSettings},
    landmarks::{Builder, Landmark, judged, landmarks, thin, unjudged},
    table::Table,
};

/// When each contact was first known to be in a deal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversions(HashMap<String, Timestamp>);

impl Conversions {
    /// Reads the main contacts of `deals` and the `roles` of contacts in deals; `canonical` gives the contact behind a key.
    /// Cost: a pass over both logs.
    pub fn of(deals: &ChangeLog, roles: &ChangeLog, canonical: impl Fn(&str) -> Option<String>) -> Self {
        let mut first = Self::default();
        for change in deals.logs().flat_map(|deal| deal.changes()) {
            if let ("contact_id", Some(contact)) = (change.field, change.value) {
                first.note(canonical(contact), change.known_at);
            }
        }
        for role in roles.logs() {
            let complete = role.instants().into_iter().find_map(|at| {
                let state = role.state_at(at);
                state.first(&["deal_id"])?;
                Some((state.first(&["contact_id"])?, at))
            });
            if let Some((contact, at)) = complete {
                first.note(canonical(contact), at);
            }
        }
        first
    }

    fn note(&mut self, contact: Option<String>, known_at: Timestamp) {
        if let Some(contact) = contact {
            let held = self.0.entry(contact).or_insert(known_at);
            *held = known_at.min(*held);
        }
    }

    /// When a contact was first known to be in a deal; none while it is in none.
    pub fn when(&self, contact_id: &str) -> Option<Timestamp> {
        self.0.get(contact_id).copied()
    }
}

/// The instants of a lead's landmarks before its first deal.
fn before_a_deal(
    contact: ObjectLog<'_>,
    converted: Option<Timestamp>,
) -> impl Iterator<Item = Timestamp> + use<> {
    landmarks(contact, &LEAD_LANDMARK_DAYS)
        .take_while(move |at| converted.is_none_or(|converted| converted > *at))
}

/// Makes the training set of leads with what is known at `now`: did each come into a deal within 90 days of its row?
///
/// `contacts` is the change log of contacts; `activity` is of contacts, by the ids of that log. Cost: a reading of a contact's
/// log a row, and one sort of the activity.
///
/// # Errors
/// [`DealSetError`] when no row has an outcome yet.
pub fn lead_set(
    contacts: &ChangeLog,
    conversions: &Conversions,
    activity: &Activity,
    now: Timestamp,
    settings: &DealSetSettings,
) -> Result<DealSet, DealSetError> {
    let horizon = (LEAD_HORIZON_DAYS * DAY_US as f64) as i64;
    let mut rows: Vec<Landmark<'_>> = Vec::new();
    for (number, contact) in contacts.logs().enumerate() {
        if !contact.state_at(now).exists() {
            continue;
        }
        let converted = conversions.when(contact.id());
        // Quick conversions of rows too young for slow ones would make every lead look quick, so neither counts.
        let mature = before_a_deal(contact, converted).take_while(|at| at.plus_micros(horizon) <= now);
        rows.extend(mature.map(|at| {
            let until = at.plus_micros(horizon);
            let within = converted.filter(|converted| *converted <= until);
            Landmark {
                log: contact,
                number,
                at,
                known: within.unwrap_or(until),
                came: within.is_some(),
            }
        }));
    }
    thin(&mut rows, settings.max_rows);
    rows.retain(|row| row.log.state_at(row.at).exists());
    if rows.is_empty() {
        return Err(DealSetError::NoneMature {
            objects: contacts.objects().len(),
            what: "leads",
            horizon_days: LEAD_HORIZON_DAYS,
        });
    }
    let (mut held, mut newest) = (Builder::default(), Builder::default());
    for row in &rows {
        push(&mut held, row.log, row.at);
        push(&mut newest, row.log, now);
    }
    judged(
        &rows,
        (held, newest),
        activity,
        settings.max_fields,
        LEAD_HORIZON_DAYS,
    )
}

/// Rows of leads at landmarks in `(from, to]`, whether or not the outcome is known: what drift is measured on.
///
/// # Errors
/// [`DealSetError::Join`].
pub fn lead_landmark_rows(
    contacts: &ChangeLog,
    conversions: &Conversions,
    activity: &Activity,
    (from, to): (Timestamp, Timestamp),
    columns: &[String],
) -> Result<Table, DealSetError> {
    let (mut held, mut asked) = (Builder::default(), Vec::new());
    for contact in contacts.logs() {
        for at in before_a_deal(contact, conversions.when(contact.id())) {
            if at > from && at <= to && contact.state_at(at).exists() {
                push(&mut held, contact, at);
                asked.push((contact.id(), at));
            }
        }
    }
    unjudged(&held, &asked, activity, columns)
}

fn push(builder: &mut Builder, contact: ObjectLog<'_>, at: Timestamp) {
    let fields: Fields = contact.state_at(at).fields();
    let group = fields.get("account_id").map_or_else(
        || format!("contact {}", contact.id()),
        |account| format!("account {account}"),
    );
    builder.push_fields(None, lead_fields(&fields), group);
}
