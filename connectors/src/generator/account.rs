//! One company: its latents, its people, its looks. Everything is drawn once from the account's own generator.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution, Geometric, LogNormal};

use super::{
    config::GeneratorConfig,
    deals::Deal,
    names::{COMPANY_HEAD, COMPANY_TAIL, FIRST, INDUSTRIES, LAST, PLACES, TITLES},
};

/// What is true of a company and no event says: for tests of score quality.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountTruth {
    /// Account id.
    pub account_id: String,
    /// How well it fits, 0 to 1.
    pub fit: f64,
    /// How ready it is to buy on the day asked, 0 to 1.
    pub intent: f64,
}

/// First day, length in days and height of a surge of intent.
pub(super) type Surge = (u32, u32, f64);

/// Most surges of an account.
pub(super) const fn most_surges(config: &GeneratorConfig) -> u32 {
    config.days / 90 + 1
}

/// A surge that begins on one of these days.
pub(super) fn draw_surge(rng: &mut ChaCha8Rng, days: std::ops::Range<u32>) -> Surge {
    (
        rng.random_range(days),
        rng.random_range(20..=70),
        rng.random_range(0.25..0.8),
    )
}

/// A person at a company.
#[derive(Debug, Clone, PartialEq)]
pub struct Contact {
    /// CRM id.
    pub contact_id: String,
    /// Mail address.
    pub email: String,
    /// Full name.
    pub name: String,
    /// Index into the titles.
    pub(super) title: usize,
    /// How readily they answer, 0 to 1.
    pub responsiveness: f64,
    /// Hour of their own day at which they like to answer.
    pub favourite_hour: i64,
    /// Whether a privacy proxy opens their mail.
    pub proxy: bool,
    /// Whether the CRM has a record of them (others are known from mail alone).
    pub in_crm: bool,
    /// Day on which the CRM learns of them.
    pub(super) since_day: u32,
}

/// A company and the state of its deals.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) index: u32,
    pub(super) account_id: String,
    pub(super) name: String,
    pub(super) domain: String,
    pub(super) industry: &'static str,
    pub(super) employees: u32,
    pub(super) revenue: f64,
    pub(super) place: usize,
    pub(super) uses_crm: bool,
    pub(super) scanner: bool,
    pub(super) fit: f64,
    pub(super) base_intent: f64,
    /// Surges of intent.
    pub(super) surges: Vec<Surge>,
    pub(super) owner: u32,
    pub(super) contacts: Vec<Contact>,
    pub(super) deals: Vec<Deal>,
    pub(super) deals_made: u32,
    pub(super) rng: ChaCha8Rng,
}

impl Account {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "drawn sizes are small and positive"
    )]
    pub(super) fn draw(config: &GeneratorConfig, index: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(u64::from(index) + 1);
        let fit = Beta::new(2.0, 2.0).map_or(0.5, |beta| beta.sample(&mut rng));
        let base_intent = Beta::new(1.3, 6.0).map_or(0.2, |beta| beta.sample(&mut rng));
        let surge_count = rng.random_range(0..=most_surges(config));
        let surges = (0..surge_count)
            .map(|_| draw_surge(&mut rng, 0..config.days))
            .collect();
        let industry_spread = ((1.0 - fit) * INDUSTRIES.len() as f64).max(1.5);
        let industry =
            INDUSTRIES[(rng.random_range(0.0..industry_spread) as usize).min(INDUSTRIES.len() - 1)];
        let employees = LogNormal::new(3.2 + 2.6 * fit, 0.7)
            .map_or(100.0, |dist| dist.sample(&mut rng))
            .clamp(3.0, 90_000.0);
        let name = format!(
            "{} {}",
            COMPANY_HEAD[rng.random_range(0..COMPANY_HEAD.len())],
            COMPANY_TAIL[rng.random_range(0..COMPANY_TAIL.len())]
        );
        let domain = format!("{}{index}.com", name.to_lowercase().replace(' ', "-"));
        let mut account = Self {
            index,
            account_id: format!("acc-{index}"),
            domain,
            name,
            industry,
            employees: employees as u32,
            revenue: (employees * rng.random_range(90_000.0..220_000.0)).round(),
            place: rng.random_range(0..PLACES.len()),
            uses_crm: rng.random_bool(0.15 + 0.7 * fit),
            scanner: rng.random_bool(config.scanner_share),
            fit,
            base_intent,
            surges,
            owner: index % config.reps,
            contacts: Vec::new(),
            deals: Vec::new(),
            deals_made: 0,
            rng,
        };
        account.draw_contacts(config);
        account
    }

    fn draw_contacts(&mut self, config: &GeneratorConfig) {
        let extra = (config.contacts_per_account - 1.0).max(0.0);
        let count = 1 + Geometric::new(1.0 / (1.0 + extra))
            .map_or(4, |dist| dist.sample(&mut self.rng))
            .min(60) as u32;
        for number in 0..count {
            let first = FIRST[self.rng.random_range(0..FIRST.len())];
            let last = LAST[self.rng.random_range(0..LAST.len())];
            let late = self.rng.random_bool(0.25);
            let since_day = if late {
                self.rng.random_range(0..config.days)
            } else {
                0
            };
            self.contacts.push(Contact {
                contact_id: format!("con-{}-{number}", self.index),
                email: format!(
                    "{}.{}{number}@{}",
                    first.to_lowercase(),
                    last.to_lowercase(),
                    self.domain
                ),
                name: format!("{first} {last}"),
                title: self.rng.random_range(0..TITLES.len()),
                responsiveness: self.rng.random_range(0.05..1.0),
                favourite_hour: *[8, 9, 10, 11, 14, 16, 20]
                    .get(self.rng.random_range(0..7_usize))
                    .unwrap_or(&9),
                proxy: self.rng.random_bool(config.proxy_share),
                in_crm: self.rng.random_bool(0.92),
                since_day,
            });
        }
    }

    /// Intent on a day: the base plus surges that rise fast and fade, at most 1.
    pub(super) fn intent(&self, day: u32) -> f64 {
        self.intent_with(&self.surges, day)
    }

    /// Intent on a day if these were the surges.
    pub(super) fn intent_with(&self, surges: &[Surge], day: u32) -> f64 {
        let surge: f64 = surges
            .iter()
            .filter(|(first, length, _)| (*first..first + length).contains(&day))
            .map(|(first, length, height)| {
                height * (1.0 - f64::from(day - first) / f64::from(*length)).sqrt()
            })
            .sum();
        (self.base_intent + surge).min(1.0)
    }

    pub(super) fn title(contact: &Contact) -> (&'static str, &'static str, f64) {
        TITLES[contact.title]
    }
}
