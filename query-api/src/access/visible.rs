//! The records one person may see, as sets of their keys; computed from who owns what now, kept for a moment.

use std::{collections::HashSet, sync::Arc};

use revgauge_contract::{
    access::{Caller, Colleague, Owned, Ownership},
    error::Failure,
    score::EntityKind,
};

use super::rules::Rows;

/// Keys of all records one person may see.
#[derive(Debug, Default)]
pub(crate) struct Visible {
    /// CRM users whose records these are.
    pub(crate) owners: HashSet<String>,
    contacts: HashSet<Arc<str>>,
    accounts: HashSet<Arc<str>>,
    deals: HashSet<Arc<str>>,
}

impl Visible {
    /// Reads who owns what. Costs one pass over the tenant's records.
    pub(super) async fn of(
        caller: &Caller,
        rows: &[Rows],
        ownership: &dyn Ownership,
    ) -> Result<Self, Failure> {
        let colleagues = ownership.colleagues(&caller.tenant_id).await?;
        let owners = owners(caller, rows, &colleagues);
        let rights = &caller.rights;
        let same = |own: &Option<String>, wanted: &Option<String>| wanted.is_some() && own == wanted;
        let keep = |record: &Owned| {
            let owner = record.owner_id.as_ref();
            owner.is_some_and(|owner| owners.contains(owner))
                || (owner.is_none() && rows.contains(&Rows::Unowned))
                || (rows.contains(&Rows::Team) && same(&record.team, &rights.team))
                || (rows.contains(&Rows::Territory) && same(&record.territory, &rights.territory))
        };
        let kept = ownership.owned(&caller.tenant_id, &keep).await?;
        let mut visible = Self::default();
        for record in kept {
            if let Some(keys) = visible.keys_mut(record.entity_kind) {
                keys.extend(record.keys);
            }
        }
        visible.owners = owners;
        Ok(visible)
    }

    fn keys_mut(&mut self, kind: EntityKind) -> Option<&mut HashSet<Arc<str>>> {
        match kind {
            EntityKind::Contact => Some(&mut self.contacts),
            EntityKind::Account => Some(&mut self.accounts),
            EntityKind::Deal => Some(&mut self.deals),
            EntityKind::Tenant => None,
        }
    }

    /// Whether the record with this key may be seen. What is about the tenant as a whole may.
    pub(crate) fn holds(&self, kind: EntityKind, key: &str) -> bool {
        match kind {
            EntityKind::Contact => self.contacts.contains(key),
            EntityKind::Account => self.accounts.contains(key),
            EntityKind::Deal => self.deals.contains(key),
            EntityKind::Tenant => true,
        }
    }
}

/// The CRM users whose records a rule gives. A cycle in the hierarchy is walked once.
fn owners(caller: &Caller, rows: &[Rows], colleagues: &[Colleague]) -> HashSet<String> {
    let rights = &caller.rights;
    let mut owners = HashSet::new();
    if let Some(user) = &rights.user_id {
        if rows.contains(&Rows::Hierarchy) {
            let mut below = HashSet::from([user.as_str()]);
            loop {
                let found: Vec<&str> = colleagues
                    .iter()
                    .filter(|colleague| {
                        let manager = colleague.manager_id.as_deref();
                        !below.contains(colleague.user_id.as_str())
                            && manager.is_some_and(|manager| below.contains(manager))
                    })
                    .map(|colleague| colleague.user_id.as_str())
                    .collect();
                if found.is_empty() {
                    break;
                }
                below.extend(found);
            }
            below.remove(user.as_str());
            owners.extend(below.into_iter().map(str::to_owned));
        }
        if rows.contains(&Rows::Own) {
            owners.insert(user.clone());
        }
    }
    let mut of_same = |grant: Rows, wanted: &Option<String>, of: fn(&Colleague) -> &Option<String>| {
        if rows.contains(&grant) && wanted.is_some() {
            let same = colleagues.iter().filter(|colleague| of(colleague) == wanted);
            owners.extend(same.map(|colleague| colleague.user_id.clone()));
        }
    };
    of_same(Rows::Team, &rights.team, |colleague| &colleague.team);
    of_same(Rows::Territory, &rights.territory, |colleague| {
        &colleague.territory
    });
    owners
}

#[cfg(test)]
mod tests {
    use revgauge_contract::access::{Rights, Role};

    use super::*;

    fn people() -> Vec<Colleague> {
        let person = |user: &str, manager: Option<&str>, team: &str| Colleague {
            user_id: user.to_owned(),
            manager_id: manager.map(str::to_owned),
            team: Some(team.to_owned()),
            ..Colleague::default()
        };
        vec![
            // A cycle: a and b report to each other.
            person("a", Some("b"), "east"),
            person("b", Some("a"), "east"),
            person("c", Some("b"), "west"),
            person("d", None, "west"),
        ]
    }

    #[test]
    fn grants_add_up_and_count_only_for_who_has_what_they_ask() {
        let whose = |user: Option<&str>, team: Option<&str>, rows: &[Rows]| {
            let rights = Rights {
                user_id: user.map(str::to_owned),
                team: team.map(str::to_owned),
                ..Rights::default()
            };
            let caller = Caller::new("t", "k", Role::Manager).with_rights(rights);
            let mut found: Vec<String> = owners(&caller, rows, &people()).into_iter().collect();
            found.sort();
            found.join(",")
        };
        assert_eq!(whose(Some("b"), None, &[Rows::Own]), "b");
        assert_eq!(whose(Some("b"), None, &[Rows::Hierarchy]), "a,c");
        assert_eq!(whose(Some("b"), Some("west"), &[Rows::Own, Rows::Team]), "b,c,d");
        assert_eq!(whose(None, None, &[Rows::Own, Rows::Hierarchy, Rows::Team]), "");
    }
}
