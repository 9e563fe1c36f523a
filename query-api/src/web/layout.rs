//! The frame of every page: navigation, picked instant, freshness, errors with a way back.

use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, html};
use revgauge_contract::{Timestamp, time::SECOND_US};

use super::{
    asset::{ICON, SCRIPT, STYLE},
    figure::{instant, seconds},
    visit::{Visit, short},
};
use crate::{freshness::Freshness, problem::Problem};

/// Pages in the order of the navigation, with the key that opens each after `g`.
pub(super) const PAGES: &[(&str, &str, &str)] = &[
    ("/ui/forecast", "Forecast", "f"),
    ("/ui/deals", "Deals", "d"),
    ("/ui/leads", "Leads", "l"),
    ("/ui/accounts", "Accounts", "a"),
    ("/ui/contacts", "Contacts", "c"),
    ("/ui/team", "Team", "t"),
    ("/ui/reports", "Reports", "r"),
    ("/ui/sql", "SQL", "s"),
    ("/ui/data", "Data health", "h"),
    ("/ui/admin", "Admin", "m"),
];

/// Numbers older than this are said to be of before, microseconds.
const OLD_US: i64 = 3 * SECOND_US;

/// What a page is.
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    pub(super) body: Markup,
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="description" content="Revgauge: scores and forecasts of a revenue team";
            title { (title) " · Revgauge" }
            link rel="icon" href=(ICON.address()) type="image/svg+xml";
            link rel="stylesheet" href=(STYLE.address());
            script src=(SCRIPT.address()) defer {}
        }
    }
}

/// A whole page for a signed-in person.
pub(super) fn page(visit: &Visit, page: &Page<'_>) -> Response {
    let freshness = visit.api.freshness(visit.tenant());
    let current = PAGES
        .iter()
        .filter(|(path, _, _)| visit.path.starts_with(path))
        .max_by_key(|(path, _, _)| path.len())
        .map(|(path, _, _)| *path);
    let live = visit.is_live();
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            (head(page.title))
            body data-live=[live.then_some("1")] data-again=[visit.again().filter(|_| live).map(Timestamp::micros)] {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href="/ui/" { "Revgauge" }
                    nav aria-label="Pages" {
                        ul {
                            @for (path, name, key) in PAGES {
                                li {
                                    a href=(visit.link(path, &[])) data-key=(key)
                                        aria-current=[(current == Some(path)).then_some("page")] { (name) }
                                }
                            }
                        }
                    }
                    form.out method="post" action="/ui/sign-out" {
                        input type="hidden" name="csrf" value=(visit.session.csrf);
                        span.who { (visit.session.name) " · " (visit.tenant()) }
                        button type="submit" { "Sign out" }
                    }
                }
                (as_of_bar(visit, &freshness))
                main #main tabindex="-1" {
                    h1 { (page.title) }
                    (page.body)
                }
                (help())
                div #announce.visually-hidden role="status" aria-live="polite" {}
            }
        }
    };
    let mut response = Html(markup.into_string()).into_response();
    freshness.stamp(response.headers_mut());
    response
}

fn as_of_bar(visit: &Visit, freshness: &Freshness) -> Markup {
    let stale_us = i64::from(visit.api.settings.web.stale_hours) * 3_600 * SECOND_US;
    let age = |at: Timestamp| visit.now.micros() - at.micros();
    let newest = freshness.watermarks.values().map(|mark| mark.ingested_at).max();
    html! {
        div.asof {
            form method="get" action=(visit.path) data-filter="1" aria-label="Instant" {
                @for (name, value) in visit.pairs.all() {
                    @if name != "as_of" { input type="hidden" name=(name) value=(value); }
                }
                label { "As of (UTC) "
                    input type="datetime-local" name="as_of" value=(visit.pairs.get("as_of").unwrap_or_default())
                        max=(visit.now.to_datetime().format("%Y-%m-%dT%H:%M"));
                }
                button type="submit" { "Show" }
                @if visit.as_of.is_some() { a href=(visit.path) { "Back to now" } }
            }
            p.fresh {
                @if let Some(at) = visit.as_of { strong { "As known at " (instant(at)) } " · " }
                @match newest {
                    None => { "No source has brought anything yet." }
                    Some(at) => {
                        "Answered " (instant(visit.now))
                        @if let Some(oldest) = visit.oldest().filter(|oldest| visit.now.micros() - oldest.micros() > OLD_US) { " with numbers of " (seconds(oldest)) }
                        " · last event received " (instant(at))
                        @for (source, mark) in &freshness.watermarks {
                            @if age(mark.ingested_at) > stale_us {
                                " · " span.stale { "source " (short(source)) " is stale: nothing since " (instant(mark.ingested_at)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn help() -> Markup {
    html! {
        dialog #help aria-label="Keys" {
            h2 { "Keys" }
            table {
                tbody {
                    tr { td { kbd { "j" } " " kbd { "k" } } td { "next, previous row" } }
                    tr { td { kbd { "Enter" } } td { "open the row" } }
                    tr { td { kbd { "/" } } td { "search or filter" } }
                    @for (_, name, key) in PAGES { tr { td { kbd { "g" } " " kbd { (key) } } td { (name) } } }
                    tr { td { kbd { "?" } } td { "this list" } }
                }
            }
            form method="dialog" { button { "Close" } }
        }
    }
}

/// A page without a session.
pub(super) fn bare(title: &str, status: StatusCode, body: &Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body.bare { main #main { (body) } }
        }
    };
    (status, Html(markup.into_string())).into_response()
}

/// A failure as a page: what was wrong, what to do, the way back.
#[derive(Debug)]
pub(super) struct Oops(pub(super) Problem);

impl<P: Into<Problem>> From<P> for Oops {
    fn from(problem: P) -> Self {
        Self(problem.into())
    }
}

impl IntoResponse for Oops {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = html! {
            h1 { (self.0.title) }
            p { (self.0.detail) }
            @if let Some(hint) = &self.0.hint { p { (hint) } }
            p { a href="/ui/" { "Back to the forecast" } " · " a href="/ui/deals" { "Deals" } " · " a href="/ui/leads" { "Leads" } }
        };
        bare(self.0.title, status, &body)
    }
}

/// What an empty tenant does first.
pub(super) fn first_steps(visit: &Visit) -> Markup {
    html! {
        section.card {
            h2 { "Nothing has arrived yet" }
            p { "Scores and forecasts appear here as soon as events and CRM records come in. Three ways to begin:" }
            ol {
                li { "Send events: " code { "curl -H 'Authorization: Bearer KEY' -d @events.ndjson http://HOST/v1/events" } }
                li { "Import an export of your CRM: " code { "revgauge import deals.csv --mapping hubspot-deals" } }
                li { "Look around in an organisation that is made up: " code { "revgauge demo" } }
            }
            @if visit.is_admin() { p { "A key for the first two is made on the page " a href="/ui/admin" { "Admin" } "." } }
        }
    }
}
