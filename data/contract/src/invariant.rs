//! The named promises of the product (DESIGN.md section 3), so that code, tests and alarms name the same thing.

use std::fmt;

/// One promise each. `check` them where they could break; tests exercise each by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Invariant {
    /// J-1: an acknowledged event survives `kill -9` and power loss.
    AcknowledgedIsDurable,
    /// J-2: journal positions rise without gaps.
    PositionsWithoutGaps,
    /// J-3: one writer per journal; the other is fenced.
    OneWriter,
    /// L-1: a journal position is in the lake exactly once.
    PositionInLakeOnce,
    /// L-2: a reader sees one consistent cut of lake and tail.
    ConsistentCut,
    /// P-1: state does not depend on order, batching, lateness, duplication or restarts.
    OrderFree,
    /// P-2: incremental state equals the batch query.
    IncrementalEqualsBatch,
    /// P-3: memory of the state is bounded; past the bound it spills.
    BoundedState,
    /// S-1: contributions sum to the score.
    ContributionsSum,
    /// S-2: a score names its definition version and feature fingerprint.
    ScoreNamesItsMaker,
    /// S-3: score as of t equals a replay of what was known at t.
    AsOfEqualsReplay,
    /// S-4: unscored is NULL with a reason.
    UnscoredIsNull,
    /// no row of another tenant leaves by any door.
    TenantWall,
    /// a slow reader never slows ingestion.
    SlowReaderAlone,
    /// every answer carries `as_of` and watermarks.
    AnswersSayHowFresh,
}

impl Invariant {
    /// The short name used in documents and logs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::AcknowledgedIsDurable => "J-1",
            Self::PositionsWithoutGaps => "J-2",
            Self::OneWriter => "J-3",
            Self::PositionInLakeOnce => "L-1",
            Self::ConsistentCut => "L-2",
            Self::OrderFree => "P-1",
            Self::IncrementalEqualsBatch => "P-2",
            Self::BoundedState => "P-3",
            Self::ContributionsSum => "S-1",
            Self::ScoreNamesItsMaker => "S-2",
            Self::AsOfEqualsReplay => "S-3",
            Self::UnscoredIsNull => "S-4",
            Self::TenantWall => "Q-1",
            Self::SlowReaderAlone => "Q-2",
            Self::AnswersSayHowFresh => "Q-3",
        }
    }

    /// Panics in debug builds when `holds` is false, so that tests stop at the broken promise; returns `holds` so that
    /// release builds can refuse, count and log.
    pub fn check(self, holds: bool, what: impl fmt::Display) -> bool {
        debug_assert!(holds, "invariant {} broken: {what}", self.code());
        holds
    }
}
