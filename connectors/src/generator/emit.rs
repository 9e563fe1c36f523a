//! Drafts of one account's day: ids, times of day and the fields every event carries.

use revgauge_contract::{
    Timestamp,
    event::{EventDraft, MachineClass},
    time::{DAY_US, SECOND_US},
};
use serde_json::{Map, Value};

use super::account::{Account, Contact};

/// Collects the drafts of one account's day.
#[derive(Debug)]
pub(super) struct Day {
    pub(super) number: u32,
    midnight: Timestamp,
    prefix: String,
    count: u32,
    pub(super) drafts: Vec<EventDraft>,
}

impl Day {
    pub(super) fn new(start: Timestamp, number: u32, prefix: String) -> Self {
        let midnight = start.plus_micros(i64::from(number) * DAY_US);
        Self {
            number,
            midnight,
            prefix,
            count: 0,
            drafts: Vec::new(),
        }
    }

    /// An instant of the day, in seconds after its midnight (may run over into the next days).
    pub(super) fn at(&self, seconds: i64) -> Timestamp {
        self.midnight.plus_micros(seconds * SECOND_US)
    }

    /// Weekday, 0 = Monday.
    pub(super) fn weekday(&self) -> i64 {
        (self.midnight.micros().div_euclid(DAY_US) + 3).rem_euclid(7)
    }

    /// Month, 1 to 12.
    pub(super) fn month(&self) -> u32 {
        use chrono::Datelike;
        self.midnight.to_datetime().month()
    }

    /// Adds a draft with an id of its own.
    pub(super) fn push(&mut self, mut draft: EventDraft, event_type: &str, at: Timestamp) {
        draft.event_id = Some(format!("{}-{}", self.prefix, self.count));
        draft.event_type = Some(event_type.to_owned());
        draft.event_time = Some(at);
        draft.source.get_or_insert_with(|| "simulator".to_owned());
        self.count += 1;
        self.drafts.push(draft);
    }
}

/// A draft about a contact of an account.
pub(super) fn about(account: &Account, contact: &Contact) -> EventDraft {
    EventDraft {
        contact_id: contact.in_crm.then(|| contact.contact_id.clone()),
        email: Some(contact.email.clone()),
        account_id: contact.in_crm.then(|| account.account_id.clone()),
        user_id: Some(rep_id(account.owner)),
        ..EventDraft::default()
    }
}

/// A draft about the account alone.
pub(super) fn about_account(account: &Account) -> EventDraft {
    EventDraft {
        account_id: Some(account.account_id.clone()),
        domain: Some(account.domain.clone()),
        ..EventDraft::default()
    }
}

/// Marks a draft as made by a machine.
pub(super) fn by_machine(mut draft: EventDraft, class: MachineClass) -> EventDraft {
    draft.machine_class = Some(class);
    draft
}

/// Adds the type's own fields.
pub(super) fn with(mut draft: EventDraft, fields: Value) -> EventDraft {
    draft.payload = match fields {
        Value::Object(map) => map,
        other => Map::from_iter([("value".to_owned(), other)]),
    };
    draft
}

/// Id of a rep.
pub(super) fn rep_id(rep: u32) -> String {
    format!("rep-{rep}")
}
