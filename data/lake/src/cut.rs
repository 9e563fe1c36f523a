//! One consistent cut: the files of one commit and the tail above its position (L-2).

use std::time::Duration;

use revgauge_contract::{Position, cut::Cut, invariant::Invariant};
use tokio::time::timeout;

use crate::{error::LakeError, table::Table};

impl Table {
    /// A cut that holds at least everything acknowledged before the call.
    pub(crate) async fn cut(&self) -> Result<Cut, LakeError> {
        self.wait_for_acknowledged().await?;
        Ok(self.delivered_cut())
    }

    /// A cut that holds what has been delivered by now.
    pub(crate) fn delivered_cut(&self) -> Cut {
        let shared = self.shared.lock();
        let cut = Cut {
            table: self.layout.table,
            lake_position: shared.position,
            position: shared.delivered,
            files: self.data_files(&shared.files),
            tail: shared.tail.batches(),
        };
        let above = shared
            .tail
            .first()
            .is_none_or(|first| first == shared.position.next());
        Invariant::ConsistentCut.check(
            above && cut.position >= cut.lake_position,
            format_args!(
                "tail starts at {:?} over {}",
                shared.tail.first(),
                shared.position
            ),
        );
        cut
    }

    async fn wait_for_acknowledged(&self) -> Result<(), LakeError> {
        let acknowledged = self
            .acknowledged
            .lock()
            .as_ref()
            .map(|receiver| *receiver.borrow());
        let wanted = acknowledged.unwrap_or(Position::START);
        let waited_ms = self.settings.cut_wait_ms;
        let mut delivered = self.delivered.subscribe();
        let reached = delivered.wait_for(|held| *held >= wanted);
        match timeout(Duration::from_millis(waited_ms), reached).await {
            Ok(_) => Ok(()),
            Err(_) => Err(LakeError::Behind {
                table: self.name(),
                held: *self.delivered.borrow(),
                wanted,
                waited_ms,
            }),
        }
    }
}
