//! Of which teams and people does an answer tell, and who stands above whom in it?

use std::collections::{BTreeMap, BTreeSet};

use revgauge_contract::error::Failure;

use super::{outlook::Owners, question::user};
use crate::hierarchy::Hierarchy;

/// Most teams and people of one answer.
const MOST_NODES: usize = 1_000;

/// Kind of the node of everyone.
const ALL: &str = "all";
/// Kind of a person and everyone below.
const TEAM: &str = "team";
/// Kind of a person alone.
pub(super) const PERSON: &str = "person";

/// Whose forecast is judged: a name, and the owners whose deals count; all when absent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) owners: Option<BTreeSet<String>>,
}

/// Everyone asked about, then each team and each person among them.
///
/// # Errors
/// `User` for more of them than one answer holds.
pub(super) fn nodes(
    hierarchy: &Hierarchy,
    head: Option<&str>,
    owners: Owners<'_>,
) -> Result<Vec<Node>, Failure> {
    let mut nodes = vec![Node {
        name: head.unwrap_or_default().to_owned(),
        kind: if head.is_some() { TEAM } else { ALL },
        owners: owners.cloned(),
    }];
    for person in hierarchy.people() {
        if owners.is_some_and(|owners| !owners.contains(person)) {
            continue;
        }
        let team = hierarchy.team(person);
        if team.len() > 1 && head != Some(person) {
            let seen = |one: &String| owners.is_none_or(|owners| owners.contains(one));
            nodes.push(Node {
                name: person.to_owned(),
                kind: TEAM,
                owners: Some(team.into_iter().filter(seen).collect()),
            });
        }
        nodes.push(Node {
            name: person.to_owned(),
            kind: PERSON,
            owners: Some(BTreeSet::from([person.to_owned()])),
        });
    }
    few(nodes.len()).map(|()| nodes)
}

fn few(nodes: usize) -> Result<(), Failure> {
    if nodes <= MOST_NODES {
        return Ok(());
    }
    Err(user(format!(
        "cannot tell of {nodes} teams and people at once: ask about a team of at most {MOST_NODES}"
    )))
}

/// A node of the tree that [`tree`] makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Branch {
    /// A person; empty for all.
    pub(super) name: String,
    pub(super) kind: &'static str,
    /// Place of the one above; none above the first.
    pub(super) above: Option<usize>,
    /// Steps from the first.
    pub(super) depth: u32,
}

/// The tree over the owners of deals: first everyone asked about, each other branch after the one above it.
///
/// Somebody with owners below is a team, in which it stands as a person as well where it owns deals itself, so what the
/// branches right below a branch hold is what it holds. Where only some people may be seen, an owner stands below the
/// nearest of those above that is among them; an owner that the hierarchy does not know stands right below the first.
///
/// # Errors
/// `Data` for people who manage each other in a circle, `User` for more branches than one answer holds.
pub(super) fn tree(
    hierarchy: &Hierarchy,
    head: Option<&str>,
    seen: Owners<'_>,
    owners: &BTreeSet<&str>,
) -> Result<Vec<Branch>, Failure> {
    hierarchy.check()?;
    let mut below: BTreeMap<Option<&str>, BTreeSet<&str>> = BTreeMap::new();
    for owner in owners.iter().filter(|owner| head != Some(**owner)) {
        let mut person = *owner;
        let above = hierarchy.chain(owner).into_iter().skip(1);
        for manager in above.take_while(|manager| head != Some(*manager)) {
            if seen.is_none_or(|seen| seen.contains(manager)) {
                // Its own reports may be told already, its place above not.
                below.entry(Some(manager)).or_default().insert(person);
                person = manager;
            }
        }
        below.entry(None).or_default().insert(person);
    }
    let mut branches = vec![Branch {
        name: head.unwrap_or_default().to_owned(),
        kind: if head.is_some() { TEAM } else { ALL },
        above: None,
        depth: 0,
    }];
    let person = |name: &str, above: usize, depth: u32| Branch {
        name: name.to_owned(),
        kind: PERSON,
        above: Some(above),
        depth,
    };
    if let Some(head) = head.filter(|head| owners.contains(head)) {
        branches.push(person(head, 0, 1));
    }
    let mut waiting: Vec<(&str, usize, u32)> = reports(&below, None).map(|name| (name, 0, 1)).collect();
    while let Some((name, above, depth)) = waiting.pop() {
        if !below.contains_key(&Some(name)) {
            branches.push(person(name, above, depth));
            continue;
        }
        let place = branches.len();
        branches.push(Branch {
            kind: TEAM,
            ..person(name, above, depth)
        });
        if owners.contains(name) {
            branches.push(person(name, place, depth + 1));
        }
        waiting.extend(reports(&below, Some(name)).map(|report| (report, place, depth + 1)));
    }
    few(branches.len()).map(|()| branches)
}

/// Who stands right below somebody, the last first.
fn reports<'n>(
    below: &BTreeMap<Option<&'n str>, BTreeSet<&'n str>>,
    above: Option<&'n str>,
) -> impl Iterator<Item = &'n str> {
    below.get(&above).into_iter().flatten().rev().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(branches: &[Branch]) -> Vec<(&str, &str, Option<&str>)> {
        let of = |branch: &Branch| branch.above.map(|above| branches[above].name.as_str());
        branches
            .iter()
            .map(|branch| (branch.name.as_str(), branch.kind, of(branch)))
            .collect()
    }

    #[test]
    fn a_head_that_sells_is_a_team_and_a_person_in_it() {
        let pairs = [
            ("rep-1", "lead"),
            ("rep-2", "lead"),
            ("lead", "head"),
            ("rep-3", "head"),
        ];
        let hierarchy = Hierarchy::new(pairs.map(|(one, above)| (one.to_owned(), Some(above.to_owned()))));
        let owners = BTreeSet::from(["rep-1", "rep-2", "rep-3", "lead", "left", ""]);
        let all = tree(&hierarchy, None, None, &owners).expect("a tree");
        let expected = [
            ("", "all", None),
            ("", "person", Some("")),
            ("head", "team", Some("")),
            ("lead", "team", Some("head")),
            ("lead", "person", Some("lead")),
            ("rep-1", "person", Some("lead")),
            ("rep-2", "person", Some("lead")),
            ("rep-3", "person", Some("head")),
            ("left", "person", Some("")),
        ];
        assert_eq!(told(&all), expected);
        // Of a team, its head first.
        let team = BTreeSet::from(["rep-1", "lead"]);
        let of_team = tree(&hierarchy, Some("lead"), None, &team).expect("a tree");
        let expected = [
            ("lead", "team", None),
            ("lead", "person", Some("lead")),
            ("rep-1", "person", Some("lead")),
        ];
        assert_eq!(told(&of_team), expected);
        // Who may not see the lead is not told of it.
        let seen: BTreeSet<String> = ["rep-1", "head"].map(str::to_owned).into();
        let some = tree(&hierarchy, None, Some(&seen), &BTreeSet::from(["rep-1"])).expect("a tree");
        let expected = [
            ("", "all", None),
            ("head", "team", Some("")),
            ("rep-1", "person", Some("head")),
        ];
        assert_eq!(told(&some), expected);
    }

    proptest! {
        #[test]
        fn every_owner_stands_once_below_those_above_it(
            managers in prop::collection::vec(0usize..20, 0..20), owners in prop::collection::btree_set(0usize..24, 1..24),
        ) {
            let name = |n: usize| format!("p{n}");
            // Somebody reports to one before it, or to nobody: no circle.
            let pairs = managers.iter().enumerate().map(|(n, manager)| (name(n), (*manager < n).then(|| name(*manager))));
            let hierarchy = Hierarchy::new(pairs);
            let names: Vec<String> = owners.iter().map(|n| name(*n)).collect();
            let owners: BTreeSet<&str> = names.iter().map(String::as_str).collect();
            let branches = tree(&hierarchy, None, None, &owners).expect("a tree");
            let mut people: Vec<&str> = branches.iter().filter(|one| one.kind == PERSON).map(|one| one.name.as_str()).collect();
            people.sort_unstable();
            prop_assert_eq!(people, owners.into_iter().collect::<Vec<_>>());
            for (place, branch) in branches.iter().enumerate().skip(1) {
                let above = branch.above.expect("one above");
                prop_assert!(above < place && branch.depth == branches[above].depth + 1);
                let manager = if branches[above].name == branch.name { Some(branch.name.as_str()) } else { hierarchy.manager(&branch.name) };
                prop_assert_eq!(manager.unwrap_or_default(), branches[above].name.as_str());
            }
        }
    }
}
