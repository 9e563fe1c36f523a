//! What if a deal were otherwise: the same quarter with other amounts and fates, beside what is; nothing is stored (N-17).

use axum::{Extension, response::Response};
use chrono::{NaiveDate, NaiveTime};
use maud::{Markup, html};
use revgauge_contract::{
    Timestamp,
    forecast::{DealOverlay, Forecast, ForecastQuestion},
};

use super::{
    ask::{Sheet, number, text},
    figure::{Form, written},
    forecast::{Quarter, picked},
    form::encode,
    layout::{Oops, Page, page},
    visit::{Visit, address, short},
    who::Who,
};
use crate::problem::Problem;

/// Open deals offered to be seen otherwise.
const OFFERED: usize = 200;

/// A field that is left as it is.
const AS_IT_IS: &str = "as it is";

/// Categories a deal can be seen in, with their words.
const CATEGORIES: [(&str, &str); 4] = [
    ("commit", "commit"),
    ("best_case", "best case"),
    ("pipeline", "pipeline"),
    ("omitted", "omitted"),
];

/// `GET /ui/forecast/what-if`: the same quarter with some deals seen otherwise. Nothing is stored.
pub(super) async fn what_if(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let (quarter, who, quota) = picked(&visit).await?;
    let overlays = overlays_of(&visit)?;
    let offered = visit
        .ask(format!(
            "SELECT d.deal_id, d.name, d.amount, d.currency, d.stage FROM {} d WHERE d.status = 'open'{} ORDER BY d.amount DESC NULLS LAST, d.deal_id LIMIT {OFFERED}",
            visit.deals(),
            who.and("d.owner_id")
        ))
        .await?;
    let question = ForecastQuestion {
        period: Some(quarter.name()),
        as_of: visit.as_of,
        team_of: who.id.clone(),
        quota,
        ..ForecastQuestion::default()
    };
    let before = ask_model(&visit, question.clone()).await?;
    let after = if overlays.is_empty() {
        before.clone()
    } else {
        let changed = ForecastQuestion {
            what_if: overlays.clone(),
            ..question
        };
        ask_model(&visit, changed).await?
    };
    let body = html! {
        p { a href=(visit.link("/ui/forecast", &[("quarter", &quarter.name())])) { "← The forecast" } }
        p.lead { "See the quarter with deals otherwise: another amount, forecast category, close date or fate. Nothing is stored; the address of this page holds the question." }
        (overlay_form(&visit, &offered, &overlays))
        @for (was, is) in before.iter().zip(&after) { (compared(was, is, !overlays.is_empty())) }
        @if before.is_empty() { p.empty { "There is no deal to forecast from." } }
        p.meta { "These numbers come from the forecast service, by " code { "POST /v1/forecast" } " with " code { "what_if" } "." }
    };
    Ok(page(
        &visit,
        &Page {
            title: &format!("What if, {}", quarter.name()),
            body,
        },
    ))
}

async fn ask_model(visit: &Visit, question: ForecastQuestion) -> Result<Vec<Forecast>, Problem> {
    let caller = &visit.session.caller;
    let service = visit.api.forecasts(&visit.api.sight(caller));
    let tenant_id = std::sync::Arc::clone(&caller.tenant_id);
    visit
        .api
        .aside(async move { service.forecast(&tenant_id, &question).await })
        .await
}

/// Deals of the address, in their order: `deal`, `amount`, `fate`, `category` and `close` repeat.
fn overlays_of(visit: &Visit) -> Result<Vec<DealOverlay>, Problem> {
    const MOST: usize = 20;
    let mut overlays: Vec<DealOverlay> = Vec::new();
    for (name, value) in visit.pairs.all() {
        let bad = |what: &str| {
            Problem::bad("bad_what_if", format!("'{}' is no {what}", short(value)))
                .hint("an amount is a number of 0 or more; a fate is won, out or a probability such as 0.4; a close date is a day such as 2026-12-15")
        };
        if name == "deal" {
            overlays.push(DealOverlay {
                deal_id: value.clone(),
                ..DealOverlay::default()
            });
            continue;
        }
        let Some(last) = overlays.last_mut() else {
            continue;
        };
        match name.as_str() {
            "amount" => {
                let amount = value
                    .parse()
                    .ok()
                    .filter(|amount: &f64| amount.is_finite() && *amount >= 0.0);
                last.amount = Some(amount.ok_or_else(|| bad("amount"))?);
            }
            "fate" => {
                let share = match value.as_str() {
                    AS_IT_IS => continue,
                    "won" => 1.0,
                    "out" => 0.0,
                    other => other
                        .parse()
                        .ok()
                        .filter(|share| (0.0..=1.0).contains(share))
                        .ok_or_else(|| bad("fate"))?,
                };
                last.probability = Some(share);
            }
            "category" => {
                let known = CATEGORIES.iter().any(|(category, _)| category == value);
                last.category = Some(value.clone()).filter(|_| known);
                if !known {
                    return Err(bad("forecast category"));
                }
            }
            "close" => {
                let day: NaiveDate = value.parse().map_err(|_| bad("day"))?;
                last.close_date = Some(Timestamp(
                    day.and_time(NaiveTime::MIN).and_utc().timestamp_micros(),
                ));
            }
            _ => {}
        }
    }
    overlays.truncate(MOST);
    Ok(overlays)
}

fn overlay_form(visit: &Visit, offered: &Sheet, overlays: &[DealOverlay]) -> Markup {
    let name_of = |id: &str| {
        let mut rows = offered.rows.iter();
        let found = rows.find(|row| text(row, "deal_id") == id);
        found.map_or(id.to_owned(), |row| text(row, "name").to_owned())
    };
    html! {
        form.filters.card method="get" action="/ui/forecast/what-if" data-filter="1" {
            @for name in ["as_of", "quarter", "owner_id", "quota"] { @if let Some(value) = visit.pairs.get(name) { input type="hidden" name=(name) value=(value); } }
            @for overlay in overlays {
                fieldset.overlay {
                    legend { (name_of(&overlay.deal_id)) }
                    input type="hidden" name="deal" value=(overlay.deal_id);
                    label { "Amount " input name="amount" inputmode="decimal" maxlength="15" value=(overlay.amount.map_or(String::new(), |amount| amount.to_string())); }
                    (category_choice(overlay.category.as_deref()))
                    label { "Close date " input type="date" name="close" value=(overlay.close_date.map_or(String::new(), |at| at.to_datetime().format("%Y-%m-%d").to_string())); }
                    label { "Fate " input name="fate" list="fates" maxlength="10" value=(fate(overlay)); }
                }
            }
            label { "Deal "
                select name="deal" {
                    option value="" { "pick one" }
                    @for row in &offered.rows {
                        option value=(text(row, "deal_id")) { (short(text(row, "name"))) " · " (written(number(row, "amount"), Form::Money)) " " (text(row, "currency")) }
                    }
                }
            }
            label { "Amount instead " input name="amount" inputmode="decimal" maxlength="15" placeholder=(AS_IT_IS); }
            (category_choice(None))
            label { "Close date " input type="date" name="close"; }
            label { "Fate " input name="fate" list="fates" maxlength="10" placeholder="won, out, 0.4"; }
            datalist #fates { option value="won" {} option value="out" {} option value="0.5" {} option value=(AS_IT_IS) {} }
            button.main type="submit" { "See it" }
            @if !overlays.is_empty() { a href=(visit.link("/ui/forecast/what-if", &[])) { "Start anew" } }
        }
    }
}

fn category_choice(picked: Option<&str>) -> Markup {
    html! {
        label { "Category "
            select name="category" {
                option value="" { (AS_IT_IS) }
                @for (category, words) in CATEGORIES { option value=(category) selected[picked == Some(category)] { (words) } }
            }
        }
    }
}

fn fate(overlay: &DealOverlay) -> String {
    match overlay.probability {
        None => AS_IT_IS.to_owned(),
        Some(1.0) => "won".to_owned(),
        Some(0.0) => "out".to_owned(),
        Some(share) => share.to_string(),
    }
}

fn compared(was: &Forecast, is: &Forecast, changed: bool) -> Markup {
    let at = |forecast: &Forecast, probability: f64| {
        let mut quantiles = forecast.quantiles.iter();
        quantiles
            .find(|quantile| (quantile.probability - probability).abs() < 1e-9)
            .map(|quantile| quantile.value)
    };
    let rows = [
        ("P10", at(was, 0.1), at(is, 0.1)),
        ("P50", at(was, 0.5), at(is, 0.5)),
        ("P90", at(was, 0.9), at(is, 0.9)),
        ("Expected", Some(was.expected), Some(is.expected)),
        ("Blend", Some(was.blend), Some(is.blend)),
        (
            "Closed + commit",
            Some(was.closed + was.commit),
            Some(is.closed + is.commit),
        ),
        ("Commit", Some(was.commit), Some(is.commit)),
        ("Best case", Some(was.best_case), Some(is.best_case)),
        ("Pipeline", Some(was.pipeline), Some(is.pipeline)),
    ];
    html! {
        section.card {
            h2 { @if was.currency.is_empty() { "Amounts" } @else { (was.currency) } }
            div.scroll tabindex="0" role="region" aria-label="Before and after" { table {
                thead { tr { th scope="col" { "" } th.n scope="col" { "As it is" } @if changed { th.n scope="col" { "As you see it" } th.n scope="col" { "Difference" } } } }
                tbody {
                    @for (name, before, after) in rows { tr {
                        th scope="row" { (name) }
                        td.n data-label="As it is" { (written(before, Form::Money)) }
                        @if changed {
                            td.n data-label="As you see it" { strong { (written(after, Form::Money)) } }
                            td.n data-label="Difference" { (written(before.zip(after).map(|(before, after)| after - before), Form::Money)) }
                        }
                    } }
                    @if let Some(chance) = was.attainment_probability { tr {
                        th scope="row" { "Chance to reach the quota" }
                        td.n data-label="As it is" { (written(Some(chance), Form::Share)) }
                        @if changed { td.n data-label="As you see it" { strong { (written(is.attainment_probability, Form::Share)) } } td.n { } }
                    } }
                }
            } }
        }
    }
}

/// The link to what-if from the forecast.
pub(super) fn link(visit: &Visit) -> String {
    let pairs = visit.pairs.all().iter();
    let kept = pairs.filter(|(name, _)| matches!(name.as_str(), "as_of" | "quarter" | "owner_id" | "quota"));
    address(
        "/ui/forecast/what-if",
        kept.map(|(name, value)| (name.as_str(), value.as_str())),
    )
}

/// The chance to reach a quota, from the service, with the way to ask for it.
pub(super) async fn quota_note(
    visit: &Visit,
    quarter: Quarter,
    who: &Who,
    quota: f64,
) -> Result<Markup, Problem> {
    let question = ForecastQuestion {
        period: Some(quarter.name()),
        as_of: visit.as_of,
        team_of: who.id.clone(),
        quota: Some(quota),
        ..ForecastQuestion::default()
    };
    let all = ask_model(visit, question).await?;
    let path = format!(
        "/v1/forecast?period={}&quota={}",
        encode(&quarter.name()),
        encode(&quota.to_string())
    );
    Ok(html! {
        @for one in all.iter().filter(|one| one.attainment.is_some()) {
            p.quota {
                "Quota " (written(Some(quota), Form::Money)) " " (one.currency) ": " strong { (written(one.attainment, Form::Share)) } " closed, "
                strong { (written(one.attainment_probability, Form::Share)) } " chance to reach it (" code { (path) } ")."
            }
        }
    })
}
