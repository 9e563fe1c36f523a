//! How are forecasts made: with how many draws, how much past, and how much that is remembered?

use serde::{Deserialize, Serialize};

use super::Simulation;
use crate::changelog::ChangeLogSettings;

/// Settings of the forecasts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForecastSettings {
    /// The change log read.
    pub change_log: ChangeLogSettings,
    /// Draws of the simulation, 100 to 100,000.
    pub draws: usize,
    /// Draws of the simulation of a past period, 100 to 100,000.
    pub past_draws: usize,
    /// Seed of the simulation.
    pub seed: u64,
    /// Standard deviation of the shock that the log-odds of all deals share, 0 to 3. The default makes the 80 % range of
    /// simulated organisations hold about 80 % before any past quarter has corrected its width (docs/FORECAST.md).
    pub shock: f64,
    /// Past periods the methods are measured on, 0 to 40.
    pub past_periods: u32,
    /// Month with which the fiscal year begins, 1 to 12.
    pub fiscal_year_starts: u32,
    /// Most seconds for which an answer about now is made from the deals as they stood at an earlier question, while no
    /// deal changed. The answer tells that instant as its own. 0: never.
    pub same_deals_s: u32,
    /// Most deals remembered in what past periods taught, and as many in what was read as known now; each takes about
    /// 300 bytes. 0: nothing is remembered.
    pub remembered_deals: usize,
    /// Most changes remembered in logs of the live state; each takes about 60 bytes.
    pub remembered_changes: usize,
    /// Most teams and people of whom is remembered what was said in each past period.
    pub remembered_nodes: usize,
}

impl Default for ForecastSettings {
    fn default() -> Self {
        Self {
            change_log: ChangeLogSettings::default(),
            draws: 10_000,
            past_draws: 1_000,
            seed: 20_261_120,
            shock: 0.2,
            past_periods: 8,
            fiscal_year_starts: 1,
            same_deals_s: 60,
            remembered_deals: 500_000,
            remembered_changes: 3_000_000,
            remembered_nodes: 1_000,
        }
    }
}

impl ForecastSettings {
    pub(super) fn simulation(&self, draws: usize) -> Simulation {
        Simulation {
            draws: draws.clamp(100, 100_000),
            seed: self.seed,
            shock: self.shock,
        }
    }
}
