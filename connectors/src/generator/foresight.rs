//! What revenue would somebody expect who knows what no event says? The floor that forecasts are measured against.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    account::{Account, Surge, draw_surge, most_surges},
    activity::Drive,
    deals::{Deal, NEGOTIATION, begins, mean_amount, mean_growth, moves},
    emit::Day,
    organisation::{Organisation, season},
};

/// Which latents are known of the days to come. Fit of every account and skill of every rep are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foresight {
    /// The intent of every day, also by surges that nobody could know yet: only the draws of the days are left to chance.
    EveryDay,
    /// The surges begun so far; those to come by the law they are drawn from, as the mean over so many drawn futures.
    Today {
        /// Drawn futures, 1 or more.
        futures: u32,
    },
}

/// Mean revenue per unit of the open deal's amount, and per mean amount of a new deal, by stage; the last place is that of
/// an account without an open deal.
type Worth = [(f64, f64); NEGOTIATION + 2];

const NONE: usize = NEGOTIATION + 1;

impl Organisation {
    /// Mean revenue of what is won from the next day on, before the day `until`, given the latents and all deals as they
    /// stand. Cost: `accounts * days` steps, times the futures.
    ///
    /// By recursion from the last day back, over the law by which deals move (`f` forward, `l` lost, `b` begun):
    ///
    /// ```text
    /// W(d, s) = f * (s is the last stage: 1, else W(d+1, s+1)) + (1 - f - l) * growth * W(d+1, s)
    /// N(d, s) = f * (s is the last stage: N(d+1, none), else N(d+1, s+1)) + l * N(d+1, none) + (1 - f - l) * N(d+1, s)
    /// N(d, none) = b * (W(d, first) + N(d, first)) + (1 - b) * N(d+1, none)
    /// revenue = sum over accounts of amount * W(today, stage) + mean amount * N(today, stage or none)
    /// ```
    /// The conditional mean has the least squared error of all forecasts. Rounding of amounts, and that an amount does not
    /// change on the day of a slip, are left out: both are below a thousandth.
    #[must_use]
    pub fn expected_revenue(&self, until: u32, foresight: Foresight) -> f64 {
        let days: Vec<(u32, Option<f64>)> = (self.days_given()..until)
            .map(|number| {
                let day = Day::new(self.config.start, number, String::new());
                (number, (day.weekday() < 5).then(|| season(&day)))
            })
            .collect();
        self.accounts
            .iter()
            .map(|account| {
                let worth = match foresight {
                    Foresight::EveryDay => self.worth(account, &account.surges, &days),
                    Foresight::Today { futures } => {
                        let mut sum = [(0.0, 0.0); NONE + 1];
                        let mut rng =
                            ChaCha8Rng::seed_from_u64(self.config.seed ^ u64::from(self.days_given()));
                        rng.set_stream(u64::from(account.index) + 1);
                        for _ in 0..futures.max(1) {
                            let surges = self.possible_surges(account, &mut rng);
                            for (sum, worth) in sum.iter_mut().zip(self.worth(account, &surges, &days)) {
                                *sum = (sum.0 + worth.0, sum.1 + worth.1);
                            }
                        }
                        let futures = f64::from(futures.max(1));
                        sum.map(|(open, new)| (open / futures, new / futures))
                    }
                };
                let open = account.deals.iter().find(|deal| deal.is_open());
                let (on, new) = worth[open.map_or(NONE, |deal| deal.stage)];
                open.map_or(0.0, |deal: &Deal| deal.amount * on) + mean_amount(account.employees) * new
            })
            .sum()
    }

    fn worth(&self, account: &Account, surges: &[Surge], days: &[(u32, Option<f64>)]) -> Worth {
        let mut next: Worth = [(0.0, 0.0); NONE + 1];
        for (number, pace) in days.iter().rev() {
            let Some(pace) = *pace else { continue };
            let drive = Drive {
                intent: account.intent_with(surges, *number),
                skill: self.skill(account),
                pace,
                deal_open: true,
            };
            let (forward, lost) = moves(account.fit, drive);
            let stays = 1.0 - forward - lost;
            let mut now = next;
            for stage in 0..=NEGOTIATION {
                let (won, after) = if stage == NEGOTIATION {
                    (1.0, next[NONE].1)
                } else {
                    next[stage + 1]
                };
                now[stage] = (
                    forward * won + (stays + mean_growth() - 1.0) * next[stage].0,
                    forward * after + lost * next[NONE].1 + stays * next[stage].1,
                );
            }
            let begun = begins(account.fit, drive);
            now[NONE].1 = begun * (now[0].0 + now[0].1) + (1.0 - begun) * next[NONE].1;
            next = now;
        }
        next
    }

    /// The surges begun so far and a draw of those to come. Their number was uniform from 0 to the most, their first days
    /// uniform over all days, so that of `k` begun by day `d` of `D` there are `n` with weight `C(n, k) (1 - d/D)^(n-k)`.
    fn possible_surges(&self, account: &Account, rng: &mut ChaCha8Rng) -> Vec<Surge> {
        let (today, days) = (self.days_given(), self.config.days);
        let mut surges: Vec<Surge> = account
            .surges
            .iter()
            .filter(|(first, ..)| *first < today)
            .copied()
            .collect();
        if today >= days {
            return surges;
        }
        let begun = surges.len() as u32;
        let ahead = 1.0 - f64::from(today) / f64::from(days);
        let mut weights = Vec::new();
        let mut weight = 1.0;
        for number in begun..=most_surges(&self.config) {
            weights.push(weight);
            weight *= ahead * f64::from(number + 1) / f64::from(number + 1 - begun);
        }
        let mut drawn = rng.random_range(0.0..1.0) * weights.iter().sum::<f64>();
        for weight in weights {
            drawn -= weight;
            if drawn < 0.0 {
                break;
            }
            surges.push(draw_surge(rng, today..days));
        }
        surges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::GeneratorConfig;

    type Amounts = std::collections::HashMap<String, f64>;

    /// Amount won by the events of so many days; amounts of deals are those known so far.
    fn won(organisation: &mut Organisation, days: u32, amounts: &mut Amounts) -> f64 {
        let mut won = 0.0;
        for draft in (0..days).flat_map(|_| organisation.draw_day()) {
            let Some(deal_id) = draft
                .deal_id
                .filter(|_| draft.event_type.as_deref() == Some("deal.upserted"))
            else {
                continue;
            };
            if let Some(amount) = draft.payload.get("amount").and_then(serde_json::Value::as_f64) {
                amounts.insert(deal_id.clone(), amount);
            }
            if draft.payload.get("is_won").and_then(serde_json::Value::as_bool) == Some(true) {
                won += amounts.get(&deal_id).copied().unwrap_or_default();
            }
        }
        won
    }

    #[test]
    fn the_mean_of_many_organisations_is_the_recursion() {
        let (mut expected, mut known_today, mut came) = (0.0, 0.0, 0.0);
        for seed in 0..30 {
            let mut organisation = Organisation::new(GeneratorConfig {
                seed,
                accounts: 60,
                contacts_per_account: 1.0,
                days: 240,
                intensity: 0.001,
                ..GeneratorConfig::default()
            })
            .expect("valid");
            let mut amounts = Amounts::new();
            won(&mut organisation, 120, &mut amounts);
            expected += organisation.expected_revenue(210, Foresight::EveryDay);
            known_today += organisation.expected_revenue(210, Foresight::Today { futures: 6 });
            came += won(&mut organisation, 90, &mut amounts);
        }
        // Some 200 wins in all: their sum scatters by about 8 %.
        assert!(
            came > 0.0 && (expected / came - 1.0).abs() < 0.2,
            "{expected} {came}"
        );
        assert!(
            (known_today / expected - 1.0).abs() < 0.1,
            "{known_today} {expected}"
        );
    }
}
