//! Text signals as values: what was found in which text of a deal, where, and what to do about it.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A signal found in a text, or a text that was not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextSignal {
    /// The deal, after merges.
    pub deal_id: String,
    /// The event that carries the text.
    pub event_id: String,
    /// Its type.
    pub event_type: String,
    /// When it was said.
    pub said_at: Timestamp,
    /// When its retention ends: from then on it is not listed (AC-22).
    pub expires_at: Timestamp,
    /// Rep of the event.
    pub user_id: Option<String>,
    /// Signal name; `None` for a text that was not read.
    pub signal: Option<String>,
    /// `high`, `medium` or `low`.
    pub severity: Option<String>,
    /// First byte of the phrase in the text (UTF-8).
    pub span_start: Option<u64>,
    /// Byte after its last.
    pub span_end: Option<u64>,
    /// The sentence.
    pub quote: Option<String>,
    /// Competitor or figure as said.
    pub value: Option<String>,
    /// Speaker as given.
    pub speaker: Option<String>,
    /// `rep` or `buyer`, where it is told.
    pub role: Option<String>,
    /// For price objections: whether our side answered.
    pub answered: Option<bool>,
    /// What to do or say instead (AC-09).
    pub suggestion: Option<String>,
    /// `given`, `refused` or `unknown`.
    pub consent: String,
    /// Why the text was not read: `no consent` or `another language`.
    pub withheld: Option<String>,
}
