//! Charts as SVG, drawn here: bars, waterfalls, lines over time, a fan of quantiles. Colours are classes of the stylesheet.

use maud::{Markup, html};

use super::{
    ask::Sheet,
    figure::{Form, cell, written},
};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 26.0;
const RIGHT: f64 = 12.0;

/// One bar of a horizontal bar chart: a cell of a query.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) row: usize,
    pub(super) column: String,
    /// Class of its colour.
    pub(super) class: &'static str,
}

/// Horizontal bars with label and value; negative ones go left of the zero line. The page lays them out, so that the
/// words keep their size on a phone.
pub(super) fn bars(title: &str, sheet: &Sheet, bars: &[Bar], form: Form) -> Markup {
    let value = |bar: &Bar| sheet.number(bar.row, &bar.column).unwrap_or(0.0);
    let low = bars.iter().map(value).fold(0.0, f64::min);
    let high = bars.iter().map(value).fold(0.0, f64::max);
    let span = if high > low { high - low } else { 1.0 };
    let x = |value: f64| (value - low) / span * 100.0;
    html! {
        ul.bars aria-label=(title) {
            @for bar in bars {
                @let (from, to) = (x(value(bar).min(0.0)), x(value(bar).max(0.0)));
                li {
                    span.label title=(bar.label) { (cut(&bar.label, 40)) }
                    svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
                        rect class=(bar.class) x=(fixed(from)) width=(fixed((to - from).max(0.4))) height="10" {}
                    }
                    (cell(sheet, bar.row, &bar.column, form))
                }
            }
        }
    }
}

/// One bar of a waterfall: a row of a query, with the way to what is behind it.
pub(super) struct Step {
    pub(super) label: String,
    pub(super) href: String,
    pub(super) row: usize,
    /// Stands on the ground instead of on the bar before it.
    pub(super) is_total: bool,
}

/// A waterfall: each bar begins where the one before it ended.
pub(super) fn steps(title: &str, sheet: &Sheet, steps: &[Step], column: &str, form: Form) -> Markup {
    let mut level = 0.0;
    let spans: Vec<(f64, f64)> = steps
        .iter()
        .map(|step| {
            let value = sheet.number(step.row, column).unwrap_or(0.0);
            let from = if step.is_total { 0.0 } else { level };
            level = from + value;
            (from, level)
        })
        .collect();
    let low = spans.iter().map(|span| span.0.min(span.1)).fold(0.0, f64::min);
    let high = spans.iter().map(|span| span.0.max(span.1)).fold(0.0, f64::max);
    let room = if high > low { high - low } else { 1.0 };
    let x = |value: f64| (value - low) / room * 100.0;
    html! {
        ul.bars.steps aria-label=(title) {
            @for (step, (from, to)) in steps.iter().zip(&spans) {
                @let class = if step.is_total { "cat pipe" } else if to < from { "cat down" } else { "cat won" };
                li {
                    a.label href=(step.href) { (step.label) }
                    svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
                        rect class=(class) x=(fixed(x(from.min(*to)))) width=(fixed((x(from.max(*to)) - x(from.min(*to))).max(0.4))) height="10" {}
                    }
                    (cell(sheet, step.row, column, form))
                }
            }
        }
    }
}

/// Points of two shares against the line on which both are equal.
pub(super) fn diagonal(title: &str, points: &[(f64, f64)]) -> Markup {
    const SIDE: f64 = 260.0;
    let x = |share: f64| 44.0 + share.clamp(0.0, 1.0) * (SIDE - 60.0);
    let y = |share: f64| SIDE - 34.0 - share.clamp(0.0, 1.0) * (SIDE - 60.0);
    let line = points
        .iter()
        .map(|point| format!("{},{}", fixed(x(point.0)), fixed(y(point.1))));
    html! {
        svg.chart.square viewBox=(format!("0 0 {SIDE} {SIDE}")) role="img" aria-label=(title) {
            title { (title) }
            @for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
                line.grid x1=(x(0.0)) x2=(x(1.0)) y1=(fixed(y(share))) y2=(fixed(y(share))) {}
                text.tick x="38" y=(fixed(y(share) + 4.0)) text-anchor="end" { (written(Some(share), Form::Share)) }
                text.tick x=(fixed(x(share))) y=(SIDE - 16.0) text-anchor="middle" { (written(Some(share), Form::Share)) }
            }
            text.tick x="4" y="12" { "came" }
            text.tick x=(SIDE - 8.0) y=(SIDE - 2.0) text-anchor="end" { "said" }
            line.mark x1=(x(0.0)) x2=(x(1.0)) y1=(y(0.0)) y2=(y(1.0)) {}
            polyline.line.a points=(line.collect::<Vec<_>>().join(" ")) {}
            @for point in points { circle.dot.alive cx=(fixed(x(point.0))) cy=(fixed(y(point.1))) r="4" {} }
        }
    }
}

/// Values of 0 to 100 on spokes, a closed line a series.
pub(super) fn radar(title: &str, spokes: &[String], series: &[(String, &'static str, Vec<f64>)]) -> Markup {
    const SIDE: f64 = 320.0;
    const MIDDLE: f64 = SIDE / 2.0;
    /// Room for words on both sides.
    const WIDE: f64 = 440.0;
    const CENTRE: f64 = WIDE / 2.0;
    const REACH: f64 = 104.0;
    let turn = |spoke: usize| std::f64::consts::TAU * spoke as f64 / spokes.len().max(1) as f64;
    let x = |spoke: usize, value: f64| CENTRE + turn(spoke).sin() * REACH * value / 100.0;
    let y = |spoke: usize, value: f64| MIDDLE - turn(spoke).cos() * REACH * value / 100.0;
    let ring = |values: &dyn Fn(usize) -> f64| {
        let points = (0..spokes.len()).map(|spoke| {
            format!(
                "{},{}",
                fixed(x(spoke, values(spoke))),
                fixed(y(spoke, values(spoke)))
            )
        });
        points.collect::<Vec<_>>().join(" ")
    };
    html! {
        svg.chart.radar viewBox=(format!("0 0 {WIDE} {SIDE}")) role="img" aria-label=(title) {
            title { (title) }
            @for level in [25.0, 50.0, 75.0, 100.0] {
                polygon.ring points=(ring(&|_| level)) {}
                text.tick x=(CENTRE + 3.0) y=(fixed(MIDDLE - REACH * level / 100.0 + 4.0)) { (level) }
            }
            @for (spoke, name) in spokes.iter().enumerate() {
                line.grid x1=(CENTRE) y1=(MIDDLE) x2=(fixed(x(spoke, 100.0))) y2=(fixed(y(spoke, 100.0))) {}
                @let at = x(spoke, 116.0);
                text.label x=(fixed(at)) y=(fixed(y(spoke, 116.0) + 4.0))
                    text-anchor=(if at > CENTRE + 4.0 { "start" } else if at < CENTRE - 4.0 { "end" } else { "middle" }) { (cut(name, 14)) }
            }
            @for (_, class, values) in series {
                polygon class=(class) points=(ring(&|spoke| values.get(spoke).copied().unwrap_or(0.0).clamp(0.0, 100.0))) {}
            }
        }
        ul.legend { @for (name, class, _) in series { li { svg.key viewBox="0 0 16 8" aria-hidden="true" { line class=(class) x1="0" x2="16" y1="4" y2="4" {} } " " (name) } } }
    }
}

/// A line over time.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) class: &'static str,
    /// Seconds and values, in the order of time.
    pub(super) points: Vec<(f64, f64)>,
}

/// A band between two values over time, such as P10 to P90.
pub(super) struct Fan {
    pub(super) class: &'static str,
    /// Seconds, lower, upper.
    pub(super) points: Vec<(f64, f64, f64)>,
}

/// Lines and bands over time, with a legend when there is more than one line. `marks` are level lines with a name; the
/// unit stands at the top of the value axis.
pub(super) fn over_time(
    title: &str,
    unit: &str,
    fans: &[Fan],
    lines: &[Line],
    marks: &[(&str, f64)],
    form: Form,
) -> Markup {
    let times = || {
        let of_lines = lines
            .iter()
            .flat_map(|line| line.points.iter().map(|point| point.0));
        of_lines.chain(fans.iter().flat_map(|fan| fan.points.iter().map(|point| point.0)))
    };
    let values = || {
        let of_lines = lines
            .iter()
            .flat_map(|line| line.points.iter().map(|point| point.1));
        let of_fans = fans
            .iter()
            .flat_map(|fan| fan.points.iter().flat_map(|point| [point.1, point.2]));
        of_lines.chain(of_fans).chain(marks.iter().map(|mark| mark.1))
    };
    let (first, last) = (
        times().fold(f64::INFINITY, f64::min),
        times().fold(f64::NEG_INFINITY, f64::max),
    );
    if !(first.is_finite() && last.is_finite()) {
        return html! { p.empty { "Nothing to draw yet." } };
    }
    let (low, high) = (values().fold(0.0, f64::min), values().fold(0.0, f64::max));
    let step = nice_step((high - low).max(1e-9) / 4.0);
    let (low, high) = (
        (low / step).floor() * step,
        ((high / step).ceil() * step).max(low + step),
    );
    let x = |at: f64| LEFT + (at - first) / (last - first).max(1.0) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - BOTTOM - TOP);
    let ticks = ((high - low) / step).round() as usize;
    html! {
        svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) {
            title { (title) }
            text.tick x="4" y="12" { (unit) }
            @for i in 0..=ticks {
                @let value = low + step * i as f64;
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(fixed(y(value))) y2=(fixed(y(value))) {}
                text.tick x=(LEFT - 6.0) y=(fixed(y(value) + 4.0)) text-anchor="end" { (written(Some(value), form)) }
            }
            @for (at, anchor, words) in time_ticks(first, last) {
                text.tick x=(fixed(x(at))) y=(HEIGHT - 6.0) text-anchor=(anchor) { (words) }
            }
            @for fan in fans {
                @let upper = fan.points.iter().map(|p| format!("{},{}", fixed(x(p.0)), fixed(y(p.2))));
                @let lower = fan.points.iter().rev().map(|p| format!("{},{}", fixed(x(p.0)), fixed(y(p.1))));
                polygon class=(fan.class) points=(upper.chain(lower).collect::<Vec<_>>().join(" ")) {}
            }
            @for (name, value) in marks {
                line.mark x1=(LEFT) x2=(WIDTH - RIGHT) y1=(fixed(y(*value))) y2=(fixed(y(*value))) {}
                text.tick x=(WIDTH - RIGHT) y=(fixed(y(*value) - 4.0)) text-anchor="end" { (name) }
            }
            @for line in lines {
                @let points = line.points.iter().map(|p| format!("{},{}", fixed(x(p.0)), fixed(y(p.1))));
                polyline class=(line.class) points=(points.collect::<Vec<_>>().join(" ")) {}
                @if let [only] = line.points.as_slice() {
                    circle class=(line.class) cx=(fixed(x(only.0))) cy=(fixed(y(only.1))) r="3" {}
                }
            }
        }
        @if lines.len() > 1 {
            ul.legend { @for line in lines { li { svg.key viewBox="0 0 16 8" aria-hidden="true" { line class=(line.class) x1="0" x2="16" y1="4" y2="4" {} } " " (line.name) } } }
        }
    }
}

/// 1, 2 or 5 times a power of ten, not below the wanted step.
fn nice_step(wanted: f64) -> f64 {
    let power = 10_f64.powf(wanted.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= wanted * 0.999)
        .unwrap_or(wanted)
}

fn fixed(number: f64) -> String {
    format!("{number:.1}")
}

/// Where a time axis says when it is: by day, within two days by the minute; the same words never twice.
fn time_ticks(first: f64, last: f64) -> Vec<(f64, &'static str, String)> {
    let form = if last - first < 2.0 * 86_400.0 {
        "%-d %b %H:%M"
    } else {
        "%-d %b"
    };
    let words = |seconds: f64| {
        let at = revgauge_contract::Timestamp((seconds * 1e6) as i64);
        at.to_datetime().format(form).to_string()
    };
    let mut ticks: Vec<(f64, &'static str, String)> = Vec::new();
    for (at, anchor) in [
        (first, "start"),
        (f64::midpoint(first, last), "middle"),
        (last, "end"),
    ] {
        let words = words(at);
        if ticks.last().is_none_or(|(_, _, before)| *before != words) {
            ticks.push((at, anchor, words));
        }
    }
    ticks
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_lies_inside_the_picture() {
        let line = Line {
            name: "x".to_owned(),
            class: "line a",
            points: vec![(0.0, -5.0), (86_400.0, 12.0), (172_800.0, 1e9)],
        };
        let svg = over_time("t", "USD", &[], &[line], &[("quota", 2e9)], Form::Money).into_string();
        let points = svg
            .split("points=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("points");
        for pair in points.split(' ') {
            let (x, y) = pair.split_once(',').expect("pair");
            let (x, y): (f64, f64) = (x.parse().expect("x"), y.parse().expect("y"));
            assert!(
                (0.0..=WIDTH).contains(&x) && (0.0..=HEIGHT).contains(&y),
                "{pair}"
            );
        }
        for wanted in [1e-9, 0.3, 1.0, 7.0, 1e12] {
            let step = nice_step(wanted);
            assert!(step >= wanted * 0.999 && step <= wanted * 10.0, "{wanted} {step}");
        }
    }

    #[test]
    fn a_time_axis_says_each_instant_once() {
        let words = |first, last| -> Vec<String> {
            let ticks = time_ticks(first, last).into_iter();
            ticks.map(|(_, _, words)| words).collect()
        };
        assert_eq!(words(0.0, 0.0), ["1 Jan 00:00"]);
        assert_eq!(words(0.0, 7_200.0), ["1 Jan 00:00", "1 Jan 01:00", "1 Jan 02:00"]);
        assert_eq!(words(0.0, 864_000.0), ["1 Jan", "6 Jan", "11 Jan"]);
    }

    #[test]
    fn a_waterfall_ends_where_its_steps_lead() {
        let mut sheet = empty_sheet();
        sheet.rows = [100.0, 40.0, -60.0, 80.0]
            .into_iter()
            .map(|amount| serde_json::json!({"amount": amount}))
            .collect();
        let step = |row, is_total| Step {
            label: format!("s{row}"),
            href: "/ui/".to_owned(),
            row,
            is_total,
        };
        let all = [step(0, true), step(1, false), step(2, false), step(3, true)];
        let markup = steps("t", &sheet, &all, "amount", Form::Money).into_string();
        let spans: Vec<(f64, f64)> = markup
            .split("<rect")
            .skip(1)
            .map(|rect| {
                let of = |name: &str| {
                    let rest = rect.split(name).nth(1).expect("an attribute");
                    rest.split('"')
                        .next()
                        .expect("a value")
                        .parse::<f64>()
                        .expect("a number")
                };
                (of(" x=\""), of(" width=\""))
            })
            .collect();
        // 100, up to 140, down to 80, 80: of 140.
        let wanted = [(0.0, 71.4), (71.4, 28.6), (57.1, 42.9), (0.0, 57.1)];
        for (span, wanted) in spans.iter().zip(wanted) {
            assert!(
                (span.0 - wanted.0).abs() < 0.11 && (span.1 - wanted.1).abs() < 0.11,
                "{spans:?}"
            );
        }
    }

    fn empty_sheet() -> Sheet {
        Sheet {
            sql: super::super::statement::Statement::new("SELECT 0 AS n"),
            columns: vec![("n".to_owned(), true)],
            rows: Vec::new(),
            truncated: false,
            freshness: crate::freshness::Freshness::of(
                "acme",
                revgauge_contract::Timestamp(0),
                std::collections::BTreeMap::new(),
            ),
        }
    }

    #[test]
    fn bars_of_nothing_and_hostile_labels_are_text() {
        let mut sheet = empty_sheet();
        sheet.rows = vec![serde_json::json!({"n": 0})];
        let bar = Bar {
            label: "<script>alert(1)</script>".to_owned(),
            row: 0,
            column: "n".to_owned(),
            class: "fill",
        };
        let markup = bars("\"><b>", &sheet, &[bar], Form::Count).into_string();
        assert!(
            !markup.contains("<script>") && !markup.contains("<b>"),
            "{markup}"
        );
    }
}
