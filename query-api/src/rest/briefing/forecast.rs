//! How did the quarter's forecast move, and why? Each deal's change has one cause, so the causes sum to the movement.

use std::collections::BTreeMap;

use revgauge_contract::{
    Timestamp,
    error::Failure,
    forecast::{Forecast, ForecastQuestion, ForecastRow, ForecastRowKind, ForecastService},
};
use serde::Serialize;

use super::Moved;

/// The forecast of one currency, then and now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in super::super) struct MovedForecast {
    pub(in super::super) period: String,
    pub(in super::super) currency: String,
    /// Mean by the hazard method, whose addends are deals.
    pub(in super::super) then: f64,
    pub(in super::super) now: f64,
    pub(in super::super) low: f64,
    pub(in super::super) high: f64,
    /// The movement by cause, largest first; the amounts sum to it.
    pub(in super::super) moved: Vec<Moved>,
}

/// The current quarter's forecasts at two instants compared, by currency.
pub(super) async fn moved_forecasts(
    service: &dyn ForecastService,
    tenant_id: &str,
    since: Timestamp,
    as_of: Option<Timestamp>,
    owner: Option<String>,
) -> Result<Vec<MovedForecast>, Failure> {
    let question = ForecastQuestion {
        as_of,
        owner_ids: owner.map(|owner| vec![owner]),
        quantiles: vec![0.1, 0.9],
        ..ForecastQuestion::default()
    };
    let now = service.forecast(tenant_id, &question).await?;
    let Some(first) = now.first() else {
        return Ok(Vec::new());
    };
    // The same period then, also where it had not begun.
    let question = ForecastQuestion {
        as_of: Some(since),
        start: Some(first.start),
        end: Some(first.end),
        ..question
    };
    let then = service.forecast(tenant_id, &question).await?;
    Ok(now
        .iter()
        .map(|now| {
            let then = then.iter().find(|then| then.currency == now.currency);
            compare(then, now)
        })
        .collect())
}

/// An addend then and now.
type Sides<'a> = (Option<&'a ForecastRow>, Option<&'a ForecastRow>);

fn compare(then: Option<&Forecast>, now: &Forecast) -> MovedForecast {
    // Of deals not yet created there is a row an owner.
    fn key(row: &ForecastRow) -> (&str, &str) {
        let owner = if row.deal_id.is_empty() {
            row.owner_id.as_str()
        } else {
            ""
        };
        (&row.deal_id, owner)
    }
    let mut deals: BTreeMap<(&str, &str), Sides<'_>> = BTreeMap::new();
    for row in then.into_iter().flat_map(|then| &then.rows) {
        deals.entry(key(row)).or_default().0 = Some(row);
    }
    for row in &now.rows {
        deals.entry(key(row)).or_default().1 = Some(row);
    }
    let mut causes: BTreeMap<&'static str, (usize, f64)> = BTreeMap::new();
    for ((deal, _), (was, is)) in deals {
        let worth = |row: Option<&ForecastRow>| row.map_or(0.0, |row| row.contribution);
        let moved = worth(is) - worth(was);
        if moved != 0.0 {
            let place = causes.entry(cause(deal, was, is)).or_default();
            place.0 += 1;
            place.1 += moved;
        }
    }
    let mut moved: Vec<Moved> = causes
        .into_iter()
        .map(|(cause, (deals, amount))| Moved { cause, deals, amount })
        .collect();
    moved.sort_by(|a, b| b.amount.abs().total_cmp(&a.amount.abs()));
    let edge = |place: Option<&revgauge_contract::forecast::Quantile>| place.map_or(0.0, |edge| edge.value);
    MovedForecast {
        period: now.period.clone(),
        currency: now.currency.clone(),
        then: then.map_or(0.0, |then| then.expected),
        now: now.expected,
        low: edge(now.quantiles.first()),
        high: edge(now.quantiles.last()),
        moved,
    }
}

fn cause(deal: &str, was: Option<&ForecastRow>, is: Option<&ForecastRow>) -> &'static str {
    match (was, is) {
        _ if deal.is_empty() => "deals not yet created",
        (was, Some(is)) if is.kind == ForecastRowKind::Closed => match was {
            Some(was) if was.kind == ForecastRowKind::Closed => "amount of won deals changed",
            _ => "won",
        },
        (None, _) => "created",
        (Some(_), None) => "lost or removed",
        (Some(was), Some(_)) if was.kind == ForecastRowKind::Closed => "reopened",
        (Some(was), Some(is)) if was.stage != is.stage => "moved stage",
        (Some(was), Some(is)) if was.amount != is.amount => "amount changed",
        _ => "time passed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: ForecastRowKind, deal: &str, stage: &str, amount: f64, probability: f64) -> ForecastRow {
        ForecastRow {
            kind,
            deal_id: deal.to_owned(),
            owner_id: String::new(),
            stage: stage.to_owned(),
            category: String::new(),
            amount,
            probability,
            contribution: amount * probability,
            expected_close: None,
            expected_close_p10: None,
            expected_close_p90: None,
        }
    }

    fn forecast(rows: Vec<ForecastRow>) -> Forecast {
        Forecast {
            expected: rows.iter().map(|row| row.contribution).sum(),
            rows,
            ..empty()
        }
    }

    fn empty() -> Forecast {
        Forecast {
            currency: "EUR".to_owned(),
            period: "2026-Q4".to_owned(),
            as_of: Timestamp(0),
            start: Timestamp(0),
            end: Timestamp(1),
            closed: 0.0,
            commit: 0.0,
            best_case: 0.0,
            pipeline: 0.0,
            omitted: 0.0,
            expected: 0.0,
            blend: 0.0,
            blend_wape: None,
            blend_bias: None,
            quantiles: Vec::new(),
            methods: Vec::new(),
            past_periods: 0,
            past_covered: 0,
            noise_floor: None,
            ended_deals: 0,
            attainment: None,
            attainment_probability: None,
            standing: revgauge_contract::forecast::Standing::default(),
            rows: Vec::new(),
        }
    }

    #[test]
    fn the_causes_sum_to_the_movement() {
        use ForecastRowKind::{Closed, NotYetCreated, Open};
        let then = forecast(vec![
            row(Open, "a", "Proposal", 100.0, 0.5),
            row(Open, "b", "Proposal", 80.0, 0.4),
            row(Open, "c", "Discovery", 60.0, 0.2),
            row(NotYetCreated, "", "", 50.0, 3.0),
        ]);
        let now = forecast(vec![
            row(Closed, "a", "Closed Won", 100.0, 1.0),
            row(Open, "c", "Proposal", 60.0, 0.5),
            row(Open, "d", "Discovery", 10.0, 0.1),
            row(NotYetCreated, "", "", 50.0, 2.5),
        ]);
        let moved = compare(Some(&then), &now);
        let sum: f64 = moved.moved.iter().map(|moved| moved.amount).sum();
        assert!((moved.now - moved.then - sum).abs() < 1e-9, "{moved:?}");
        let causes: Vec<&str> = moved.moved.iter().map(|moved| moved.cause).collect();
        assert_eq!(
            causes,
            [
                "won",
                "lost or removed",
                "deals not yet created",
                "moved stage",
                "created"
            ]
        );
    }
}
