//! Which rows of a directory's pipelines events touch, so that they can be read again after a restart.

use std::{collections::BTreeSet, sync::Arc};

use arrow::array::{Array as _, RecordBatch};
use hashbrown::HashMap;
use revgauge_contract::{crm::explode, error::Failure, schema::text_column, statistics::StatisticsSource};

use super::Directories;

/// Keys read again at once.
const KEYS_AT_ONCE: usize = 10_000;

/// Entity keys of one tenant by the pipeline that has them.
#[derive(Debug, Default)]
struct Keys {
    objects: BTreeSet<String>,
    contacts: BTreeSet<String>,
    accounts: BTreeSet<String>,
}

/// Entity keys that events touch, by tenant. Keys too many do no harm: their rows are read and change nothing.
#[derive(Debug, Default)]
pub struct TouchedKeys(HashMap<Arc<str>, Keys>);

impl TouchedKeys {
    /// Notes the keys of a batch of events.
    pub fn add(&mut self, events: &RecordBatch) {
        let columns = ["contact_id", "email", "account_id", "domain"];
        self.note(events, &columns[..2], |keys| &mut keys.contacts);
        self.note(events, &columns[2..], |keys| &mut keys.accounts);
        self.note(&explode(events), &["object_id"], |keys| &mut keys.objects);
    }

    fn note(
        &mut self,
        batch: &RecordBatch,
        columns: &[&str],
        of: impl Fn(&mut Keys) -> &mut BTreeSet<String>,
    ) {
        let Some(tenants) = text_column(batch, "tenant_id") else {
            return;
        };
        for column in columns.iter().filter_map(|name| text_column(batch, name)) {
            for row in (0..batch.num_rows()).filter(|row| !column.is_null(*row)) {
                let keys = of(self.0.entry_ref(tenants.value(row)).or_default());
                if !keys.contains(column.value(row)) {
                    keys.insert(column.value(row).to_owned());
                }
            }
        }
    }

    /// Reads the rows of the noted keys again into the live directories.
    ///
    /// # Errors
    /// What the statistics met.
    pub async fn refresh(
        &self,
        directories: &Directories,
        source: &dyn StatisticsSource,
    ) -> Result<(), Failure> {
        for (tenant, keys) in &self.0 {
            let pipelines = [
                ("crm_state", &keys.objects),
                ("contact_engagement", &keys.contacts),
                ("account_signals", &keys.accounts),
            ];
            for (pipeline, keys) in pipelines {
                let keys: Vec<String> = keys.iter().cloned().collect();
                for keys in keys.chunks(KEYS_AT_ONCE) {
                    directories.refresh(source, pipeline, tenant, keys).await?;
                }
            }
        }
        Ok(())
    }
}
