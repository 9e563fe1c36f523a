//! Who reports to whom in a tenant, and who is below a person?

use std::collections::{BTreeMap, BTreeSet};

use revgauge_contract::{ErrorKind, error::Failure};

use crate::directory::Directory;

/// The people of a tenant by `manager_id`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchy {
    managers: BTreeMap<String, Option<String>>,
}

impl Hierarchy {
    /// From people and their managers. An empty manager is none.
    #[must_use]
    pub fn new(people: impl IntoIterator<Item = (String, Option<String>)>) -> Self {
        let managers = people
            .into_iter()
            .map(|(id, manager)| (id, manager.filter(|manager| !manager.is_empty())));
        Self {
            managers: managers.collect(),
        }
    }

    /// The people that a directory knows.
    #[must_use]
    pub fn of(directory: &Directory) -> Self {
        Self::new(directory.objects("user").into_iter().map(|(id, fields)| {
            let manager = fields.get("manager_id").cloned();
            (id.to_string(), manager)
        }))
    }

    /// The manager of a person.
    #[must_use]
    pub fn manager(&self, person: &str) -> Option<&str> {
        self.managers.get(person)?.as_deref()
    }

    /// Everyone known: with a record, or named as a manager.
    #[must_use]
    pub fn people(&self) -> BTreeSet<&str> {
        let named = self.managers.values().flatten().map(String::as_str);
        self.managers.keys().map(String::as_str).chain(named).collect()
    }

    /// A person, then its manager, and so on to the top. Stops where a person comes again.
    #[must_use]
    pub fn chain<'a>(&'a self, person: &'a str) -> Vec<&'a str> {
        let mut chain = vec![person];
        while let Some(manager) = chain.last().and_then(|last| self.manager(last)) {
            if chain.contains(&manager) {
                break;
            }
            chain.push(manager);
        }
        chain
    }

    /// A person and everyone below; each once, also in a cycle.
    #[must_use]
    pub fn team(&self, head: &str) -> BTreeSet<String> {
        let mut reports: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (person, manager) in &self.managers {
            if let Some(manager) = manager {
                reports.entry(manager).or_default().push(person);
            }
        }
        let mut team = BTreeSet::from([head.to_owned()]);
        let mut waiting = vec![head];
        while let Some(person) = waiting.pop() {
            for report in reports.get(person).into_iter().flatten() {
                if team.insert((*report).to_owned()) {
                    waiting.push(report);
                }
            }
        }
        team
    }

    /// Refuses a hierarchy in which somebody is above itself.
    ///
    /// # Errors
    /// `Data`, naming the people of the first cycle in order.
    pub fn check(&self) -> Result<(), Failure> {
        let mut sound: BTreeSet<&str> = BTreeSet::new();
        for start in self.managers.keys() {
            let mut walked = vec![start.as_str()];
            while let Some(manager) = walked.last().and_then(|last| self.manager(last)) {
                if sound.contains(manager) {
                    break;
                }
                if let Some(place) = walked.iter().position(|person| *person == manager) {
                    let mut cycle: Vec<&str> = walked[place..].to_vec();
                    cycle.push(manager);
                    return Err(Failure::new(
                        ErrorKind::Data,
                        format!(
                            "cannot sum the forecast up the hierarchy: {} manage each other in a circle; correct their \
                             manager_id",
                            cycle.join(" -> ")
                        ),
                    ));
                }
                walked.push(manager);
            }
            sound.extend(walked);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Hierarchy {
        let pairs = pairs
            .iter()
            .map(|(person, manager)| ((*person).to_owned(), Some((*manager).to_owned())));
        Hierarchy::new(pairs)
    }

    #[test]
    fn teams_chains_and_a_cycle_by_name() {
        let sound = of(&[
            ("rep-1", "lead"),
            ("rep-2", "lead"),
            ("lead", "head"),
            ("head", ""),
        ]);
        assert_eq!(sound.team("lead").len(), 3);
        assert_eq!(sound.chain("rep-1"), ["rep-1", "lead", "head"]);
        sound.check().expect("no cycle");
        let broken = of(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]);
        let said = broken.check().expect_err("a cycle").to_string();
        assert!(said.contains("a -> b -> c -> a"), "{said}");
        assert_eq!(broken.team("a").len(), 4);
    }

    proptest! {
        #[test]
        fn a_chain_ends_and_a_sound_team_holds_its_chains(pairs in prop::collection::vec((0u8..12, 0u8..12), 0..20)) {
            let name = |n: u8| format!("p{n}");
            let hierarchy = Hierarchy::new(pairs.iter().map(|(a, b)| (name(*a), Some(name(*b)))));
            let sound = hierarchy.check().is_ok();
            for person in hierarchy.people() {
                for above in hierarchy.chain(person) {
                    prop_assert!(hierarchy.team(above).contains(person));
                }
                let top = hierarchy.chain(person).last().copied().unwrap_or(person);
                prop_assert!(!sound || hierarchy.manager(top).is_none());
            }
        }
    }
}
