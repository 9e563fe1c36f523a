//! Directories of all tenants: the live ones, and a few of past instants.

use std::{collections::VecDeque, sync::Arc};

use arrow::array::{Array as _, RecordBatch};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use revgauge_contract::{
    Timestamp,
    error::Failure,
    schema::text_column,
    statistics::{Keys, Knowledge, StatisticsSource},
};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::directory::{Directory, Touched};

/// Pipelines that a directory is built from, with the columns that it reads of them.
const DIRECTORY_PIPELINES: [(&str, &[&str]); 3] = [
    ("crm_state", &["object", "object_id", "field", "latest"]),
    ("contact_engagement", &["contact_key", "email", "account_key"]),
    ("account_signals", &["account_key"]),
];

/// Limits of directories kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DirectorySettings {
    /// Directories of past instants kept for the next question about the same instant.
    pub past_directories: usize,
}

impl Default for DirectorySettings {
    fn default() -> Self {
        Self { past_directories: 8 }
    }
}

type Shared = Arc<RwLock<Directory>>;

/// A live directory takes changes from the first one on; it answers once all rows were read, which happens at its
/// first use. Rows commute, so it does not matter which come first.
#[derive(Debug, Default)]
struct Live {
    directory: Shared,
    loaded: OnceCell<()>,
}

type Past = VecDeque<((Arc<str>, Timestamp), Shared)>;

/// Directories of all tenants.
#[derive(Debug)]
pub struct Directories {
    settings: DirectorySettings,
    live: RwLock<HashMap<Arc<str>, Arc<Live>>>,
    past: Mutex<Past>,
}

impl Directories {
    /// None yet.
    #[must_use]
    pub fn new(settings: DirectorySettings) -> Self {
        Self {
            settings,
            live: RwLock::default(),
            past: Mutex::default(),
        }
    }

    /// Tenants whose live directory is loaded, sorted.
    #[must_use]
    pub fn tenants(&self) -> Vec<Arc<str>> {
        let mut tenants: Vec<_> = self.live.read().keys().cloned().collect();
        tenants.sort();
        tenants
    }

    /// The live directory of a tenant that was heard of, as far as it is filled.
    pub(crate) fn loaded(&self, tenant_id: &str) -> Option<Shared> {
        self.live
            .read()
            .get(tenant_id)
            .map(|live| Arc::clone(&live.directory))
    }

    /// The directory at a state of knowledge. The live one is loaded from all rows at its first use; later changes
    /// come through [`Self::apply`]. One of the past is built from the rows known then, and the last few are kept.
    ///
    /// # Errors
    /// What the statistics met.
    pub async fn get(
        &self,
        source: &dyn StatisticsSource,
        tenant_id: &str,
        knowledge: Knowledge,
    ) -> Result<Shared, Failure> {
        match knowledge {
            Knowledge::Now => self.live(source, tenant_id).await,
            Knowledge::At(at) => self.past(source, tenant_id, at).await,
        }
    }

    async fn live(&self, source: &dyn StatisticsSource, tenant_id: &str) -> Result<Shared, Failure> {
        let live = self.live_of(tenant_id);
        live.loaded
            .get_or_try_init(|| fill(source, tenant_id, Knowledge::Now, &live.directory))
            .await?;
        Ok(Arc::clone(&live.directory))
    }

    fn live_of(&self, tenant_id: &str) -> Arc<Live> {
        let held = self.live.read().get(tenant_id).map(Arc::clone);
        held.unwrap_or_else(|| Arc::clone(self.live.write().entry_ref(tenant_id).or_default()))
    }

    /// Puts directories in place as a checkpoint held them; call before anything is applied. What changed since then comes
    /// through [`Self::refresh`] and [`Self::apply`].
    pub fn install(&self, directories: impl IntoIterator<Item = (Arc<str>, Directory)>) {
        let mut live = self.live.write();
        for (tenant, directory) in directories {
            let held = Live {
                directory: Arc::new(RwLock::new(directory)),
                loaded: OnceCell::new_with(Some(())),
            };
            live.insert(tenant, Arc::new(held));
        }
    }

    /// Reads the rows of some keys of a pipeline again into a tenant's live directory.
    ///
    /// # Errors
    /// What the statistics met.
    pub async fn refresh(
        &self,
        source: &dyn StatisticsSource,
        pipeline: &str,
        tenant_id: &str,
        keys: &[String],
    ) -> Result<(), Failure> {
        let rows = source
            .rows(pipeline, tenant_id, Keys::These(keys), Knowledge::Now)
            .await?;
        for batch in &rows {
            self.apply(pipeline, batch);
        }
        Ok(())
    }

    async fn past(
        &self,
        source: &dyn StatisticsSource,
        tenant_id: &str,
        at: Timestamp,
    ) -> Result<Shared, Failure> {
        let held = |past: &Past| {
            past.iter()
                .find(|((tenant, instant), _)| **tenant == *tenant_id && *instant == at)
                .map(|(_, directory)| Arc::clone(directory))
        };
        if let Some(directory) = held(&self.past.lock()) {
            return Ok(directory);
        }
        let shared = Shared::default();
        fill(source, tenant_id, Knowledge::At(at), &shared).await?;
        let mut past = self.past.lock();
        if held(&past).is_none() {
            past.push_back(((tenant_id.into(), at), Arc::clone(&shared)));
            while past.len() > self.settings.past_directories {
                past.pop_front();
            }
        }
        Ok(shared)
    }

    /// Takes changed rows, of any tenants, into the live directories; answers what they touched by tenant.
    pub fn apply(&self, pipeline: &str, batch: &RecordBatch) -> Vec<(Arc<str>, Touched)> {
        let mut touched = Vec::new();
        for (tenant, rows) in rows_by_tenant(batch) {
            let changes = self
                .live_of(&tenant)
                .directory
                .write()
                .apply_rows(pipeline, batch, &rows);
            touched.push((tenant, changes));
        }
        touched
    }
}

/// Row numbers of a batch by tenant. Batches of one tenant, the usual case, cost one comparison a row.
pub(crate) fn rows_by_tenant(batch: &RecordBatch) -> Vec<(Arc<str>, Vec<usize>)> {
    let Some(tenants) = text_column(batch, "tenant_id") else {
        return Vec::new();
    };
    let mut groups: Vec<(Arc<str>, Vec<usize>)> = Vec::new();
    let mut index: HashMap<Arc<str>, usize> = HashMap::new();
    let mut last = usize::MAX;
    for row in 0..tenants.len() {
        let tenant = tenants.value(row);
        if last == usize::MAX || *groups[last].0 != *tenant {
            last = match index.get(tenant) {
                Some(group) => *group,
                None => {
                    let name: Arc<str> = tenant.into();
                    index.insert(Arc::clone(&name), groups.len());
                    groups.push((name, Vec::new()));
                    groups.len() - 1
                }
            };
        }
        groups[last].1.push(row);
    }
    groups
}

async fn fill(
    source: &dyn StatisticsSource,
    tenant_id: &str,
    knowledge: Knowledge,
    directory: &RwLock<Directory>,
) -> Result<(), Failure> {
    for (pipeline, columns) in DIRECTORY_PIPELINES {
        let mut take = |batch: RecordBatch| directory.write().fill(pipeline, &batch);
        source
            .each_of(pipeline, tenant_id, columns, knowledge, &mut take)
            .await?;
    }
    Ok(())
}
