//! The standard reports that ship: read and checked once, at start.

use std::collections::BTreeMap;

use revgauge_contract::{
    Classified, ErrorKind, Timestamp,
    reports::{Additivity, Chart, ColumnFormat, Report, ReportColumn},
};
use serde::de::{DeserializeOwned, IntoDeserializer as _, value::Error as Unreadable};

/// What is wrong with a report file.
#[derive(Debug, thiserror::Error)]
#[error("cannot use report '{report}': {fault}")]
pub struct ReportError {
    /// Name of the file without its ending.
    pub report: String,
    /// What is wrong.
    pub fault: String,
}

impl Classified for ReportError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../reports/", $name, ".sql")))),*]
    };
}

/// Name and text of every file of `query-api/reports`.
const SHIPPED: &[(&str, &str)] = shipped![
    "account_signals_by_type",
    "accounts_by_industry",
    "activity_anomalies",
    "activity_by_rep",
    "activity_by_type",
    "activity_by_week",
    "alerts_by_rule",
    "attribution_first",
    "attribution_last",
    "attribution_linear",
    "attribution_markov",
    "attribution_position",
    "attribution_shapley",
    "attribution_time_decay",
    "best_fit_accounts",
    "best_hours",
    "calls_by_rep",
    "closing_next_30_days",
    "contact_funnel",
    "contact_tiers",
    "contacts_without_account",
    "creation_cohorts",
    "data_freshness",
    "deal_ageing",
    "deal_health_bands",
    "deals_at_risk",
    "deals_without_next_step",
    "email_performance",
    "engagement_bands",
    "events_by_day",
    "incomplete_deals",
    "largest_open_deals",
    "leaderboard",
    "leads_to_call",
    "loss_reasons",
    "loss_stage",
    "lost_by_month",
    "machine_share",
    "meetings_by_rep",
    "most_engaged_contacts",
    "new_pipeline_by_month",
    "new_pipeline_by_owner",
    "next_actions",
    "overdue_deals",
    "pipeline_by_category",
    "pipeline_by_close_month",
    "pipeline_by_industry",
    "pipeline_by_owner",
    "pipeline_by_sales_pipeline",
    "pipeline_by_size",
    "pipeline_by_stage",
    "pipeline_total",
    "sales_cycle",
    "slipped_deals",
    "slips_by_owner",
    "stage_funnel",
    "stage_moves",
    "stage_survival",
    "stagnant_deals",
    "stakeholders_per_deal",
    "tier_changes_by_week",
    "time_in_stage",
    "top_intent_accounts",
    "velocity",
    "velocity_by_owner",
    "win_rate_by_cohort",
    "win_rate_by_country",
    "win_rate_by_industry",
    "win_rate_by_month",
    "win_rate_by_owner",
    "win_rate_by_size",
    "win_rate_by_slips",
    "won_by_month",
    "won_by_owner",
    "won_by_quarter",
];

/// Every standard report, by name.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    reports: BTreeMap<String, Report>,
}

impl Catalogue {
    /// The reports that ship.
    ///
    /// # Errors
    /// Names the report and what is wrong with it.
    pub fn shipped() -> Result<Self, ReportError> {
        let mut reports = BTreeMap::new();
        for (name, text) in SHIPPED {
            let report = read(name, text).map_err(|fault| ReportError {
                report: (*name).to_owned(),
                fault,
            })?;
            reports.insert((*name).to_owned(), report);
        }
        Ok(Self { reports })
    }

    /// All reports by name.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Report> {
        self.reports.values()
    }

    /// One report.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Report> {
        self.reports.get(name)
    }

    /// Names of all reports.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.reports.keys().map(String::as_str).collect()
    }

    /// The query of a report for an instant.
    #[must_use]
    pub fn sql(&self, name: &str, as_of: Timestamp) -> Option<String> {
        let instant = as_of.to_datetime().format("TIMESTAMP '%Y-%m-%dT%H:%M:%S%.6f'");
        Some(self.get(name)?.sql.replace("{as_of}", &instant.to_string()))
    }
}

/// Reads a file: `--! key: value` lines, then SQL.
fn read(name: &str, text: &str) -> Result<Report, String> {
    let mut said: BTreeMap<&str, &str> = BTreeMap::new();
    let mut columns = Vec::new();
    let mut sql = text;
    while let Some((line, rest)) = sql.split_once('\n') {
        let Some(directive) = line.strip_prefix("--! ") else {
            break;
        };
        sql = rest;
        let (key, value) = directive
            .split_once(": ")
            .ok_or_else(|| format!("'{line}' is not of the form '--! key: value'"))?;
        if key == "column" {
            columns.push(column(value)?);
        } else if !["group", "title", "question", "description", "grain", "chart"].contains(&key) {
            return Err(format!("no directive '{key}'"));
        } else if said.insert(key, value.trim()).is_some() {
            return Err(format!("directive '{key}' is given twice"));
        }
    }
    let must = |key: &str| {
        said.get(key)
            .map(|value| (*value).to_owned())
            .ok_or_else(|| format!("directive '{key}' is missing"))
    };
    if columns.is_empty() {
        return Err("it names no column".to_owned());
    }
    Ok(Report {
        name: name.to_owned(),
        group: must("group")?,
        title: must("title")?,
        question: must("question")?,
        description: must("description").unwrap_or_default(),
        grain: must("grain")?,
        chart: word::<Chart>(&must("chart")?)?,
        columns,
        sql: sql.trim().to_owned(),
    })
}

/// `name format [additivity]`.
fn column(text: &str) -> Result<ReportColumn, String> {
    let mut words = text.split_whitespace();
    let (Some(name), Some(format), additivity, None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(format!(
            "column '{text}' is not of the form 'name format [additivity]'"
        ));
    };
    Ok(ReportColumn {
        name: name.to_owned(),
        format: word::<ColumnFormat>(format)?,
        additivity: additivity.map(word::<Additivity>).transpose()?,
    })
}

fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let reader: serde::de::value::StrDeserializer<'_, Unreadable> = text.into_deserializer();
    T::deserialize(reader).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_ships_and_is_complete() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/reports");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .expect("the folder is there")
            .filter_map(|entry| {
                let name = entry.expect("readable").file_name();
                Some(name.to_str()?.strip_suffix(".sql")?.to_owned())
            })
            .collect();
        files.sort();
        let catalogue = Catalogue::shipped().expect("all are valid");
        assert_eq!(catalogue.names(), files);
        assert!(files.len() >= 50, "only {} standard reports (EC-26)", files.len());
    }

    #[test]
    fn faults_are_named() {
        let good = "--! group: a\n--! title: b\n--! question: c\n--! grain: d\n--! chart: bar\n--! column: x integer additive\nSELECT 1 AS x\n";
        assert_eq!(read("r", good).expect("valid").sql, "SELECT 1 AS x");
        for (from, to, fault) in [
            ("--! chart: bar\n", "", "'chart' is missing"),
            ("chart: bar", "chart: pie", "pie"),
            ("integer additive", "integer sometimes", "sometimes"),
            ("x integer additive", "x", "column 'x'"),
            ("--! title: b", "--! titel: b", "titel"),
        ] {
            let said = read("r", &good.replace(from, to)).expect_err(fault);
            assert!(said.contains(fault), "{said}");
        }
    }

    #[test]
    fn the_page_lists_what_ships() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/REPORTS.md");
        let begin = "<!-- generated by the tests of query-api; REVGAUGE_UPDATE_REPORTS=1 writes it -->\n";
        let mut list = String::new();
        let catalogue = Catalogue::shipped().expect("all are valid");
        let mut reports: Vec<&Report> = catalogue.all().collect();
        reports.sort_by_key(|report| (&report.group, &report.name));
        let mut group = "";
        for report in reports {
            if report.group != group {
                group = &report.group;
                list += &format!("\n### {group}\n\n| view | question | one row is |\n| --- | --- | --- |\n");
            }
            let grain = report.grain.trim_start_matches("one row per ");
            list += &format!("| `report_{}` | {} | {grain} |\n", report.name, report.question);
        }
        let then = std::fs::read_to_string(page).expect("docs/REPORTS.md is there");
        let (head, listed) = then.split_once(begin).expect("the page marks its list");
        if std::env::var_os("REVGAUGE_UPDATE_REPORTS").is_some() {
            std::fs::write(page, format!("{head}{begin}{list}")).expect("writes");
        } else {
            assert!(
                listed == list,
                "docs/REPORTS.md is old; run this test with REVGAUGE_UPDATE_REPORTS=1"
            );
        }
    }
}
