//! The bounded queue between the callers of `append` and the task that writes.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use parking_lot::Mutex;
use revgauge_contract::Position;
use tokio::sync::{Notify, oneshot};

use crate::{JournalError, JournalName, JournalSettings};

/// One append that waits for its commit.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) batch: RecordBatch,
    pub(crate) covers: Position,
    pub(crate) bytes: usize,
    pub(crate) answer: oneshot::Sender<Result<Position, JournalError>>,
}

impl Waiting {
    /// What it counts for; an empty batch counts too, so that they cannot pile up without bound.
    fn rows(&self) -> usize {
        self.batch.num_rows().max(1)
    }
}

/// Appends in the order of their arrival.
#[derive(Debug)]
pub(crate) struct Queue {
    journal: JournalName,
    limits: Limits,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct Limits {
    queue_rows: usize,
    queue_bytes: usize,
    object_rows: usize,
    object_bytes: usize,
    encode_ahead_rows: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    rows: usize,
    bytes: usize,
    /// Groups taken and not yet answered.
    in_flight: usize,
    closed: Option<JournalError>,
}

impl Queue {
    pub(crate) fn new(journal: JournalName, settings: &JournalSettings) -> Self {
        Self {
            journal,
            limits: Limits {
                queue_rows: settings.queue_rows,
                queue_bytes: settings.queue_bytes,
                object_rows: settings.object_rows,
                object_bytes: settings.object_bytes,
                encode_ahead_rows: settings.encode_ahead_rows,
            },
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Queues an append. One that is larger than the whole queue is taken when nothing else waits.
    pub(crate) fn push(&self, waiting: Waiting) -> Result<(), JournalError> {
        let mut state = self.state.lock();
        if let Some(error) = &state.closed {
            return Err(error.clone());
        }
        let rows = state.rows + waiting.rows();
        let bytes = state.bytes + waiting.bytes;
        if (rows > self.limits.queue_rows || bytes > self.limits.queue_bytes) && !state.waiting.is_empty() {
            return Err(JournalError::QueueFull {
                journal: self.journal.as_str(),
                rows: state.rows,
                bytes: state.bytes,
            });
        }
        (state.rows, state.bytes) = (rows, bytes);
        state.waiting.push_back(waiting);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// The next group, in order; `None` once the queue is closed and empty.
    ///
    /// At once when nothing is in flight; while an object is being written it waits for enough rows to make encoding
    /// ahead worth it, so that small appends gather instead of becoming small objects.
    pub(crate) async fn take(&self) -> Option<Vec<Waiting>> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state.lock();
                let enough = state.in_flight == 0
                    || state.rows >= self.limits.encode_ahead_rows
                    || state.closed.is_some();
                if !state.waiting.is_empty() && enough {
                    state.in_flight += 1;
                    return Some(self.group(&mut state));
                }
                if state.waiting.is_empty() && state.closed.is_some() {
                    return None;
                }
            }
            changed.await;
        }
    }

    fn group(&self, state: &mut State) -> Vec<Waiting> {
        let (mut rows, mut bytes) = (0, 0);
        let mut group = Vec::new();
        while let Some(next) = state.waiting.front() {
            rows += next.rows();
            bytes += next.bytes;
            let full = rows > self.limits.object_rows || bytes > self.limits.object_bytes;
            if full && !group.is_empty() {
                break;
            }
            if let Some(next) = state.waiting.pop_front() {
                state.rows -= next.rows();
                state.bytes -= next.bytes;
                group.push(next);
            }
        }
        group
    }

    /// A group was answered.
    pub(crate) fn answered(&self) {
        self.state.lock().in_flight -= 1;
        self.changed.notify_one();
    }

    /// Takes nothing more; what waits is still written.
    pub(crate) fn close(&self) {
        let journal = self.journal.as_str();
        self.state
            .lock()
            .closed
            .get_or_insert(JournalError::Closed { journal });
        self.changed.notify_one();
    }

    /// Takes nothing more and answers all that waits with the error.
    pub(crate) fn fail(&self, error: &JournalError) {
        let waiting = {
            let mut state = self.state.lock();
            state.closed = Some(error.clone());
            (state.rows, state.bytes) = (0, 0);
            std::mem::take(&mut state.waiting)
        };
        self.changed.notify_one();
        for one in waiting {
            // A caller that went away needs no answer.
            let _ = one.answer.send(Err(error.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::Int64Array,
        datatypes::{DataType, Field, Schema},
    };

    use super::*;

    fn waiting(rows: i64) -> Waiting {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        Waiting {
            batch: RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(0..rows))])
                .expect("batch"),
            covers: Position::START,
            bytes: 8 * rows as usize,
            answer: oneshot::channel().0,
        }
    }

    fn small() -> Queue {
        let settings = JournalSettings {
            queue_rows: 100,
            object_rows: 40,
            encode_ahead_rows: 20,
            ..JournalSettings::default()
        };
        Queue::new(JournalName::Events, &settings)
    }

    async fn taken(queue: &Queue) -> Vec<usize> {
        let group = queue.take().await.expect("open");
        group.iter().map(|waiting| waiting.batch.num_rows()).collect()
    }

    #[tokio::test]
    async fn groups_gather_while_one_is_in_flight() {
        let queue = small();
        queue.push(waiting(1)).expect("room");
        assert_eq!(taken(&queue).await, [1], "idle: at once");
        queue.push(waiting(10)).expect("room");
        let mut next = std::pin::pin!(taken(&queue));
        assert!(futures::poll!(&mut next).is_pending(), "not worth encoding ahead");
        queue.push(waiting(10)).expect("room");
        assert_eq!(next.await, [10, 10]);
        queue.push(waiting(0)).expect("room");
        queue.answered();
        queue.answered();
        assert_eq!(taken(&queue).await, [0]);
    }

    #[tokio::test]
    async fn objects_and_the_queue_have_limits() {
        let queue = small();
        for rows in [30, 30, 40] {
            queue.push(waiting(rows)).expect("room");
        }
        let full = queue.push(waiting(1)).expect_err("full");
        assert!(matches!(full, JournalError::QueueFull { rows: 100, .. }));
        assert_eq!(taken(&queue).await, [30]);
        assert_eq!(taken(&queue).await, [30]);
        assert_eq!(taken(&queue).await, [40]);
        queue.push(waiting(1_000)).expect("alone it is taken");
        assert_eq!(taken(&queue).await, [1_000]);
    }

    #[tokio::test]
    async fn a_closed_queue_drains_and_a_failed_one_answers() {
        let queue = small();
        queue.push(waiting(1)).expect("room");
        queue.close();
        assert!(queue.push(waiting(1)).is_err());
        assert_eq!(taken(&queue).await, [1]);
        assert!(queue.take().await.is_none());

        let queue = small();
        let (answer, answered) = oneshot::channel();
        queue.push(Waiting { answer, ..waiting(1) }).expect("room");
        queue.fail(&JournalError::Task("writes"));
        assert!(matches!(
            answered.await.expect("answered"),
            Err(JournalError::Task(_))
        ));
    }
}
