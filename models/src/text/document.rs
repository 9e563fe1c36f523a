//! A text as its event carries it: who said which part, whether its analysis was consented to, and how old it is.

use std::ops::Range;

use revgauge_contract::{Timestamp, event::Direction};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::definitions::text_signals::Speakers;

/// Which side speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Ours.
    Rep,
    /// Theirs.
    Buyer,
}

impl Role {
    /// The text in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rep => "rep",
            Self::Buyer => "buyer",
        }
    }
}

/// What the payload says about consent (AC-22).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consent {
    /// `consent: true`.
    Given,
    /// `consent: false`.
    Refused,
    /// Nothing.
    Unknown,
}

impl Consent {
    /// The text in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// A stretch of the text by one speaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Bytes of the text.
    pub range: Range<usize>,
    /// Name as given.
    pub speaker: Option<String>,
    /// Side, where it is told.
    pub role: Option<Role>,
}

/// A text with its circumstances.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The event that carries it.
    pub event_id: String,
    /// Its type.
    pub event_type: String,
    /// When it was said.
    pub at: Timestamp,
    /// Rep of the event.
    pub user_id: Option<String>,
    /// Consent.
    pub consent: Consent,
    /// Language, where the payload names one.
    pub language: Option<String>,
    /// The text; spans are bytes of it. Segments are joined by a line feed.
    pub text: String,
    /// Who says which part, in order, all of it covered but for line feeds between segments.
    pub turns: Vec<Turn>,
}

/// A row of `deal_texts`: an event with text, as layer 1 holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct DealText {
    /// The event.
    pub event_id: String,
    /// Its type.
    pub event_type: String,
    /// When it was said.
    pub at: Timestamp,
    /// Rep of the event.
    pub user_id: Option<String>,
    /// Who wrote it, where the type has a direction.
    pub direction: Option<Direction>,
    /// JSON object text.
    pub payload: String,
}

impl Document {
    /// Reads the payload's `text`, else its `segments` (objects with `text`, `speaker`, `role`); `None` without text.
    #[must_use]
    pub fn read(row: &DealText, speakers: &Speakers) -> Option<Self> {
        let payload: Value = serde_json::from_str(&row.payload).ok()?;
        let consent = match payload.get("consent").and_then(Value::as_bool) {
            Some(true) => Consent::Given,
            Some(false) => Consent::Refused,
            None => Consent::Unknown,
        };
        let side = match row.direction {
            Some(Direction::Outbound) => Some(Role::Rep),
            Some(Direction::Inbound) => Some(Role::Buyer),
            None => None,
        };
        let (text, turns) = match payload.get("text").and_then(Value::as_str) {
            Some(text) => (text.to_owned(), turns_of_lines(text, side, speakers)),
            None => segments(payload.get("segments")?.as_array()?, speakers),
        };
        (!text.trim().is_empty()).then(|| Self {
            event_id: row.event_id.clone(),
            event_type: row.event_type.clone(),
            at: row.at,
            user_id: row.user_id.clone(),
            consent,
            language: payload
                .get("language")
                .and_then(Value::as_str)
                .map(str::to_lowercase),
            text,
            turns,
        })
    }
}

impl Speakers {
    /// The side that a name or role stands for.
    fn role(&self, name: &str) -> Option<Role> {
        let name = name.trim().to_lowercase();
        let is = |names: &[String]| names.contains(&name);
        if is(&self.rep) {
            Some(Role::Rep)
        } else {
            is(&self.buyer).then_some(Role::Buyer)
        }
    }
}

fn segments(segments: &[Value], speakers: &Speakers) -> (String, Vec<Turn>) {
    let mut text = String::new();
    let mut turns = Vec::new();
    for segment in segments {
        let field = |name: &str| segment.get(name).and_then(Value::as_str);
        let Some(said) = field("text") else { continue };
        if !text.is_empty() {
            text.push('\n');
        }
        let start = text.len();
        text.push_str(said);
        let speaker = field("speaker").map(str::to_owned);
        let role = field("role")
            .or(speaker.as_deref())
            .and_then(|name| speakers.role(name));
        turns.push(Turn {
            range: start..text.len(),
            speaker,
            role,
        });
    }
    (text, turns)
}

/// Lines that begin with `Name:` change the speaker; what stands before the first such line is the event's side.
fn turns_of_lines(text: &str, side: Option<Role>, speakers: &Speakers) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    let (mut start, mut speaker, mut role) = (0, None, side);
    let mut place = 0;
    for line in text.split_inclusive('\n') {
        if let Some((name, _)) = line.split_once(':').filter(|(name, _)| name.len() <= 40)
            && let Some(said_by) = speakers.role(name)
        {
            if place > start {
                turns.push(Turn {
                    range: start..place,
                    speaker: speaker.take(),
                    role,
                });
            }
            start = place + name.len() + 1;
            speaker = Some(name.trim().to_owned());
            role = Some(said_by);
        }
        place += line.len();
    }
    if place > start {
        turns.push(Turn {
            range: start..place,
            speaker,
            role,
        });
    }
    turns
}
