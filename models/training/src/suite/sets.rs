//! Where is each public set, what is its outcome, which columns may not be used, and how is it split?

use std::{collections::BTreeMap, path::Path};

use super::{DataSet, SuiteError, TextColumns, days, ordered, process_log::bpi_2012, read_csv};
use crate::{
    metrics::Metrics,
    table::{Column, Table},
};

pub(super) type Load = fn(&Path) -> Result<DataSet, SuiteError>;

pub(super) const ALL: [Load; 6] = [x_education, uci_shoppers, olist, salvirt, bpi_2012, maven];

pub(super) fn bar(auc: f64, log_loss: f64, brier: f64, ece: f64) -> Option<Metrics> {
    Some(Metrics {
        auc,
        log_loss,
        brier,
        ece,
    })
}

fn table_of(names: &[String], columns: TextColumns, label: &str, yes: &str) -> Table {
    let mut table = Table::default();
    for (name, values) in names.iter().zip(columns) {
        if name == label {
            table.won = values.iter().map(|value| value.as_deref() == Some(yes)).collect();
        } else if !name.is_empty() {
            table.push(name, Column::infer(values));
        }
    }
    table
}

fn order_by(table: &Table, key: impl Fn(usize) -> f64) -> Table {
    let mut order: Vec<usize> = (0..table.won.len()).collect();
    order.sort_by(|a, b| key(*a).total_cmp(&key(*b)));
    ordered(table, &order)
}

fn x_education(folder: &Path) -> Result<DataSet, SuiteError> {
    let (names, columns) = read_csv(&folder.join("x-education-leads/Leads.csv"), &["Select"])?;
    let table = table_of(&names, columns, "Converted", "1");
    let numbers = table
        .names
        .iter()
        .position(|name| name == "Lead Number")
        .map(|at| table.columns[at].clone());
    let table = order_by(&table, |row| match &numbers {
        Some(Column::Numeric(values)) => values[row],
        _ => row as f64,
    });
    let named_leaks = vec![
        "Tags",
        "Lead Quality",
        "Lead Profile",
        "Last Activity",
        "Last Notable Activity",
        "Asymmetrique Activity Index",
        "Asymmetrique Profile Index",
        "Asymmetrique Activity Score",
        "Asymmetrique Profile Score",
    ];
    let strict = [
        "Prospect ID",
        "Lead Number",
        "What is your current occupation",
        "What matters most to you in choosing a course",
        "Specialization",
        "City",
        "Country",
        "How did you hear about X Education",
    ];
    let dropped: Vec<&str> = named_leaks.iter().copied().chain(strict).collect();
    let named_leaks = dropped.clone();
    let train = table.won.len() * 7 / 10;
    let bar = bar(0.831, 0.480, 0.154, 0.030);
    Ok(DataSet {
        name: "x-education STRICT",
        bar,
        table,
        named_leaks,
        dropped,
        train: Some(train),
    })
}

fn uci_shoppers(folder: &Path) -> Result<DataSet, SuiteError> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "June", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let path = folder.join("uci-online-shoppers/online_shoppers_intention.csv");
    let (names, columns) = read_csv(&path, &[])?;
    let table = table_of(&names, columns, "Revenue", "TRUE");
    let months: Vec<usize> = match table
        .names
        .iter()
        .position(|name| name == "Month")
        .map(|at| &table.columns[at])
    {
        Some(Column::Text(values)) => values
            .iter()
            .map(|value| {
                MONTHS
                    .iter()
                    .position(|month| Some(*month) == value.as_deref())
                    .unwrap_or(0)
            })
            .collect(),
        _ => vec![0; table.won.len()],
    };
    let train = months.iter().filter(|month| **month < 10).count();
    let table = order_by(&table, |row| months[row] as f64);
    Ok(DataSet {
        name: "uci-shoppers",
        bar: bar(0.694, 0.488, 0.158, 0.040),
        table,
        named_leaks: vec!["PageValues"],
        dropped: vec!["PageValues", "Month"],
        train: Some(train),
    })
}

fn olist(folder: &Path) -> Result<DataSet, SuiteError> {
    let folder = folder.join("olist-funnel");
    let (names, mut leads) = read_csv(&folder.join("olist_marketing_qualified_leads_dataset.csv"), &[])?;
    let (closed_names, closed) = read_csv(&folder.join("olist_closed_deals_dataset.csv"), &[])?;
    let at = |names: &[String], name: &str| names.iter().position(|own| own == name).unwrap_or(0);
    let row_of: BTreeMap<&str, usize> = closed[at(&closed_names, "mql_id")]
        .iter()
        .enumerate()
        .filter_map(|(row, id)| id.as_deref().map(|id| (id, row)))
        .collect();
    let ids = leads[at(&names, "mql_id")].clone();
    let contacted: Vec<f64> = leads[at(&names, "first_contact_date")]
        .iter()
        .map(|date| date.as_deref().and_then(days).unwrap_or(0.0))
        .collect();
    let closed_row = |row: usize| ids[row].as_deref().and_then(|id| row_of.get(id)).copied();
    let won_dates = &closed[at(&closed_names, "won_date")];
    let mut table = Table::default();
    for (row, contacted) in contacted.iter().enumerate() {
        let won = closed_row(row)
            .and_then(|row| won_dates[row].as_deref())
            .and_then(days);
        table.won.push(won.is_some_and(|won| won - contacted <= 90.0));
    }
    for name in ["landing_page_id", "origin"] {
        table.push(name, Column::Text(std::mem::take(&mut leads[at(&names, name)])));
    }
    table.push(
        "day of week",
        Column::Text(
            contacted
                .iter()
                .map(|day| Some(((*day as i64 + 4) % 7).to_string()))
                .collect(),
        ),
    );
    for (name, values) in closed_names
        .iter()
        .zip(&closed)
        .filter(|(name, _)| *name != "mql_id")
    {
        let values = (0..ids.len())
            .map(|row| closed_row(row).and_then(|row| values[row].clone()))
            .collect();
        table.push(name, Column::infer(values));
    }
    table.at = Some(contacted.clone());
    let start = days("2018-04-01").unwrap_or(0.0);
    let train = contacted.iter().filter(|day| **day < start).count();
    let named_leaks = vec![
        "seller_id",
        "sdr_id",
        "sr_id",
        "won_date",
        "business_segment",
        "lead_type",
        "lead_behaviour_profile",
        "has_company",
        "has_gtin",
        "average_stock",
        "business_type",
        "declared_product_catalog_size",
        "declared_monthly_revenue",
    ];
    let dropped = named_leaks.clone();
    let table = order_by(&table, |row| contacted[row]);
    let bar = bar(0.688, 0.319, 0.091, 0.025);
    Ok(DataSet {
        name: "olist-funnel, won within 90 days",
        bar,
        table,
        named_leaks,
        dropped,
        train: Some(train),
    })
}

fn salvirt(folder: &Path) -> Result<DataSet, SuiteError> {
    let (names, columns) = read_csv(&folder.join("salvirt-b2b/B2B_dataset.csv"), &[])?;
    Ok(DataSet {
        name: "salvirt-b2b, grouped 10-fold x 5",
        bar: bar(0.821, 0.514, 0.170, 0.045),
        table: table_of(&names, columns, "Status", "Won"),
        named_leaks: Vec::new(),
        dropped: Vec::new(),
        train: None,
    })
}

fn maven(folder: &Path) -> Result<DataSet, SuiteError> {
    let folder = folder.join("maven-crm");
    let (names, columns) = read_csv(&folder.join("sales_pipeline.csv"), &[])?;
    let at = |name: &str| names.iter().position(|own| own == name).unwrap_or(0);
    let stages = &columns[at("deal_stage")];
    let day = |name: &str, row: usize| {
        columns[at(name)][row]
            .as_deref()
            .and_then(days)
            .unwrap_or(f64::NAN)
    };
    let mut closed: Vec<usize> = (0..stages.len())
        .filter(|row| matches!(stages[*row].as_deref(), Some("Won" | "Lost")))
        .collect();
    closed.sort_by(|a, b| day("engage_date", *a).total_cmp(&day("engage_date", *b)));
    let mut table = Table {
        won: closed
            .iter()
            .map(|row| stages[*row].as_deref() == Some("Won"))
            .collect(),
        at: Some(closed.iter().map(|row| day("engage_date", *row)).collect()),
        ..Table::default()
    };
    for name in [
        "opportunity_id",
        "sales_agent",
        "product",
        "account",
        "close_value",
    ] {
        table.push(
            name,
            Column::infer(closed.iter().map(|row| columns[at(name)][*row].clone()).collect()),
        );
    }
    for name in ["engage_date", "close_date"] {
        table.push(
            name,
            Column::Numeric(closed.iter().map(|row| day(name, *row)).collect()),
        );
    }
    for (file, key) in [
        ("accounts.csv", "account"),
        ("products.csv", "product"),
        ("sales_teams.csv", "sales_agent"),
    ] {
        let (names, extra) = read_csv(&folder.join(file), &[])?;
        let key_at = names.iter().position(|own| own == key).unwrap_or(0);
        let row_of: BTreeMap<&str, usize> = extra[key_at]
            .iter()
            .enumerate()
            .filter_map(|(row, id)| id.as_deref().map(|id| (id, row)))
            .collect();
        for (name, values) in names.iter().zip(&extra).filter(|(name, _)| *name != key) {
            let joined = closed.iter().map(|row| {
                columns[at(key)][*row]
                    .as_deref()
                    .and_then(|id| row_of.get(id))
                    .and_then(|row| values[*row].clone())
            });
            table.push(name, Column::infer(joined.collect()));
        }
    }
    let train = table.won.len() * 7 / 10;
    Ok(DataSet {
        name: "maven-crm (fictitious)",
        bar: bar(f64::NAN, f64::NAN, f64::NAN, 0.030),
        table,
        named_leaks: vec!["opportunity_id", "close_value", "close_date"],
        dropped: vec!["opportunity_id", "close_value", "close_date"],
        train: Some(train),
    })
}
