//! What people and machines at one account do on one day.

use rand::Rng;
use revgauge_contract::event::MachineClass;
use serde_json::json;

use super::{
    account::{Account, Contact},
    emit::{Day, about, about_account, by_machine, with},
    names::{PAGES, PLACES},
};

/// What drives a day: the latents and the calendar.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drive {
    /// Intent of the account today, 0 to 1.
    pub(super) intent: f64,
    /// Skill of the rep, about 0.5 to 1.5.
    pub(super) skill: f64,
    /// Season, weekday and configured intensity together.
    pub(super) pace: f64,
    /// Whether a deal is open.
    pub(super) deal_open: bool,
}

impl Account {
    pub(super) fn live_a_day(&mut self, day: &mut Day, drive: Drive) {
        let deal_id = self
            .deals
            .iter()
            .find(|deal| deal.is_open())
            .map(|deal| deal.deal_id.clone());
        for number in 0..self.contacts.len() {
            if self.contacts[number].since_day <= day.number {
                let contact = self.contacts[number].clone();
                let first = day.drafts.len();
                self.mail(day, &contact, drive);
                self.visits(day, &contact, drive);
                self.talks(day, &contact, drive);
                if drive.deal_open {
                    for draft in &mut day.drafts[first..] {
                        draft.deal_id.clone_from(&deal_id);
                    }
                }
            }
        }
        self.signals(day, drive);
        self.record_talks(day, drive);
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability.clamp(0.0, 1.0))
    }

    fn mail(&mut self, day: &mut Day, contact: &Contact, drive: Drive) {
        let rate = if drive.deal_open {
            0.12
        } else {
            0.03 + 0.03 * self.fit
        };
        if !self.chance(rate * drive.pace) {
            return;
        }
        let sent = self.rng.random_range(8 * 3600..17 * 3600_i64);
        day.push(about(self, contact), "email.sent", day.at(sent));
        if self.chance(0.02) {
            day.push(
                with(about(self, contact), json!({"reason": "mailbox unavailable"})),
                "email.bounced",
                day.at(sent + 3),
            );
            return;
        }
        day.push(about(self, contact), "email.delivered", day.at(sent + 2));
        if contact.proxy {
            let opened = by_machine(about(self, contact), MachineClass::Proxy);
            day.push(
                opened,
                "email.opened",
                day.at(sent + self.rng.random_range(3..40)),
            );
        }
        if self.scanner {
            let clicked = by_machine(about(self, contact), MachineClass::Scanner);
            day.push(
                clicked,
                "email.clicked",
                day.at(sent + self.rng.random_range(3..9)),
            );
        }
        self.mail_answers(day, contact, drive, sent);
    }

    fn mail_answers(&mut self, day: &mut Day, contact: &Contact, drive: Drive, sent: i64) {
        if !self.chance(0.12 + 0.65 * drive.intent * contact.responsiveness) {
            return;
        }
        let read = self.reading_time(contact, sent);
        day.push(about(self, contact), "email.opened", day.at(read));
        if self.chance(0.08 + 0.35 * drive.intent) {
            day.push(
                about(self, contact),
                "email.clicked",
                day.at(read + self.rng.random_range(5..90)),
            );
        }
        if self.chance((0.02 + 0.4 * drive.intent) * contact.responsiveness * drive.skill) {
            day.push(
                about(self, contact),
                "email.replied",
                day.at(read + self.rng.random_range(120..5400)),
            );
        } else if self.chance(0.01 * (1.0 - drive.intent)) {
            day.push(about(self, contact), "email.unsubscribed", day.at(read + 30));
        }
    }

    /// The next favourite hour of the contact after a time, in seconds of the day in UTC, with some spread.
    fn reading_time(&mut self, contact: &Contact, after: i64) -> i64 {
        let local = contact.favourite_hour - PLACES[self.place].2;
        let favourite = local.rem_euclid(24) * 3600 + self.rng.random_range(0..3600);
        let habitual = if favourite > after {
            favourite
        } else {
            favourite + 86_400
        };
        if self.chance(0.7) {
            habitual
        } else {
            after + self.rng.random_range(60..20_000)
        }
    }

    fn visits(&mut self, day: &mut Day, contact: &Contact, drive: Drive) {
        if !self.chance(0.012 * drive.pace + 0.11 * drive.intent * drive.intent * drive.pace) {
            return;
        }
        let mut at = self.reading_time(contact, 6 * 3600);
        for _ in 0..self.rng.random_range(1..=3) {
            let depth = (1.0 + 7.0 * drive.intent.sqrt()).min(8.0);
            let page = PAGES[(self.rng.random_range(0.0..depth) as usize).min(PAGES.len() - 1)];
            day.push(
                with(about(self, contact), json!({"path": page})),
                "page.viewed",
                day.at(at),
            );
            at += self.rng.random_range(10..300);
        }
        if self.chance(0.15 * drive.intent) {
            day.push(
                with(about(self, contact), json!({"asset": "buyer guide"})),
                "content.downloaded",
                day.at(at),
            );
        }
        if self.chance(0.12 * drive.intent * drive.intent) {
            day.push(
                with(about(self, contact), json!({"form": "demo request"})),
                "form.submitted",
                day.at(at + 60),
            );
        }
    }

    fn talks(&mut self, day: &mut Day, contact: &Contact, drive: Drive) {
        if self.chance(if drive.deal_open { 0.03 } else { 0.005 } * drive.pace) {
            let at = day.at(self.rng.random_range(8 * 3600..17 * 3600));
            if self.chance(0.2 + 0.5 * contact.responsiveness * drive.intent) {
                let mut call = about(self, contact);
                call.direction = Some(revgauge_contract::event::Direction::Outbound);
                call.value = Some(f64::from(self.rng.random_range(60..1800_u32)));
                day.push(call, "call.completed", at);
            } else {
                day.push(about(self, contact), "call.no_answer", at);
            }
        }
        if drive.deal_open && self.chance(0.02 * drive.pace * (0.3 + drive.intent) * drive.skill) {
            self.meeting(day, contact, drive);
        }
    }

    fn meeting(&mut self, day: &mut Day, contact: &Contact, drive: Drive) {
        let planned = self.rng.random_range(8 * 3600..17 * 3600);
        let starts =
            i64::from(self.rng.random_range(1..8_u32)) * 86_400 + self.rng.random_range(9..17) * 3600;
        let mut scheduled = about(self, contact);
        scheduled.value = Some(day.at(starts).seconds_f64());
        day.push(scheduled, "meeting.scheduled", day.at(planned));
        let outcome = self.rng.random_range(0.0..1.0);
        let attended = 0.55 + 0.4 * drive.intent;
        let mut then = about(self, contact);
        if outcome < attended {
            then.value = Some(f64::from(self.rng.random_range(900..3600_u32)));
            day.push(then, "meeting.attended", day.at(starts));
        } else if outcome < attended + 0.6 * (1.0 - attended) {
            day.push(then, "meeting.no_show", day.at(starts));
        } else {
            day.push(then, "meeting.cancelled", day.at(planned.max(starts - 40_000)));
        }
    }

    fn signals(&mut self, day: &mut Day, drive: Drive) {
        let surging = self.surges.iter().any(|(first, _, _)| *first == day.number);
        let at = day.at(self.rng.random_range(6 * 3600..20 * 3600));
        if surging && self.chance(0.5) {
            let (name, fields) = match self.rng.random_range(0..4) {
                0 => ("signal.funding", json!({"round": "Series B"})),
                1 => ("signal.hiring", json!({"role": "Account Executive"})),
                2 => ("signal.news", json!({"topic": "expansion"})),
                _ => ("signal.topic_surge", json!({"topic": "sales forecasting"})),
            };
            let mut signal = with(about_account(self), fields);
            if name == "signal.funding" {
                signal.value = Some(f64::from(self.rng.random_range(5..60_u32)) * 1e6);
            }
            day.push(signal, name, at);
        } else if self.chance(0.002 + 0.01 * drive.intent) {
            let name = [
                "signal.review",
                "signal.conference",
                "signal.website_change",
                "signal.news",
            ][self.rng.random_range(0..4_usize)];
            day.push(about_account(self), name, at);
        }
    }
}
