//! Start-up, cut by room: each function makes one room's handle; `Node` holds them all.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use object_store::ObjectStore;
use revgauge_connectors::http::Door;
use revgauge_contract::{
    Clock, Position,
    cut::LakeTable,
    time::SystemClock,
};
use revgauge_journal::{DeadLetterStore, Deduplicator, FeedJournal, Journal, Pump};
use revgauge_lake::Lake;
use revgauge_models::{Definitions, LiveScorer, Scoring};
use revgauge_pipelines::{Runtime, Statistics};
use revgauge_query_api::{Api, KeyStore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    doors,
    run_file::{self, FolderLock},
    settings::Settings,
};
