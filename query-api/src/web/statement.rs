//! The query of a sheet as its page names it: the text, the mark that numbers of it carry, and the addresses it is opened at.

use std::ops::Deref;

use super::visit::address;

/// A query with what a page says of it. Made once an answer, since each of hundreds of numbers carries the mark.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    text: String,
    mark: String,
    workbench: String,
    csv: String,
}

impl Statement {
    pub(super) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            mark: mark(&text),
            workbench: address("/ui/sql", [("q", text.as_str())]),
            csv: address("/ui/sql.csv", [("q", text.as_str())]),
            text,
        }
    }

    /// Numbers say with it which query of their page they are of.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// Its address in the workbench.
    pub(super) fn workbench(&self) -> &str {
        &self.workbench
    }

    /// The address of its rows as a file.
    pub(super) fn csv(&self) -> &str {
        &self.csv
    }
}

impl Deref for Statement {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

fn mark(sql: &str) -> String {
    // FNV-1a, 64 bits: a page has a few dozen queries.
    let hash = sql.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
