//! The organisation as a whole: reps, the catalogue of stages, and the days one after another.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use revgauge_contract::event::EventDraft;
use serde_json::json;

use super::{
    account::{Account, AccountTruth},
    activity::Drive,
    config::{ConfigError, GeneratorConfig},
    deals::Deal,
    emit::{Day, about, about_account, rep_id, with},
    names::{FIRST, LAST, PLACES, STAGES},
    practice,
};

/// Gives the events of an organisation, one day after another.
#[derive(Debug)]
pub struct Organisation {
    pub(super) config: GeneratorConfig,
    pub(super) accounts: Vec<Account>,
    skills: Vec<f64>,
    next_day: u32,
}

impl Organisation {
    /// Draws the organisation. Cost: about a kilobyte of memory an account.
    ///
    /// # Errors
    /// A setting out of bounds.
    pub fn new(config: GeneratorConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let skills = (0..config.reps).map(|_| rng.random_range(0.5..1.5)).collect();
        let accounts = (0..config.accounts)
            .map(|index| Account::draw(&config, index))
            .collect();
        Ok(Self {
            config,
            accounts,
            skills,
            next_day: 0,
        })
    }

    /// The configuration it was made from.
    #[must_use]
    pub const fn config(&self) -> &GeneratorConfig {
        &self.config
    }

    /// Days given so far.
    #[must_use]
    pub const fn days_given(&self) -> u32 {
        self.next_day
    }

    /// Skill of the rep who owns an account, about 0.5 to 1.5.
    pub(super) fn skill(&self, account: &Account) -> f64 {
        skill_of(&self.skills, account)
    }

    /// Number of contacts drawn.
    #[must_use]
    pub fn contacts(&self) -> usize {
        self.accounts.iter().map(|account| account.contacts.len()).sum()
    }

    /// The latents of every account on a day, for tests of score quality.
    pub fn truth(&self, day: u32) -> impl Iterator<Item = AccountTruth> + '_ {
        self.accounts.iter().map(move |account| AccountTruth {
            account_id: account.account_id.clone(),
            fit: account.fit,
            intent: account.intent(day),
        })
    }

    /// The next day's events in order of event time; `None` after the configured days.
    ///
    /// A few events of a day happen up to eight days later (a meeting that was planned): they come with the day that
    /// caused them.
    pub fn next_day(&mut self) -> Option<Vec<EventDraft>> {
        (self.next_day < self.config.days).then(|| self.draw_day())
    }

    /// One day more, past the configured days if need be: for a live stream without end.
    pub fn draw_day(&mut self) -> Vec<EventDraft> {
        let number = self.next_day;
        self.next_day += 1;
        let mut drafts = if number == 0 { self.catalogue() } else { Vec::new() };
        for account in &mut self.accounts {
            let prefix = format!("sim{}-{number}-{}", self.config.seed, account.index);
            let mut day = Day::new(self.config.start, number, prefix);
            introduce(account, &mut day);
            let skill = skill_of(&self.skills, account);
            let intent = account.intent(number);
            let calendar = season(&day);
            let pace = self.config.intensity * calendar;
            let deal_open = account.deals.iter().any(Deal::is_open);
            account.live_a_day(
                &mut day,
                Drive {
                    intent,
                    skill,
                    pace,
                    deal_open,
                },
            );
            if day.weekday() < 5 {
                account.deal_day(
                    &mut day,
                    Drive {
                        intent,
                        skill,
                        pace: calendar,
                        deal_open,
                    },
                );
            }
            drafts.append(&mut day.drafts);
        }
        drafts.append(&mut practice::sessions(&self.config, number, &self.skills));
        drafts.sort_by_key(|draft| draft.event_time);
        drafts
    }

    /// Users, their manager and the stages: known from the first instant.
    fn catalogue(&self) -> Vec<EventDraft> {
        let mut day = Day::new(self.config.start, 0, format!("sim{}-cat", self.config.seed));
        let now = day.at(0);
        let manager = EventDraft {
            user_id: Some("manager-0".to_owned()),
            ..EventDraft::default()
        };
        day.push(
            with(manager, json!({"name": "Morgan Lee", "role": "manager"})),
            "user.upserted",
            now,
        );
        for rep in 0..self.config.reps {
            let name = format!(
                "{} {}",
                FIRST[rep as usize * 7 % FIRST.len()],
                LAST[rep as usize * 5 % LAST.len()]
            );
            let draft = EventDraft {
                user_id: Some(rep_id(rep)),
                ..EventDraft::default()
            };
            let fields = json!({"name": name, "role": "rep", "manager_id": "manager-0"});
            day.push(with(draft, fields), "user.upserted", now);
        }
        for (order, (stage, probability)) in STAGES.iter().enumerate() {
            let fields = json!({
                "id": stage, "name": stage, "pipeline": "sales", "order": order, "probability": probability,
                "is_closed": order >= 4, "is_won": order == 4,
            });
            day.push(with(EventDraft::default(), fields), "stage.upserted", now);
        }
        day.drafts
    }
}

fn skill_of(skills: &[f64], account: &Account) -> f64 {
    skills[account.owner as usize % skills.len()]
}

/// The CRM and the enrichment vendor learn of the account on the first day, of each contact on its own.
fn introduce(account: &Account, day: &mut Day) {
    let (country, zone, _) = PLACES[account.place];
    let now = day.at(60);
    if day.number == 0 {
        let mut draft = about_account(account);
        draft.user_id = Some(rep_id(account.owner));
        let fields =
            json!({"name": account.name, "industry": account.industry, "country": country, "_version": 1});
        day.push(with(draft, fields), "account.upserted", now);
        let mut enriched = about_account(account);
        enriched.source = Some("enrichment".to_owned());
        let fields = json!({"employees": account.employees, "annual_revenue": account.revenue, "industry": account.industry});
        day.push(with(enriched, fields), "company.enriched", now);
        if account.uses_crm {
            let found = with(about_account(account), json!({"technology": "Salesforce"}));
            day.push(found, "signal.tech_detected", now);
        }
    }
    let today = day.number;
    for contact in account
        .contacts
        .iter()
        .filter(|contact| contact.in_crm && contact.since_day == today)
    {
        let (title, seniority, _) = Account::title(contact);
        let fields = json!({
            "name": contact.name, "title": title, "seniority": seniority, "timezone": zone, "country": country,
            "_version": 1,
        });
        day.push(with(about(account, contact), fields), "contact.upserted", now);
    }
}

/// Weekends are quiet, August and December slow, the last month of a quarter busy.
pub(super) fn season(day: &Day) -> f64 {
    let week = if day.weekday() >= 5 { 0.12 } else { 1.0 };
    let month = match day.month() {
        8 => 0.7,
        12 => 0.85,
        3 | 6 | 9 => 1.15,
        _ => 1.0,
    };
    week * month
}
