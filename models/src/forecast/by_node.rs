//! What is forecast of each team and person, so that all of it adds up?
//!
//! Each node's own best blend would not: the weights of a team are not those of its people. So the nodes share the
//! correction of all that is asked about (its blend and its width, [`Correction`]): the means of the hazard sum up the tree,
//! moved by one factor they still do, and the first node says what the forecast says. Ranges are no sums: each node is
//! simulated with the shock that all deals share, and as draws of the same place share it, a team's draws are the sums of
//! its people's (ADR 098).

use std::collections::BTreeSet;

use revgauge_contract::{
    error::Failure,
    forecast::{ForecastNode, ForecastQuestion, Quantile},
};

use super::{
    Correction, ForecastSettings, Learnt, Simulation, Targets,
    answer::{Asking, Judged, wanted},
    distribution::{add_draws, quantile},
    nodes::{Branch, PERSON, tree},
    outlook::OwnerExpected,
    present::Present,
    question::Made,
    tenant::Tenant,
    track_record,
};

/// The nodes of every currency; see [`ForecastService::by_node`](revgauge_contract::forecast::ForecastService::by_node).
///
/// # Errors
/// `User` for an overlay that names no open deal or for more nodes than one answer holds, `Data` for people who manage
/// each other in a circle.
pub(super) fn by_node(
    present: &Present,
    made: &Made,
    tenant: &Tenant,
    question: &ForecastQuestion,
    settings: &ForecastSettings,
) -> Result<Vec<ForecastNode>, Failure> {
    let asking = Asking::new(present, made, tenant, question, settings)?;
    let mut told = Vec::new();
    for (currency, learnt) in &present.learnt {
        // The draws are made below, node by node.
        if let Some(judged) = asking.judged(currency, learnt, 1) {
            told.extend(of_currency(&asking, currency, learnt, &judged)?);
        }
    }
    Ok(told)
}

/// Sums of a node, and its simulated revenue that is not closed yet.
#[derive(Debug, Clone, Default)]
struct Held {
    closed: f64,
    open: f64,
    not_yet_created: f64,
    draws: Option<Vec<f64>>,
}

impl Held {
    /// Adds the deals of one owner.
    fn add_owner(&mut self, owner: &OwnerExpected, simulation: Simulation) {
        self.closed += owner.closed;
        self.open += owner.open;
        self.not_yet_created += owner.not_yet_created;
        let draws = self.draws.get_or_insert_with(|| vec![0.0; simulation.size()]);
        add_draws(draws, &owner.chances, owner.new.as_slice(), simulation);
    }

    /// Adds a node right below.
    fn add(&mut self, below: Self) {
        self.closed += below.closed;
        self.open += below.open;
        self.not_yet_created += below.not_yet_created;
        match (&mut self.draws, below.draws) {
            (Some(draws), Some(more)) => draws.iter_mut().zip(more).for_each(|(draw, more)| *draw += more),
            (draws @ None, more) => *draws = more,
            (Some(_), None) => {}
        }
    }
}

/// The nodes of one currency, each after the one above it. Cost: a draw for each deal, and for each node a sorting of the
/// draws; of the draws those of one path are held at once.
fn of_currency(
    asking: &Asking<'_>,
    currency: &str,
    learnt: &Learnt,
    judged: &Judged,
) -> Result<Vec<ForecastNode>, Failure> {
    let Asking {
        made,
        tenant,
        question,
        settings,
        ..
    } = *asking;
    let expected = learnt.expected_by_owner(made.owners.as_ref(), &asking.overlays);
    let owners: BTreeSet<&str> = expected.keys().copied().collect();
    let head = question.team_of.as_deref();
    let branches = tree(&tenant.hierarchy, head, made.owners.as_ref(), &owners)?;
    let Judged {
        outlook,
        records,
        submitted,
    } = judged;
    let track = track_record(records, outlook.ended, submitted.is_some());
    let correction = track.correction(&outlook.values, outlook.closed, *submitted);
    let simulation = settings.simulation(settings.draws);
    let mut held = vec![Held::default(); branches.len()];
    let mut told = Vec::with_capacity(branches.len());
    // From below: what is above a branch comes before it.
    for (place, branch) in branches.iter().enumerate().rev() {
        let mut sums = std::mem::take(&mut held[place]);
        if branch.kind == PERSON
            && let Some(owner) = expected.get(branch.name.as_str())
        {
            sums.add_owner(owner, simulation);
        }
        told.push(node(asking, currency, &branches, branch, &sums, correction));
        if let Some(above) = branch.above {
            held[above].add(sums);
        }
    }
    told.reverse();
    Ok(told)
}

fn node(
    asking: &Asking<'_>,
    currency: &str,
    branches: &[Branch],
    branch: &Branch,
    sums: &Held,
    correction: Correction,
) -> ForecastNode {
    let (made, question) = (asking.made, asking.question);
    let above = branch.above.and_then(|above| branches.get(above));
    let closed = sums.closed;
    let mut draws: Vec<f64> = sums.draws.iter().flatten().map(|draw| closed + draw).collect();
    draws.sort_by(f64::total_cmp);
    let median = quantile(&draws, 0.5);
    let Aims { quota, submitted } = aims(asking, currency, branch, above);
    let reached = |quota: f64| {
        let reaches = |draw: &&f64| correction.answered(closed, median, **draw) >= quota;
        draws.iter().filter(reaches).count() as f64 / draws.len().max(1) as f64
    };
    let expected = closed + sums.open + sums.not_yet_created;
    ForecastNode {
        currency: currency.to_owned(),
        period: made.period.name.clone(),
        as_of: asking.present.at,
        start: made.period.start,
        end: made.period.end,
        node: branch.name.clone(),
        node_kind: branch.kind.to_owned(),
        parent: above.map(|above| above.name.clone()),
        parent_kind: above.map(|above| above.kind.to_owned()),
        depth: branch.depth,
        closed,
        open: sums.open,
        not_yet_created: sums.not_yet_created,
        expected,
        value: correction.mean(closed, expected),
        quantiles: wanted(question)
            .into_iter()
            .map(|probability| Quantile {
                probability,
                value: correction.answered(closed, median, quantile(&draws, probability)),
            })
            .collect(),
        quota,
        attainment: quota.map(|quota| closed / quota),
        attainment_probability: quota.map(reached),
        submitted,
    }
}

/// What is aimed at.
#[derive(Default)]
struct Aims {
    quota: Option<f64>,
    submitted: Option<f64>,
}

/// The quota of a node, and the commits of it that stand. Those of somebody with reports are about the whole team, so as a
/// person in its own team it has none.
fn aims(asking: &Asking<'_>, currency: &str, branch: &Branch, above: Option<&Branch>) -> Aims {
    let hierarchy = &asking.tenant.hierarchy;
    if branch.kind == PERSON && above.is_some_and(|above| above.name == branch.name && above.kind != "all") {
        return Aims::default();
    }
    let team = hierarchy.team(&branch.name);
    let people: BTreeSet<&str> = match branch.above {
        None => asking.people.clone(),
        Some(_) if branch.kind == PERSON => BTreeSet::from([branch.name.as_str()]),
        Some(_) => team
            .iter()
            .map(String::as_str)
            .filter(|person| asking.people.contains(person))
            .collect(),
    };
    let period = asking.made.span();
    let told = asking
        .targets
        .submissions(&people, hierarchy, currency, period, None);
    let asked = asking.question.quota.filter(|_| branch.above.is_none());
    Aims {
        quota: asked
            .or_else(|| asking.targets.quota(&people, hierarchy, currency, period))
            .filter(|quota| *quota > 0.0),
        submitted: Targets::submitted(&told, &people, hierarchy, "commit").map(|(committed, _)| committed),
    }
}
