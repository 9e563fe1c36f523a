//! Charts as SVG, drawn here: bars, lines over time, a fan of quantiles. Colours are classes of the stylesheet.

use maud::{Markup, html};

use super::figure::{Form, written};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 10.0;
const RIGHT: f64 = 12.0;

/// One bar of a horizontal bar chart.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    /// Class of its colour.
    pub(super) class: &'static str,
}

/// Horizontal bars with label and value; negative ones go left of the zero line.
pub(super) fn bars(title: &str, bars: &[Bar], form: Form) -> Markup {
    const ROW: f64 = 28.0;
    const LABEL: f64 = 170.0;
    let low = bars.iter().map(|bar| bar.value).fold(0.0, f64::min);
    let high = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let span = if high > low { high - low } else { 1.0 };
    let room = WIDTH - LABEL - 90.0;
    let x = |value: f64| LABEL + (value - low) / span * room;
    let height = ROW * bars.len() as f64 + 4.0;
    html! {
        svg.chart viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(title) {
            title { (title) }
            @for (i, bar) in bars.iter().enumerate() {
                @let y = ROW * i as f64 + 4.0;
                @let (from, to) = (x(bar.value.min(0.0)), x(bar.value.max(0.0)));
                text.label x=(LABEL - 8.0) y=(y + 15.0) text-anchor="end" { (cut(&bar.label, 24)) }
                rect class=(bar.class) x=(fixed(from)) y=(y) width=(fixed((to - from).max(1.0))) height="20" rx="3" {}
                text.value x=(fixed(to + 6.0)) y=(y + 15.0) { (written(Some(bar.value), form)) }
            }
        }
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

/// Lines and bands over time, with a legend when there is more than one line. `marks` are level lines with a name.
pub(super) fn over_time(
    title: &str,
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
            @for i in 0..=ticks {
                @let value = low + step * i as f64;
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(fixed(y(value))) y2=(fixed(y(value))) {}
                text.tick x=(LEFT - 6.0) y=(fixed(y(value) + 4.0)) text-anchor="end" { (written(Some(value), form)) }
            }
            @for (at, anchor) in [(first, "start"), (f64::midpoint(first, last), "middle"), (last, "end")] {
                text.tick x=(fixed(x(at))) y=(HEIGHT - 6.0) text-anchor=(anchor) { (day_of(at)) }
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

fn day_of(seconds: f64) -> String {
    let at = revgauge_contract::Timestamp((seconds * 1e6) as i64);
    at.to_datetime().format("%-d %b").to_string()
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
        let svg = over_time("t", &[], &[line], &[("quota", 2e9)], Form::Money).into_string();
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
    fn bars_of_nothing_and_hostile_labels_are_text() {
        let bar = Bar {
            label: "<script>alert(1)</script>".to_owned(),
            value: 0.0,
            class: "fill",
        };
        let svg = bars("\"><b>", &[bar], Form::Count).into_string();
        assert!(!svg.contains("<script>") && !svg.contains("<b>"), "{svg}");
    }
}
