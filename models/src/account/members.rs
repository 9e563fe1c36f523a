//! Contributions of members, so that an account of thousands stays readable.

use revgauge_contract::score::Contribution;

use crate::{assembly::part, facts::Member};

/// One part a member, the largest ones named and the rest as one part `members:others`; sums are kept.
pub(super) fn parts(mut points: Vec<(&Member, f64, String)>, listed: usize) -> Vec<Contribution> {
    points.retain(|(_, points, _)| *points != 0.0);
    points.sort_by(|a, b| {
        b.1.total_cmp(&a.1)
            .then_with(|| a.0.contact_id.cmp(&b.0.contact_id))
    });
    let others = points.split_off(points.len().min(listed));
    let mut parts: Vec<Contribution> = points
        .into_iter()
        .map(|(member, points, reason)| part(format!("member:{}", member.contact_id), points, reason))
        .collect();
    if !others.is_empty() {
        let sum = others.iter().map(|(_, points, _)| points).sum();
        parts.push(part(
            "members:others",
            sum,
            format!("{} more contacts", others.len()),
        ));
    }
    parts
}
