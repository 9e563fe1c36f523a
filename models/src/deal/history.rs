//! The change log of a deal, in version order, read into what happened: stages, slips, amounts, owners.

use std::collections::BTreeMap;

use revgauge_contract::{Timestamp, crm};

use crate::directory::{Outcome, STAGE_FIELDS, StageCatalogue, number};

/// One value a field took, as `deal_history` holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldValue {
    /// Version, then event time.
    pub order_key: String,
    /// `None` when cleared.
    pub value: Option<String>,
}

/// A change of a field from one value to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// When it happened.
    pub at: Timestamp,
    /// Value before.
    pub from: String,
    /// Value after.
    pub to: String,
}

/// Time spent in one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Spell {
    /// The stage.
    pub stage: String,
    /// Entered.
    pub from: Timestamp,
    /// Left; `None` while in it.
    pub to: Option<Timestamp>,
}

/// What the change log of one deal says. A function of the set of changes: arrival order is nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DealHistory {
    /// Created, by its own field, else the first change known.
    pub created_at: Option<Timestamp>,
    /// Last change of any field.
    pub last_change: Option<Timestamp>,
    /// Stages in order; the last is the current one.
    pub stages: Vec<Spell>,
    /// Close date as it stands.
    pub close_date: Option<Timestamp>,
    /// Moves of the close date to a later one.
    pub slips: Vec<Change>,
    /// Moves of the close date to an earlier one.
    pub pull_ins: Vec<Change>,
    /// Changes of the amount.
    pub amounts: Vec<Change>,
    /// Changes of the owner.
    pub owners: Vec<Change>,
    /// When it entered a closed stage, while it is closed.
    pub closed_at: Option<Timestamp>,
}

const CLOSE_FIELDS: &[&str] = &["close_date", "closedate", "expected_close_date"];
const CREATED_FIELDS: &[&str] = &[
    "created_at",
    "create_date",
    "createdate",
    "created_date",
    "created",
];
const AMOUNT_FIELDS: &[&str] = &["amount"];
const OWNER_FIELDS: &[&str] = &["owner_id"];

/// Reads an instant as CRMs write it: a time, a date, or digits (seconds, or milliseconds from 11 digits on).
pub(crate) fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(digits) = text.parse::<i64>() {
        return match digits.unsigned_abs() {
            0..100_000_000 => None,
            100_000_000..100_000_000_000 => Some(Timestamp(digits.checked_mul(1_000_000)?)),
            100_000_000_000..100_000_000_000_000 => Some(Timestamp(digits.checked_mul(1_000)?)),
            _ => Some(Timestamp(digits)),
        };
    }
    text.parse().ok()
}

impl DealHistory {
    /// Folds the changes of each field of one deal.
    #[must_use]
    pub fn fold(fields: BTreeMap<String, Vec<FieldValue>>, catalogue: &StageCatalogue) -> Self {
        let times = fields
            .values()
            .flatten()
            .filter_map(|change| time_of(&change.order_key));
        let span = times.fold(None, widened);
        Self::fold_read(fields, span, catalogue)
    }

    /// Whether the values of a field are read, or only the instants of its changes.
    pub(crate) fn reads(field: &str) -> bool {
        [
            STAGE_FIELDS,
            CLOSE_FIELDS,
            CREATED_FIELDS,
            AMOUNT_FIELDS,
            OWNER_FIELDS,
        ]
        .iter()
        .any(|names| names.contains(&field))
    }

    /// As [`DealHistory::fold`] of the fields that are read, given the first and last change of any field.
    pub(crate) fn fold_read(
        mut fields: BTreeMap<String, Vec<FieldValue>>,
        span: Option<(Timestamp, Timestamp)>,
        catalogue: &StageCatalogue,
    ) -> Self {
        let (first_change, last_change) = span.unzip();
        for changes in fields.values_mut() {
            changes.sort();
        }
        let steps = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| fields.get(*name))
                .map_or_else(Vec::new, |changes| steps(changes))
        };
        let created = CREATED_FIELDS
            .iter()
            .filter_map(|name| fields.get(*name)?.last()?.value.as_deref())
            .find_map(instant);
        let closes = steps(CLOSE_FIELDS);
        let moves = moves(&closes);
        let later = |change: &Change| instant(&change.to) > instant(&change.from);
        let mut history = Self {
            created_at: created.or(first_change),
            last_change,
            stages: spells(&steps(STAGE_FIELDS)),
            close_date: closes.last().and_then(|(_, value)| instant(value.as_deref()?)),
            slips: moves.iter().filter(|change| later(change)).cloned().collect(),
            pull_ins: moves.iter().filter(|change| !later(change)).cloned().collect(),
            amounts: self::moves(&steps(AMOUNT_FIELDS))
                .into_iter()
                .filter(|change| number(&change.from) != number(&change.to))
                .collect(),
            owners: self::moves(&steps(OWNER_FIELDS)),
            closed_at: None,
        };
        if let (Some(first), Some(created)) = (history.stages.first_mut(), created) {
            // An import that knows the deal only from a later change still began its first stage at creation.
            first.from = first.from.min(created);
        }
        history.closed_at = history.stages.last().and_then(|spell| {
            let fields = std::iter::once(("stage".to_owned(), spell.stage.clone())).collect();
            (catalogue.outcome(&fields) != Outcome::Open).then_some(spell.from)
        });
        history
    }

    /// When the current stage was entered.
    #[must_use]
    pub fn stage_entered_at(&self) -> Option<Timestamp> {
        self.stages.last().map(|spell| spell.from)
    }
}

/// A span of time that holds one more instant.
pub(crate) fn widened(span: Option<(Timestamp, Timestamp)>, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
    Some(span.map_or((at, at), |(first, last)| (first.min(at), last.max(at))))
}

fn time_of(order_key: &str) -> Option<Timestamp> {
    crm::order_key_time(order_key).map(Timestamp)
}

type Step = (Timestamp, Option<String>);

/// Values in version order, repeats left out. Of several at one order key the greatest is the one that stands.
fn steps(changes: &[FieldValue]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (place, change) in changes.iter().enumerate() {
        let beaten = changes
            .get(place + 1)
            .is_some_and(|next| next.order_key == change.order_key);
        let Some(at) = time_of(&change.order_key) else {
            continue;
        };
        if !beaten && steps.last().is_none_or(|(_, held)| *held != change.value) {
            steps.push((at, change.value.clone()));
        }
    }
    steps
}

/// Changes from one value to another; from or to nothing is no move.
fn moves(steps: &[Step]) -> Vec<Change> {
    let valued: Vec<(Timestamp, &String)> = steps
        .iter()
        .filter_map(|(at, value)| Some((*at, value.as_ref()?)))
        .collect();
    valued
        .windows(2)
        .filter(|pair| pair[0].1 != pair[1].1)
        .map(|pair| Change {
            at: pair[1].0,
            from: pair[0].1.clone(),
            to: pair[1].1.clone(),
        })
        .collect()
}

fn spells(steps: &[Step]) -> Vec<Spell> {
    let mut spells: Vec<Spell> = Vec::new();
    for (at, value) in steps {
        if let Some(open) = spells.last_mut()
            && open.to.is_none()
        {
            open.to = Some(*at);
        }
        if let Some(stage) = value {
            spells.push(Spell {
                stage: stage.clone(),
                from: *at,
                to: None,
            });
        }
    }
    spells
}
