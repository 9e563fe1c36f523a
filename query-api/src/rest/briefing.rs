//! `GET /v1/briefing`: what changed since an instant, what is at risk and whom to call; JSON, Markdown or HTML.

mod forecast;
mod page;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use revgauge_contract::{
    Timestamp,
    access::Caller,
    error::Failure,
    score::{Alert, EntityKind, ScoreService},
    statistics::Knowledge,
    time::DAY_US,
};
use serde::Serialize;
use serde_json::Value;

use forecast::{MovedForecast, moved_forecasts};

use super::{
    arguments::Arguments,
    records::{answer, value},
};
use crate::{api::Api, freshness::Freshness, problem::Problem, sql::text_of};

/// A deal in a list, with what happened to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Line {
    pub(super) deal_id: String,
    pub(super) name: String,
    pub(super) owner_id: Option<String>,
    pub(super) amount: f64,
    pub(super) what: String,
    pub(super) advice: Option<String>,
}

/// What the day was.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Briefing {
    /// How the quarter's forecast moved and why, a currency each.
    pub(super) forecast: Vec<MovedForecast>,
    /// Sum of the amounts of open deals, then and now.
    pub(super) open_then: f64,
    pub(super) open_now: f64,
    /// The movement between them by cause; its amounts sum to it.
    pub(super) moved: Vec<Moved>,
    pub(super) won: Vec<Line>,
    pub(super) lost: Vec<Line>,
    pub(super) created: Vec<Line>,
    pub(super) slipped: Vec<Line>,
    pub(super) stages: Vec<Line>,
    /// Warnings that did not hold then.
    pub(super) new_warnings: Vec<Line>,
    pub(super) at_risk: Vec<Line>,
    /// Largest deals at risk, one line each with what to do.
    pub(super) call: Vec<Line>,
}

/// One cause of the movement of the open pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Moved {
    pub(super) cause: &'static str,
    pub(super) deals: usize,
    pub(super) amount: f64,
}

/// Deals whom to call about.
const CALLS: usize = 5;

/// `GET /v1/briefing`
pub(super) async fn briefing(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let limit = arguments.limit(&api.settings.http)?;
    let moment = arguments.moment(api.clock.now())?;
    let since = arguments
        .instant("since")?
        .unwrap_or_else(|| moment.at.plus_micros(-DAY_US));
    if since > moment.at {
        return Err(Problem::bad(
            "since_ahead",
            format!("since {since} is after {}", moment.at),
        ));
    }
    let format = arguments
        .one_of("format", &["json", "markdown", "html"])?
        .unwrap_or_else(|| wanted(&headers));
    let (scores, tenant_id) = (api.scores(&caller), Arc::clone(&caller.tenant_id));
    let forecasts = api.forecasts(&api.sight(&caller));
    let as_of = arguments.instant("as_of")?;
    let owner = arguments.text("owner_id").map(str::to_owned);
    let mut found = api
        .aside(async move {
            let now = state(
                scores.as_ref(),
                &tenant_id,
                moment.at,
                moment.knowledge,
                owner.as_deref(),
            )
            .await?;
            let then = state(
                scores.as_ref(),
                &tenant_id,
                since,
                Knowledge::At(since),
                owner.as_deref(),
            )
            .await?;
            let forecast =
                moved_forecasts(forecasts.as_ref(), &tenant_id, since, as_of, owner.clone()).await?;
            Ok::<_, Failure>(Briefing {
                forecast,
                ..compare(&then, &now)
            })
        })
        .await?;
    for list in found.lists_mut() {
        list.truncate(limit);
    }
    let freshness = Freshness {
        as_of: moment.at,
        ..api.freshness(&caller.tenant_id)
    };
    let (kind, text) = match format {
        "markdown" => (
            "text/markdown; charset=utf-8",
            page::markdown(&found, since, moment.at),
        ),
        "html" => ("text/html; charset=utf-8", page::html(&found, since, moment.at)),
        _ => {
            let members = [("since", value(since)?), ("briefing", value(found)?)];
            return Ok(answer(&freshness, members));
        }
    };
    let mut response = ([(header::CONTENT_TYPE, kind)], text).into_response();
    freshness.stamp(response.headers_mut());
    Ok(response)
}

/// The format that the `Accept` header names first.
fn wanted(headers: &HeaderMap) -> &'static str {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    accept
        .into_iter()
        .flat_map(|accept| accept.split(','))
        .find_map(|kind| match kind.split(';').next().unwrap_or_default().trim() {
            "text/html" => Some("html"),
            "text/markdown" => Some("markdown"),
            "application/json" => Some("json"),
            _ => None,
        })
        .unwrap_or("json")
}

impl Briefing {
    fn lists_mut(&mut self) -> [&mut Vec<Line>; 7] {
        [
            &mut self.won,
            &mut self.lost,
            &mut self.created,
            &mut self.slipped,
            &mut self.stages,
            &mut self.new_warnings,
            &mut self.at_risk,
        ]
    }
}

/// Deals and warnings at an instant.
struct Pipeline {
    deals: BTreeMap<String, Deal>,
    alerts: Vec<Alert>,
}

struct Deal {
    name: String,
    owner_id: Option<String>,
    outcome: String,
    stage: String,
    amount: f64,
    close_date: Option<Timestamp>,
}

async fn state(
    scores: &dyn ScoreService,
    tenant_id: &str,
    at: Timestamp,
    knowledge: Knowledge,
    owner: Option<&str>,
) -> Result<Pipeline, Failure> {
    let objects = scores
        .objects(tenant_id, EntityKind::Deal, None, knowledge)
        .await?;
    let deals: BTreeMap<String, Deal> = objects
        .iter()
        .filter_map(|object| Some((text_of(object, &["deal_id", "id"])?, deal(object))))
        .filter(|(_, deal)| owner.is_none_or(|owner| deal.owner_id.as_deref() == Some(owner)))
        .collect();
    let mut alerts = scores.alerts(tenant_id, None, at, knowledge).await?;
    alerts.retain(|alert| alert.entity_kind == EntityKind::Deal && deals.contains_key(&alert.entity_id));
    Ok(Pipeline { deals, alerts })
}

fn deal(object: &Value) -> Deal {
    let text = |names: &[&str]| text_of(object, names);
    Deal {
        name: text(&["name", "dealname", "deal_name"]).unwrap_or_default(),
        owner_id: text(&["owner_id"]),
        outcome: text(&["outcome", "status"]).unwrap_or_default(),
        stage: text(&["stage"]).unwrap_or_default(),
        amount: text(&["amount"])
            .and_then(|amount| amount.parse().ok())
            .filter(|amount: &f64| amount.is_finite())
            .unwrap_or(0.0),
        close_date: text(&["close_date"]).and_then(|date| date.parse().ok()),
    }
}

impl Deal {
    fn open_amount(&self) -> f64 {
        if self.outcome == "open" { self.amount } else { 0.0 }
    }

    fn line(&self, deal_id: &str, what: String) -> Line {
        Line {
            deal_id: deal_id.to_owned(),
            name: self.name.clone(),
            owner_id: self.owner_id.clone(),
            amount: self.amount,
            what,
            advice: None,
        }
    }
}

/// What lies between two states. Every movement of the open amount has one cause, so the causes sum to it.
fn compare(then: &Pipeline, now: &Pipeline) -> Briefing {
    let mut found = Briefing {
        open_then: then.deals.values().map(Deal::open_amount).sum(),
        open_now: now.deals.values().map(Deal::open_amount).sum(),
        ..Briefing::default()
    };
    let mut moved: BTreeMap<&'static str, (usize, f64)> = BTreeMap::new();
    let ids: BTreeSet<&String> = then.deals.keys().chain(now.deals.keys()).collect();
    for id in ids {
        let (was, is) = (then.deals.get(id), now.deals.get(id));
        let difference = is.map_or(0.0, Deal::open_amount) - was.map_or(0.0, Deal::open_amount);
        let before = was.map_or("", |deal| deal.outcome.as_str());
        let cause = match (was, is) {
            (_, Some(is)) if is.outcome == "won" && before != "won" => {
                found.won.push(is.line(id, format!("won in stage {}", is.stage)));
                "won"
            }
            (_, Some(is)) if is.outcome == "lost" && before != "lost" => {
                found
                    .lost
                    .push(is.line(id, format!("lost in stage {}", is.stage)));
                "lost"
            }
            (None, Some(is)) => {
                found
                    .created
                    .push(is.line(id, format!("new in stage {}", is.stage)));
                "created"
            }
            (Some(was), Some(is)) if is.outcome == "open" && was.outcome != "open" => "reopened",
            (Some(_), None) => "removed",
            _ => "amount changed",
        };
        if let (Some(was), Some(is)) = (was, is)
            && is.outcome == "open"
        {
            if let (Some(old), Some(new)) = (was.close_date, is.close_date)
                && new > old
            {
                found
                    .slipped
                    .push(is.line(id, format!("close date moved from {old} to {new}")));
            }
            if was.stage != is.stage {
                found
                    .stages
                    .push(is.line(id, format!("{} -> {}", was.stage, is.stage)));
            }
        }
        if difference != 0.0 {
            let place = moved.entry(cause).or_default();
            place.0 += 1;
            place.1 += difference;
        }
    }
    found.moved = moved
        .into_iter()
        .map(|(cause, (deals, amount))| Moved { cause, deals, amount })
        .collect();
    warnings(then, now, &mut found);
    for list in found.lists_mut() {
        list.sort_by(|a, b| {
            b.amount
                .total_cmp(&a.amount)
                .then_with(|| a.deal_id.cmp(&b.deal_id))
        });
    }
    let mut seen = BTreeSet::new();
    found.call = found
        .at_risk
        .iter()
        .filter(|line| seen.insert(line.deal_id.clone()))
        .take(CALLS)
        .cloned()
        .collect();
    found
}

fn warnings(then: &Pipeline, now: &Pipeline, found: &mut Briefing) {
    let held: BTreeSet<(&str, &str)> = then
        .alerts
        .iter()
        .map(|alert| (alert.entity_id.as_str(), alert.rule.as_str()))
        .collect();
    for alert in &now.alerts {
        let Some(deal) = now.deals.get(&alert.entity_id) else {
            continue;
        };
        let line = Line {
            advice: Some(alert.advice.clone()),
            ..deal.line(
                &alert.entity_id,
                format!("{}: {}", alert.rule.replace('_', " "), alert.message),
            )
        };
        if alert.severity == "high" {
            found.at_risk.push(line.clone());
        }
        if !held.contains(&(alert.entity_id.as_str(), alert.rule.as_str())) {
            found.new_warnings.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_of(deals: &[(&str, &str, f64, &str)]) -> Pipeline {
        let deals = deals.iter().map(|(id, outcome, amount, close)| {
            let deal = Deal {
                name: format!("<{id}> & co"),
                owner_id: None,
                outcome: (*outcome).to_owned(),
                stage: "Proposal".to_owned(),
                amount: *amount,
                close_date: close.parse().ok(),
            };
            ((*id).to_owned(), deal)
        });
        Pipeline {
            deals: deals.collect(),
            alerts: Vec::new(),
        }
    }

    #[test]
    fn causes_sum_to_the_movement_and_html_is_escaped() {
        let (early, late) = ("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z");
        let then = state_of(&[
            ("a", "open", 100.0, early),
            ("b", "open", 50.0, early),
            ("c", "open", 7.0, early),
        ]);
        let now = state_of(&[
            ("a", "won", 100.0, early),
            ("b", "open", 80.0, late),
            ("d", "open", 20.0, early),
        ]);
        let found = compare(&then, &now);
        let sum: f64 = found.moved.iter().map(|moved| moved.amount).sum();
        assert!((found.open_now - found.open_then - sum).abs() < 1e-9, "{found:?}");
        let ids = |lines: &[Line]| lines.iter().map(|line| line.deal_id.clone()).collect::<Vec<_>>();
        assert_eq!(
            (ids(&found.won), ids(&found.created), ids(&found.slipped)),
            (vec!["a".to_owned()], vec!["d".to_owned()], vec!["b".to_owned()],)
        );
        let html = page::html(&found, Timestamp(0), Timestamp(DAY_US));
        assert!(
            html.contains("&lt;b&gt; &amp; co") && !html.contains("<b>"),
            "{html}"
        );
        assert!(page::markdown(&found, Timestamp(0), Timestamp(DAY_US)).contains("## Slipped"));
    }
}
