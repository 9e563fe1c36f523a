//! What a pipeline is and how it runs, for people.

use serde::Serialize;

use crate::{catalog::Pipeline, engine::StateStatistics, error::PipelineError, runtime::Runtime};

/// A column of a pipeline's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedColumn {
    /// SQL name.
    pub name: String,
    /// Arrow type.
    pub data_type: String,
    /// Whether it may be NULL.
    pub nullable: bool,
}

/// A pipeline explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Name of the pipeline and of its table.
    pub name: &'static str,
    /// One line for people.
    pub description: &'static str,
    /// What a row is about.
    pub entity: &'static str,
    /// Column with the entity's key.
    pub key: &'static str,
    /// The file.
    pub sql: &'static str,
    /// DataFusion's plan, which the engine cuts at its aggregation.
    pub plan: String,
    /// Whether rows are kept as state (else the pipeline is an append-only projection, read from the lake).
    pub incremental: bool,
    /// Output columns.
    pub columns: Vec<ExplainedColumn>,
    /// Size of the live state.
    pub state: StateStatistics,
}

impl Runtime {
    /// Explains a pipeline.
    ///
    /// # Errors
    /// `Unknown` when there is none of that name.
    pub fn explain(&self, name: &str) -> Result<Explanation, PipelineError> {
        let plan = self.plan(name)?;
        let Pipeline {
            name,
            sql,
            description,
            entity,
            key,
        } = plan.pipeline;
        let columns = plan.output.fields().iter().map(|field| ExplainedColumn {
            name: field.name().clone(),
            data_type: field.data_type().to_string(),
            nullable: field.is_nullable(),
        });
        Ok(Explanation {
            name,
            description,
            entity,
            key,
            sql,
            plan: plan.text.clone(),
            incremental: plan.aggregation.is_some(),
            columns: columns.collect(),
            state: self.statistics(name)?,
        })
    }
}
