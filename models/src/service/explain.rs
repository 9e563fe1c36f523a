//! Contributions split down to single recent events.

use arrow::array::{Array as _, RecordBatch};
use revgauge_contract::{
    Timestamp,
    error::Failure,
    event::{Direction, MachineClass},
    schema::{text_column, time_column},
    score::{EntityKind, EntityScores},
    statistics::EntityColumn,
};
use std::sync::Arc;

use super::View;
use crate::{
    explain::{RecentEvent, split_by_events},
    gather::Which,
};

impl View {
    /// Scores with the engagement of a contact split by its recent events; other scores have no single events and come
    /// as they are.
    pub(super) async fn explained(
        &self,
        kind: EntityKind,
        id: &Arc<str>,
        at: Timestamp,
        limit: usize,
    ) -> Result<EntityScores, Failure> {
        let mut entity = self.entity_scores(kind, id, at).await?;
        if kind != EntityKind::Contact {
            return Ok(entity);
        }
        let keys: Vec<String> = self
            .directory
            .read()
            .keys(kind, id)
            .iter()
            .map(ToString::to_string)
            .collect();
        let batches = self
            .source
            .recent_events(
                EntityColumn::Contact,
                &self.tenant_id,
                &keys,
                self.knowledge,
                limit,
            )
            .await?;
        let events: Vec<RecentEvent> = batches.iter().flat_map(recent_events).collect();
        let facts = self.contact_facts(Which::These(std::slice::from_ref(id))).await?;
        if let Some(facts) = facts.first() {
            for score in entity
                .scores
                .iter_mut()
                .filter(|score| score.name == "engagement")
            {
                if score.value.is_some() {
                    score.contributions = split_by_events(&self.definitions, facts, &events, at);
                }
            }
        }
        Ok(entity)
    }
}

fn recent_events(batch: &RecordBatch) -> Vec<RecentEvent> {
    let text = |name| text_column(batch, name);
    let (Some(ids), Some(types), Some(directions), Some(classes), Some(times)) = (
        text("event_id"),
        text("type"),
        text("direction"),
        text("machine_class"),
        time_column(batch, "event_time"),
    ) else {
        return Vec::new();
    };
    (0..batch.num_rows())
        .map(|row| RecentEvent {
            event_id: ids.value(row).to_owned(),
            event_type: types.value(row).to_owned(),
            direction: match directions.value(row) {
                _ if directions.is_null(row) => None,
                "inbound" => Some(Direction::Inbound),
                "outbound" => Some(Direction::Outbound),
                _ => None,
            },
            machine_class: match classes.value(row) {
                "proxy" => MachineClass::Proxy,
                "scanner" => MachineClass::Scanner,
                "bot" => MachineClass::Bot,
                _ => MachineClass::None,
            },
            event_time: Timestamp(times.value(row)),
        })
        .collect()
}
