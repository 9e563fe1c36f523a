//! Who has which contact, account and deal: read from the directory alone, for the row rules of the doors.

use async_trait::async_trait;
use revgauge_contract::{
    access::{Colleague, Owned, Ownership},
    error::Failure,
    score::EntityKind,
    statistics::Knowledge,
};

use super::Scoring;
use crate::facts::Fields;

/// CRMs name team and territory with and without `_id`.
fn first(fields: &Fields, names: [&str; 2]) -> Option<String> {
    names.iter().find_map(|name| fields.get(*name).cloned())
}

#[async_trait]
impl Ownership for Scoring {
    async fn colleagues(&self, tenant_id: &str) -> Result<Vec<Colleague>, Failure> {
        let directory = self.directories.get(&*self.source, tenant_id, Knowledge::Now);
        let people = directory.await?.read().objects("user");
        Ok(people
            .into_iter()
            .map(|(id, fields)| Colleague {
                user_id: id.to_string(),
                name: fields.get("name").cloned(),
                role: fields.get("role").cloned(),
                manager_id: fields.get("manager_id").cloned(),
                team: first(&fields, ["team", "team_id"]),
                territory: first(&fields, ["territory", "territory_id"]),
            })
            .collect())
    }

    async fn owned(
        &self,
        tenant_id: &str,
        keep: &(dyn for<'a> Fn(&'a Owned) -> bool + Send + Sync),
    ) -> Result<Vec<Owned>, Failure> {
        let directory = self
            .directories
            .get(&*self.source, tenant_id, Knowledge::Now)
            .await?;
        let directory = directory.read();
        let mut kept = Vec::new();
        for entity_kind in [EntityKind::Contact, EntityKind::Account, EntityKind::Deal] {
            for id in directory.ids(entity_kind) {
                let fields = directory.fields(entity_kind, &id);
                let mut owned = Owned {
                    entity_kind,
                    keys: Vec::new(),
                    owner_id: fields.get("owner_id").cloned().filter(|owner| !owner.is_empty()),
                    team: first(&fields, ["team", "team_id"]),
                    territory: first(&fields, ["territory", "territory_id"]),
                };
                if keep(&owned) {
                    owned.keys = directory.keys(entity_kind, &id);
                    owned.keys.push(id);
                    kept.push(owned);
                }
            }
        }
        Ok(kept)
    }
}
