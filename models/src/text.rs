//! What people say on deals: signals found in transcripts, mails and notes, each with its place in the text.

mod amounts;
mod document;
mod findings;
mod phrases;
mod scan;
mod sentences;
#[cfg(test)]
mod tests;

pub use document::{Consent, DealText, Document, Role, Turn};
pub use findings::{Analysed, TextFindings};
pub use phrases::Automaton;
pub use scan::{Analysis, Hit, Withheld, analyse};
