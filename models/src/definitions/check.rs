//! Collects what is wrong with a definition, by key path, so that one run tells everything.

use std::fmt::Display;

use super::nearest;

/// A path of keys and list indices, such as `["events", "email.opened", "weight"]`.
pub(crate) type KeyPath = Vec<String>;

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Check {
    pub(crate) found: Vec<(KeyPath, String)>,
}

impl Check {
    /// Notes a problem at a key.
    pub(crate) fn fail(&mut self, path: &[&str], message: impl Into<String>) {
        let path = path.iter().map(|key| (*key).to_owned()).collect();
        self.found.push((path, message.into()));
    }

    /// Notes a problem unless the condition holds.
    pub(crate) fn ensure(&mut self, path: &[&str], holds: bool, message: impl Into<String>) {
        if !holds {
            self.fail(path, message);
        }
    }

    /// The number is neither NaN nor infinite.
    pub(crate) fn finite(&mut self, path: &[&str], number: f64) {
        self.ensure(
            path,
            number.is_finite(),
            format!("must be a finite number, got {number}"),
        );
    }

    /// The number is finite and above zero.
    pub(crate) fn positive(&mut self, path: &[&str], number: f64) {
        let holds = number.is_finite() && number > 0.0;
        self.ensure(path, holds, format!("must be a number above 0, got {number}"));
    }

    /// The number lies within the closed range.
    pub(crate) fn within(&mut self, path: &[&str], number: f64, low: f64, high: f64) {
        let holds = (low..=high).contains(&number);
        self.ensure(path, holds, format!("must be from {low} to {high}, got {number}"));
    }

    /// The half-life is a class that the pipeline keeps.
    pub(crate) fn half_life(&mut self, path: &[&str], days: u16, classes: &[u16]) {
        if classes.contains(&days) {
            return;
        }
        let near = classes.iter().min_by_key(|class| class.abs_diff(days));
        let list = classes.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let near = near.map_or_else(String::new, |class| format!(", nearest is {class}"));
        self.fail(
            path,
            format!("the pipeline keeps half-lives of {list} days, got {days}{near}"),
        );
    }

    /// The word is one of the known ones; a similar one is suggested.
    pub(crate) fn one_of<'a>(
        &mut self,
        path: &[&str],
        word: &str,
        known: impl IntoIterator<Item = &'a str> + Clone,
    ) {
        if known.clone().into_iter().any(|candidate| candidate == word) {
            return;
        }
        let hint = nearest(word, known.clone()).map_or_else(
            || format!("known are {}", known.into_iter().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean '{near}'?"),
        );
        self.fail(path, format!("unknown name '{word}', {hint}"));
    }

    /// The event type is one we know, or a pattern `custom.*`, or any `custom.` name.
    pub(crate) fn event_type(&mut self, path: &[&str], name: &str) {
        use revgauge_contract::event_type::{ENGAGEMENT, ENRICHMENT, is_known};
        if !is_known(name) {
            self.one_of(path, name, ENGAGEMENT.iter().chain(ENRICHMENT).copied());
        }
    }

    /// The list rises strictly.
    pub(crate) fn ascending(&mut self, path: &[&str], numbers: &[f64]) {
        let holds = numbers.windows(2).all(|pair| pair[0] < pair[1]);
        let list = numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
        self.ensure(path, holds, format!("must rise from one to the next, got {list}"));
    }

    /// Nothing is empty that must name something.
    pub(crate) fn named(&mut self, path: &[&str], text: impl Display) {
        self.ensure(path, !text.to_string().trim().is_empty(), "must not be empty");
    }
}
