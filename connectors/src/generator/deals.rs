//! Deals: how they begin, advance, slip and end, depending on fit, intent and the rep's skill.

use rand::Rng;
use revgauge_contract::{Timestamp, event::EventDraft, time::DAY_US};
use serde_json::{Value, json};

use super::{
    account::Account,
    activity::Drive,
    emit::{Day, rep_id, with},
    names::STAGES,
};

pub(super) const NEGOTIATION: usize = 3;
const WON: usize = 4;
const LOST: usize = 5;
/// Least and most of a new deal's amount for each square root of an employee.
const WORTH: (f64, f64) = (700.0, 2600.0);
/// Draw above which an amount changes, and the least and most of its factor.
const CHANGES: (f64, f64, f64) = (0.995, 0.75, 1.2);

/// Probability that an account without an open deal begins one on a working day.
pub(super) fn begins(fit: f64, drive: Drive) -> f64 {
    (0.001 + 0.028 * drive.intent * (0.3 + fit) * drive.skill * drive.pace.min(1.5)).clamp(0.0, 1.0)
}

/// Probabilities that an open deal advances, and that it is lost, on a working day.
pub(super) fn moves(fit: f64, drive: Drive) -> (f64, f64) {
    let strength = 0.35 * fit + 0.65 * drive.intent;
    let forward = (0.006 + 0.07 * strength) * drive.skill * drive.pace.min(1.3);
    (forward, 0.002 + 0.016 * (1.0 - strength))
}

/// Mean amount of a new deal of a company with so many employees.
pub(super) fn mean_amount(employees: u32) -> f64 {
    f64::from(employees).sqrt() * f64::midpoint(WORTH.0, WORTH.1)
}

/// Mean growth of the amount of an open deal that neither moves nor slips on a working day.
pub(super) fn mean_growth() -> f64 {
    1.0 - (1.0 - CHANGES.0) * (1.0 - f64::midpoint(CHANGES.1, CHANGES.2))
}

#[derive(Debug, Clone)]
pub(super) struct Deal {
    pub(super) deal_id: String,
    pub(super) stage: usize,
    pub(super) amount: f64,
    close_date: Timestamp,
    version: i64,
}

impl Deal {
    pub(super) fn is_open(&self) -> bool {
        self.stage < WON
    }
}

impl Account {
    /// At most one new deal when none is open, then every open deal lives its day.
    pub(super) fn deal_day(&mut self, day: &mut Day, drive: Drive) {
        let open = self.deals.iter().any(Deal::is_open);
        if !open && self.rng.random_bool(begins(self.fit, drive)) {
            self.open_deal(day);
        }
        for number in 0..self.deals.len() {
            if self.deals[number].is_open() {
                let mut deal = self.deals[number].clone();
                self.advance(&mut deal, day, drive);
                self.deals[number] = deal;
            }
        }
        self.deals.retain(Deal::is_open);
    }

    fn open_deal(&mut self, day: &mut Day) {
        self.deals_made += 1;
        let amount = (f64::from(self.employees).sqrt() * self.rng.random_range(WORTH.0..WORTH.1)).round();
        let now = day.at(self.rng.random_range(9 * 3600..17 * 3600));
        let deal = Deal {
            deal_id: format!("deal-{}-{}", self.index, self.deals_made),
            stage: 0,
            amount,
            close_date: now.plus_micros(self.rng.random_range(40..130) * DAY_US),
            version: 1,
        };
        let fields = json!({
            "name": format!("{} {}", self.name, if self.deals_made == 1 { "new business" } else { "expansion" }),
            "pipeline": "sales", "stage": STAGES[0].0, "amount": amount, "currency": "USD",
            "forecast_category": "pipeline", "close_date": day_text(deal.close_date), "created_at": now.to_string(),
            "_version": 1,
        });
        day.push(with(self.about_deal(&deal), fields), "deal.upserted", now);
        self.add_roles(day, &deal, now);
        self.deals.push(deal);
    }

    fn add_roles(&mut self, day: &mut Day, deal: &Deal, now: Timestamp) {
        let known: Vec<_> = self
            .contacts
            .iter()
            .filter(|c| c.in_crm && c.since_day <= day.number)
            .take(3)
            .cloned()
            .collect();
        for (number, contact) in known.iter().enumerate() {
            let role = ["champion", "decision maker", "evaluator"][number];
            let mut draft = self.about_deal(deal);
            draft.contact_id = Some(contact.contact_id.clone());
            day.push(with(draft, json!({"role": role})), "role.upserted", now);
        }
    }

    fn advance(&mut self, deal: &mut Deal, day: &mut Day, drive: Drive) {
        let now = day.at(self.rng.random_range(9 * 3600..18 * 3600));
        let (forward, lost) = moves(self.fit, drive);
        let draw = self.rng.random_range(0.0..1.0);
        if draw < forward {
            deal.stage = if deal.stage == NEGOTIATION {
                WON
            } else {
                deal.stage + 1
            };
            self.change(deal, day, now, stage_fields(deal, now));
        } else if draw < forward + lost {
            deal.stage = LOST;
            let mut fields = stage_fields(deal, now);
            fields["loss_reason"] =
                json!(["price", "no decision", "competitor"][self.rng.random_range(0..3_usize)]);
            self.change(deal, day, now, fields);
        } else if deal.close_date <= now {
            deal.close_date = now.plus_micros(self.rng.random_range(14..45) * DAY_US);
            self.change(deal, day, now, json!({"close_date": day_text(deal.close_date)}));
        } else if draw > CHANGES.0 {
            deal.amount = (deal.amount * self.rng.random_range(CHANGES.1..CHANGES.2)).round();
            self.change(deal, day, now, json!({"amount": deal.amount}));
        }
    }

    fn change(&self, deal: &mut Deal, day: &mut Day, now: Timestamp, mut fields: Value) {
        deal.version += 1;
        fields["_version"] = json!(deal.version);
        day.push(with(self.about_deal(deal), fields), "deal.upserted", now);
    }

    fn about_deal(&self, deal: &Deal) -> EventDraft {
        EventDraft {
            deal_id: Some(deal.deal_id.clone()),
            account_id: Some(self.account_id.clone()),
            user_id: Some(rep_id(self.owner)),
            ..EventDraft::default()
        }
    }
}

fn stage_fields(deal: &Deal, now: Timestamp) -> Value {
    let category = match deal.stage {
        0 | 1 => "pipeline",
        2 => "best case",
        NEGOTIATION => "commit",
        WON => "closed",
        _ => "omitted",
    };
    let mut fields = json!({"stage": STAGES[deal.stage].0, "forecast_category": category});
    if deal.stage >= WON {
        fields["closed_at"] = json!(now.to_string());
        fields["close_date"] = json!(day_text(now));
        fields["is_won"] = json!(deal.stage == WON);
    }
    fields
}

fn day_text(at: Timestamp) -> String {
    at.to_datetime().format("%Y-%m-%d").to_string()
}
