//! Which of our types a foreign event name means: a list that ships, extended by each tenant.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    ops::Range,
};

use revgauge_contract::{
    Classified, ErrorKind,
    event::MAX_NAME_BYTES,
    event_type::{CRM_OBJECTS, CRM_VERBS, ENGAGEMENT, ENRICHMENT, is_known},
};
use serde::Deserialize;
use toml::Spanned;

/// The names that ship with the product.
const SHIPPED: &str = include_str!("../mappings/event_names.toml");

/// Names of foreign systems and the types they mean.
///
/// Names are compared by their words: `Email Opened`, `email_opened` and `EmailOpened` are one. A tenant's own names go
/// before the operator's, those before the ones that ship.
#[derive(Debug, Clone)]
pub struct EventNames {
    common: HashMap<String, String>,
    tenants: HashMap<String, HashMap<String, String>>,
}

/// A mapping file that cannot be used; nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read event names from {file}, line {line}, key '{key}': {message}")]
pub struct EventNamesError {
    /// The file as the caller named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// The key at fault.
    pub key: String,
    /// What is wrong and what to write.
    pub message: String,
}

impl Classified for EventNamesError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    map: Vec<Mapping>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapping {
    from: Spanned<Names>,
    to: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Many(Vec<String>),
}

impl EventNames {
    /// The names that ship.
    ///
    /// # Panics
    /// Never: the file is part of the program and read by a test.
    #[must_use]
    pub fn shipped() -> Self {
        Self {
            common: parse("event_names.toml", SHIPPED).expect("the shipped names are read by a test"),
            tenants: HashMap::new(),
        }
    }

    /// These names with an operator's file over them, for every tenant.
    ///
    /// # Errors
    /// File, line and key of the first fault; the names stay as they were.
    pub fn with_file(mut self, file: &str, text: &str) -> Result<Self, EventNamesError> {
        self.common.extend(parse(file, text)?);
        Ok(self)
    }

    /// These names with one tenant's file over them, for that tenant only.
    ///
    /// # Errors
    /// File, line and key of the first fault; the names stay as they were.
    pub fn with_tenant(mut self, tenant_id: &str, file: &str, text: &str) -> Result<Self, EventNamesError> {
        let names = parse(file, text)?;
        self.tenants
            .entry(tenant_id.to_owned())
            .or_default()
            .extend(names);
        Ok(self)
    }

    /// The type a name means to a tenant: mapped, else the name itself where it is a type of ours, else
    /// `custom.<name in snake case>`.
    #[must_use]
    pub fn type_of(&self, tenant_id: &str, name: &str) -> Cow<'_, str> {
        let key = snake_case(name);
        let own = self.tenants.get(tenant_id).and_then(|names| names.get(&key));
        if let Some(mapped) = own.or_else(|| self.common.get(&key)) {
            return Cow::Borrowed(mapped);
        }
        let name = name.trim();
        if is_known(name) {
            return Cow::Owned(name.to_owned());
        }
        Cow::Owned(custom(&key))
    }
}

fn custom(key: &str) -> String {
    let mut custom = String::from("custom.");
    if key.is_empty() {
        custom.push_str("unnamed");
    }
    for letter in key.chars() {
        if custom.len() + letter.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        custom.push(letter);
    }
    custom
}

/// The words of a name in lower case, joined by `_`: `Email Opened`, `email-opened` and `EmailOpened` give
/// `email_opened`.
#[must_use]
pub fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let letters: Vec<char> = name.chars().collect();
    for (at, letter) in letters.iter().enumerate() {
        if !letter.is_alphanumeric() {
            if !snake.is_empty() && !snake.ends_with('_') {
                snake.push('_');
            }
            continue;
        }
        let before = at.checked_sub(1).map(|before| letters[before]);
        let after = letters.get(at + 1);
        let starts_word = letter.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase()
                    || before.is_numeric()
                    || (before.is_uppercase() && after.is_some_and(|after| after.is_lowercase()))
            });
        if starts_word && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake.truncate(snake.trim_end_matches('_').len());
    snake
}

fn parse(file: &str, text: &str) -> Result<HashMap<String, String>, EventNamesError> {
    let fault = |span: Range<usize>, key: &str, message: String| EventNamesError {
        file: file.to_owned(),
        line: line_of(text, span.start),
        key: key.to_owned(),
        message,
    };
    let parsed: File = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let key = key_at(text, span.start);
        fault(span, &key, error.message().to_lowercase())
    })?;
    let mut names: HashMap<String, (String, usize)> = HashMap::new();
    for mapping in parsed.map {
        let to = mapping.to.get_ref().trim();
        if !is_known(to) || to.len() > MAX_NAME_BYTES {
            return Err(fault(mapping.to.span(), "to", unknown_type(to)));
        }
        let span = mapping.from.span();
        let from = match mapping.from.into_inner() {
            Names::One(name) => vec![name],
            Names::Many(names) => names,
        };
        for name in from {
            let key = snake_case(&name);
            if key.is_empty() {
                let message = format!("'{name}' has no letter or digit");
                return Err(fault(span, "from", message));
            }
            match names.entry(key) {
                Entry::Occupied(first) if first.get().0 != to => {
                    let (first_to, line) = first.get();
                    let message = format!("'{name}' is '{first_to}' already, by line {line}");
                    return Err(fault(span, "from", message));
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(place) => {
                    place.insert((to.to_owned(), line_of(text, span.start)));
                }
            }
        }
    }
    Ok(names.into_iter().map(|(name, (to, _))| (name, to)).collect())
}

fn unknown_type(to: &str) -> String {
    let crm = CRM_OBJECTS
        .iter()
        .flat_map(|object| CRM_VERBS.iter().map(move |verb| format!("{object}.{verb}")));
    let known = ENGAGEMENT.iter().chain(ENRICHMENT).map(|name| (*name).to_owned());
    let near = known
        .chain(crm)
        .map(|name| (strsim::damerau_levenshtein(&name, to), name))
        .min()
        .filter(|(distance, _)| *distance <= 4);
    match near {
        Some((_, name)) => format!("'{to}' is no type of ours; did you mean '{name}'?"),
        None => format!("'{to}' is no type of ours; for one of your own write 'custom.<name>'"),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// The key written on the line of a syntax fault, for the message.
fn key_at(text: &str, at: usize) -> String {
    let line = text.lines().nth(line_of(text, at) - 1).unwrap_or_default();
    let key = line.split('=').next().unwrap_or_default().trim();
    key.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_names_mean_what_people_expect() {
        let names = EventNames::shipped();
        for (name, expected) in [
            ("Email Opened", "email.opened"),
            ("email_opened", "email.opened"),
            ("EmailOpened", "email.opened"),
            ("Email Link Clicked", "email.clicked"),
            ("Email Marked as Spam", "email.complained"),
            ("Unsubscribed", "email.unsubscribed"),
            ("Demo Requested", "form.submitted"),
            ("invitee.created", "meeting.scheduled"),
            ("emailLinkClicked", "email.clicked"),
            ("email.replied", "email.replied"),
            ("Order Completed", "custom.order_completed"),
            ("[Amplitude] Page Viewed", "custom.amplitude_page_viewed"),
            ("!!!", "custom.unnamed"),
        ] {
            assert_eq!(names.type_of("t", name), expected, "{name}");
        }
        assert!(names.type_of("t", &"long name ".repeat(40)).len() <= MAX_NAME_BYTES);
    }

    #[test]
    fn a_tenant_extends_the_names_for_itself_only() {
        let own = "[[map]]\nfrom = \"Trial Started\"\nto = \"form.submitted\"\n";
        let names = EventNames::shipped()
            .with_tenant("acme", "acme.toml", own)
            .expect("read");
        assert_eq!(names.type_of("acme", "trial started"), "form.submitted");
        assert_eq!(names.type_of("other", "trial started"), "custom.trial_started");
    }

    #[test]
    fn a_broken_file_names_file_line_and_key() {
        for (text, line, key, part) in [
            (
                "[[map]]\nfrom = \"A\"\nto = \"email.open\"\n",
                3,
                "to",
                "did you mean 'email.opened'",
            ),
            (
                "[[map]]\nform = \"A\"\nto = \"email.opened\"\n",
                2,
                "form",
                "unknown field",
            ),
            (
                "\n[[map]]\nfrom = \"--\"\nto = \"email.opened\"\n",
                3,
                "from",
                "no letter",
            ),
            ("[[map]]\nfrom = 3\nto = \"email.opened\"\n", 2, "from", ""),
            ("[[map]\n", 1, "[[map]", ""),
            (
                "[[map]]\nfrom = \"A\"\nto = \"email.opened\"\n[[map]]\nfrom = \"a\"\nto = \"email.clicked\"\n",
                5,
                "from",
                "by line 2",
            ),
        ] {
            let error = EventNames::shipped().with_file("x.toml", text).expect_err(text);
            assert_eq!((error.line, error.key.as_str()), (line, key), "{error}");
            assert!(error.message.contains(part), "{error}");
            assert!(error.to_string().contains("x.toml"), "{error}");
        }
    }
}
