//! One model that is there, for the doors.

use async_trait::async_trait;
use revgauge_contract::{
    ErrorKind, Timestamp,
    error::Failure,
    models::{
        Comparison, Drift, HeldOut, ModelEntry, ModelService, ModelStanding, ModelTarget, Trained,
        TrainingQuestion,
    },
};
use serde_json::{Value, json};

/// Version 1 serves; there is no other.
pub(super) struct Kept;

const HELD_OUT: HeldOut = HeldOut {
    rows: 200,
    log_loss: 0.5,
    calibration_error: 0.03,
    auc: 0.75,
    base_rate_log_loss: 0.65,
};

fn entry() -> ModelEntry {
    ModelEntry {
        target: ModelTarget::Deals,
        version: 1,
        standing: ModelStanding::Serving,
        trained_at: Timestamp(1_700_000_000_000_000),
        rows: 1000,
        won: 300,
        signal: true,
        held_out: HELD_OUT,
        sha256: "ab".repeat(32),
    }
}

fn only_one(version: u32) -> Result<(), Failure> {
    if version == 1 {
        return Ok(());
    }
    let message =
        format!("no version {version} of the model of deals: list the models to see which there are");
    Err(Failure::new(ErrorKind::NotFound, message))
}

#[async_trait]
impl ModelService for Kept {
    async fn list(&self, _: &str) -> Result<Vec<ModelEntry>, Failure> {
        Ok(vec![entry()])
    }

    async fn card(&self, _: &str, _: ModelTarget, version: Option<u32>) -> Result<Value, Failure> {
        only_one(version.unwrap_or(1))?;
        Ok(json!({"choice": "of a test", "markdown": "# Model card"}))
    }

    async fn train(&self, _: &str, _: ModelTarget, question: &TrainingQuestion) -> Result<Trained, Failure> {
        Ok(Trained {
            entry: entry(),
            refused: vec![("field:status".to_owned(), "ranks outcomes alone".to_owned())],
            choice: "of a test".to_owned(),
            promotion: question
                .promote
                .then(|| "promoted: nothing served before".to_owned()),
            seconds: [0.1, 0.2],
        })
    }

    async fn promote(&self, _: &str, _: ModelTarget, version: u32, _: bool) -> Result<ModelEntry, Failure> {
        only_one(version).map(|()| entry())
    }

    async fn rollback(&self, _: &str, _: ModelTarget) -> Result<ModelEntry, Failure> {
        Ok(entry())
    }

    async fn shadow(&self, _: &str, _: ModelTarget, version: Option<u32>) -> Result<(), Failure> {
        only_one(version.unwrap_or(1))
    }

    async fn compare(&self, _: &str, _: ModelTarget, versions: [u32; 2]) -> Result<Comparison, Failure> {
        Ok(Comparison {
            versions,
            rows: 200,
            measures: [HELD_OUT; 2],
            mean_difference: 0.0,
        })
    }

    async fn drift(&self, _: &str, _: ModelTarget) -> Result<Drift, Failure> {
        Ok(Drift {
            version: 1,
            columns: vec![("stage".to_owned(), 0.02)],
            outcomes: 40,
            mean_probability: 0.3,
            win_rate: 0.32,
            standard_error: 0.07,
            alarms: Vec::new(),
        })
    }
}
