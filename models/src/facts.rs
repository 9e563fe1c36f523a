//! What the pure scoring functions read: facts about one entity, already gathered.
//!
//! `gather.rs` fills these from layer-1 rows and the directory; nothing here knows where they came from.

use std::{collections::BTreeMap, sync::Arc};

use revgauge_contract::{
    Timestamp,
    event::{Direction, MachineClass},
};

/// One layer-1 row of an entity: forward-decayed sums of one event type in one era.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivityRow {
    /// Event type name.
    pub event_type: Arc<str>,
    /// Direction, where the type has one.
    pub direction: Option<Direction>,
    /// Machine or person.
    pub machine_class: MachineClass,
    /// Four-year bucket whose start is the landmark of the sums.
    pub era: i64,
    /// Number of events.
    pub n: i64,
    /// Half-life in days and forward-decayed sum, as many as the pipeline keeps.
    pub sums: Vec<(u16, f64)>,
    /// Sum of `value`.
    pub value_sum: f64,
    /// Greatest `value`.
    pub value_max: Option<f64>,
    /// First event.
    pub first_time: Timestamp,
    /// Last event.
    pub last_time: Timestamp,
}

/// Events of one type in one hour of the week (0 = Monday 00:00 to 00:59 UTC, 167 = Sunday 23:00).
#[derive(Debug, Clone, PartialEq)]
pub struct RhythmRow {
    /// Event type name.
    pub event_type: Arc<str>,
    /// Machine or person.
    pub machine_class: MachineClass,
    /// Hour of the week in UTC.
    pub hour_of_week: u8,
    /// Number of events.
    pub n: i64,
}

/// CRM and enrichment fields by name. CRM fields win over enrichment of the same name.
pub type Fields = BTreeMap<String, String>;

/// A person, all merged keys together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContactFacts {
    /// Canonical id.
    pub contact_id: String,
    /// Canonical account id, when known.
    pub account_id: Option<String>,
    /// Whether it is known only from events (no CRM record).
    pub provisional: bool,
    /// CRM and enrichment fields (`title`, `seniority`, `department`, `email`, `phone`, `timezone`, `country`, ...).
    pub fields: Fields,
    /// Layer-1 rows of all keys.
    pub activity: Vec<ActivityRow>,
    /// Hour-of-week rows of all keys.
    pub rhythm: Vec<RhythmRow>,
}

/// What the account roll-up reads of each of its contacts.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Canonical contact id.
    pub contact_id: String,
    /// Engagement 0-100.
    pub engagement: f64,
    /// Buying authority 0-1, when scored.
    pub authority: Option<f64>,
    /// Last inbound human activity.
    pub last_inbound: Option<Timestamp>,
    /// Two-way: has replied, met or called.
    pub two_way: bool,
}

/// A company, all merged keys together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AccountFacts {
    /// Canonical id.
    pub account_id: String,
    /// Whether it is known only from events.
    pub provisional: bool,
    /// CRM and enrichment fields (`industry`, `employees`, `annual_revenue`, `country`, `tech:<name>`, ...).
    pub fields: Fields,
    /// Layer-1 rows of `account_signals`, all keys.
    pub signals: Vec<ActivityRow>,
    /// Its contacts, already scored.
    pub members: Vec<Member>,
    /// Open deals of the account and whether any was won, for account health.
    pub open_deals: usize,
    /// Deals won.
    pub won_deals: usize,
    /// Deals lost.
    pub lost_deals: usize,
}
