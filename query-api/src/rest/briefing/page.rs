//! The briefing as text for people: Markdown, and the same as one HTML page without outside parts.

use maud::{DOCTYPE, html as markup};
use revgauge_contract::Timestamp;

use super::{Briefing, Line, MovedForecast};

fn sections(briefing: &Briefing) -> [(&'static str, &[Line]); 8] {
    [
        ("Whom to call", &briefing.call),
        ("Won", &briefing.won),
        ("Lost", &briefing.lost),
        ("Slipped", &briefing.slipped),
        ("Moved stage", &briefing.stages),
        ("New deals", &briefing.created),
        ("New warnings", &briefing.new_warnings),
        ("At risk", &briefing.at_risk),
    ]
}

fn told(line: &Line) -> String {
    let owner = line.owner_id.as_deref().unwrap_or("nobody");
    format!("{:.0}, owner {owner}: {}", line.amount, line.what)
}

fn headline(briefing: &Briefing) -> String {
    format!(
        "Open pipeline {:.0}, before {:.0} ({:+.0})",
        briefing.open_now,
        briefing.open_then,
        briefing.open_now - briefing.open_then
    )
}

/// One line that says how the forecast of a currency moved.
fn forecast_line(forecast: &MovedForecast) -> String {
    format!(
        "Forecast {} {}: {:.0} (80 % range {:.0} to {:.0}), before {:.0} ({:+.0})",
        forecast.period,
        forecast.currency,
        forecast.now,
        forecast.low,
        forecast.high,
        forecast.then,
        forecast.now - forecast.then
    )
}

/// Text that Markdown does not read as its own marks.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for mark in text.chars() {
        match mark {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' => plain.extend(['\\', mark]),
            '\n' | '\r' => plain.push(' '),
            other => plain.push(other),
        }
    }
    plain
}

/// Markdown.
pub(super) fn markdown(briefing: &Briefing, since: Timestamp, until: Timestamp) -> String {
    let mut text = format!("# Briefing\n\n{since} to {until}\n\n{}\n\n", headline(briefing));
    for moved in &briefing.moved {
        text += &format!("- {}: {} deals, {:+.0}\n", moved.cause, moved.deals, moved.amount);
    }
    for forecast in &briefing.forecast {
        text += &format!("\n{}\n\n", plain(&forecast_line(forecast)));
        for moved in &forecast.moved {
            text += &format!("- {}: {} rows, {:+.0}\n", moved.cause, moved.deals, moved.amount);
        }
    }
    for (title, lines) in sections(briefing) {
        text += &format!("\n## {title}\n\n");
        if lines.is_empty() {
            text += "none\n";
        }
        for line in lines {
            text += &format!(
                "- **{}** ({}) {}\n",
                plain(&line.name),
                plain(&line.deal_id),
                plain(&told(line))
            );
            if let Some(advice) = &line.advice {
                text += &format!("  {}\n", plain(advice));
            }
        }
    }
    text
}

/// One HTML page; every text is escaped.
pub(super) fn html(briefing: &Briefing, since: Timestamp, until: Timestamp) -> String {
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Briefing" }
                style { "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}" }
            }
            body {
                h1 { "Briefing" }
                p { (since.to_string()) " to " (until.to_string()) }
                p { strong { (headline(briefing)) } }
                ul {
                    @for moved in &briefing.moved {
                        li { (moved.cause) ": " (moved.deals) " deals, " (format!("{:+.0}", moved.amount)) }
                    }
                }
                @for forecast in &briefing.forecast {
                    p { strong { (forecast_line(forecast)) } }
                    ul {
                        @for moved in &forecast.moved {
                            li { (moved.cause) ": " (moved.deals) " rows, " (format!("{:+.0}", moved.amount)) }
                        }
                    }
                }
                @for (title, lines) in sections(briefing) {
                    h2 { (title) }
                    @if lines.is_empty() { p { "none" } }
                    ul {
                        @for line in lines {
                            li {
                                strong { (line.name) } " (" (line.deal_id) ") " (told(line))
                                @if let Some(advice) = &line.advice { br; (advice) }
                            }
                        }
                    }
                }
            }
        }
    };
    page.into_string()
}
