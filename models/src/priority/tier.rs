//! Which priorities are which tier, with hysteresis.

use super::CutOffs;
use crate::definitions::{Priority, priority::TierPolicy};

/// Labels from best to worst.
const LABELS: [&str; 4] = ["tier_1", "tier_2", "tier_3", "tier_4"];

/// The tier of a priority: `tier_1` (best) to `tier_4`.
///
/// `value` is the priority as scored (mapped under the anchored policy). The bounds are the definition's `cut_offs`;
/// under the quantile policy the tenant's percentiles where there are any. With a tier before, it is left upwards only
/// at its bound plus `band`, downwards only below its bound less `band`, so that a value that trembles at a bound does
/// not flicker.
#[must_use]
pub fn tier(
    definition: &Priority,
    value: f64,
    cutoffs: Option<&CutOffs>,
    previous_tier: Option<&str>,
) -> &'static str {
    let bounds = match (definition.policy, cutoffs) {
        (TierPolicy::Quantile, Some(cutoffs)) => &cutoffs.percentiles,
        _ => &definition.cut_offs,
    };
    let above = |band: f64| bounds.iter().filter(|bound| value >= **bound + band).count();
    let previous = previous_tier
        .and_then(|tier| LABELS.iter().position(|label| *label == tier))
        .map(|place| 3 - place);
    let reached = match previous {
        None => above(0.0),
        // Not below what is reached even with the band added, not above what is reached with it forgiven.
        Some(previous) => previous.clamp(above(definition.band), above(-definition.band)),
    };
    LABELS[3 - reached]
}
