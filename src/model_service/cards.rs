//! What does a model card say? One document, as JSON for programs and as Markdown for people, made once at training.

use std::fmt::Write as _;

use revgauge_contract::{Timestamp, models::ModelTarget};
use revgauge_training::{metrics::calibration_error, win::Made};
use serde_json::{Value, json};

/// Bins of the reliability table.
const BINS: usize = 10;

/// The card of a model just made.
pub(super) fn card(tenant_id: &str, target: ModelTarget, trained_at: Timestamp, made: &Made) -> Value {
    let metrics = made.held_out.metrics();
    let reliability = reliability(&made.held_out.probabilities, &made.held_out.won);
    let mut card = json!({
        "tenant": tenant_id,
        "target": target,
        "predicts": match target {
            ModelTarget::Deals => "that an open deal is won within the horizon of the instant it is judged at",
            ModelTarget::Leads => "that a contact in no deal yet comes into one within the horizon of the instant it is judged at",
        },
        "horizon_days": made.horizon_days,
        "trained_at": trained_at,
        "rows": made.rows.0,
        "won": made.rows.1,
        "choice": made.choice,
        "signal": made.signal,
        "trained_share": made.model.trained_share(),
        "hazard": made.model.hazard.as_ref().map(revgauge_models::win::HazardModel::ended),
        "held_out": {
            "rows": made.held_out.won.len(),
            "how": "four later blocks of time, each judged by a model and a calibration of what was known before it, without the accounts it holds",
            "auc": metrics.auc,
            "log_loss": metrics.log_loss,
            "brier": metrics.brier,
            "calibration_error": metrics.ece,
            "base_rate_log_loss": made.held_out.base_rate_log_loss,
            "reliability": reliability,
        },
        "probes": {
            "columns": made.probes,
            "refused": made.refused,
            "shuffled_target_auc": made.shuffled_auc,
            "log_loss_with_and_without_stage": made.stage_ablation,
        },
        "contributions": "trees by the path a row takes (Saabas), the linear part by weight times distance from the mean; both sum to the log-odds",
    });
    let markdown = markdown(&card, made);
    if let Some(card) = card.as_object_mut() {
        card.insert("markdown".to_owned(), json!(markdown));
    }
    card
}

/// Rows, mean probability and share won of each tenth of probability that has rows.
fn reliability(probabilities: &[f64], won: &[bool]) -> Vec<Value> {
    let bin_of = |p: f64| ((p * BINS as f64) as usize).min(BINS - 1);
    (0..BINS)
        .filter_map(|bin| {
            let rows: Vec<(f64, bool)> = probabilities
                .iter()
                .zip(won)
                .filter(|(p, _)| bin_of(**p) == bin)
                .map(|(p, won)| (*p, *won))
                .collect();
            let count = rows.len() as f64;
            (!rows.is_empty()).then(|| {
                json!({
                    "from": bin as f64 / BINS as f64,
                    "rows": rows.len(),
                    "said": rows.iter().map(|row| row.0).sum::<f64>() / count,
                    "won": rows.iter().filter(|row| row.1).count() as f64 / count,
                })
            })
        })
        .collect()
}

fn markdown(card: &Value, made: &Made) -> String {
    let held = &made.held_out;
    let metrics = held.metrics();
    let mut text = format!(
        "# Model card: {} of tenant {}\n\nPredicts {}, {:.0} days. Trained at {} on {} rows, {} of them won.\n\n",
        card["target"].as_str().unwrap_or_default(),
        card["tenant"].as_str().unwrap_or_default(),
        card["predicts"].as_str().unwrap_or_default(),
        made.horizon_days,
        card["trained_at"].as_str().unwrap_or_default(),
        made.rows.0,
        made.rows.1,
    );
    let _ = writeln!(text, "Chosen: {}.\n", made.choice);
    if held.won.is_empty() {
        text.push_str("Nothing is held out yet: cold counts answer alone, and their confidence is low.\n");
    } else {
        let _ = writeln!(
            text,
            "## On {} rows not seen\n\n| measure | model | base rate |\n|---|---|---|\n| log-loss | {:.4} | {:.4} |\n| AUC | {:.3} | 0.500 |\n| Brier | {:.4} | |\n| calibration error | {:.3} | |\n",
            held.won.len(),
            metrics.log_loss,
            held.base_rate_log_loss,
            metrics.auc,
            metrics.brier,
            calibration_error(&held.probabilities, &held.won),
        );
        text.push_str("| said | rows | mean said | won |\n|---|---|---|---|\n");
        for bin in card["held_out"]["reliability"].as_array().into_iter().flatten() {
            let number = |name: &str| bin[name].as_f64().unwrap_or_default();
            let _ = writeln!(
                text,
                "| from {:.1} | {} | {:.3} | {:.3} |",
                number("from"),
                number("rows"),
                number("said"),
                number("won")
            );
        }
    }
    text.push_str("\n## Probes for leaks\n\n");
    if let Some(auc) = made.shuffled_auc {
        let _ = writeln!(
            text,
            "With shuffled outcomes the held-out AUC is {auc:.3} (0.5 unless the pipeline leaks)."
        );
    }
    if let Some((with, without)) = made.stage_ablation {
        let _ = writeln!(
            text,
            "Log-loss with the stage {with:.4}, without it {without:.4}."
        );
    }
    text.push_str("\n| column | filled in | AUC as known then | AUC as known last | changed since | refused because |\n|---|---|---|---|---|---|\n");
    for column in &made.probes {
        let or_none = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.3}"));
        let kept = if column.is_suspected() && !made.refused.iter().any(|(name, _)| *name == column.name) {
            " (allowed by name)"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "| {} | {:.0} % | {:.3} | {} | {} | {}{kept} |",
            column.name,
            column.filled * 100.0,
            column.auc,
            or_none(column.latest_auc),
            or_none(column.changed_since),
            column.why(),
        );
    }
    text
}
