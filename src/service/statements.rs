//! Statements: each has an id before there is a session for it, one task that owns it, and outlives the call that
//! started it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::results::{Results, Weight};
use crate::model::{
    Code, Error, OwnerId, Progress, Result, SessionName, StatementId, StatementState,
    StatementView, TargetName,
};

/// Finished statements that are kept at most, and what they may hold together: whichever comes first. A result on
/// disk holds a descriptor, of which a process may have 256 (macOS) or 1,024 (Linux).
const KEPT_STATEMENTS: usize = 500;
const KEPT: Weight = Weight {
    memory: 64 * 1024 * 1024,
    disk: 1024 * 1024 * 1024,
    files: 64,
};

/// Every statement of the process that is running or still kept. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Statements {
    all: Arc<Mutex<HashMap<StatementId, Arc<Record>>>>,
    keep: Duration,
    pub(super) folder: Arc<PathBuf>,
}

/// One statement.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: StatementId,
    pub(super) owner: OwnerId,
    pub(super) target: TargetName,
    pub(super) session: Option<SessionName>,
    /// The caller asked for its end.
    pub(super) cancel: CancellationToken,
    engine: String,
    started: Instant,
    phase: watch::Sender<Phase>,
    results: Mutex<Results>,
    /// What its results hold, weighed once at its end.
    weight: OnceLock<Weight>,
}

/// What a waiting call watches.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    pub(super) state: StatementState,
    pub(super) progress: Option<Progress>,
    pub(super) error: Option<Error>,
    pub(super) ended: Option<Instant>,
}

impl Statements {
    /// Keeps finished statements for `keep`, and large results as unnamed files in `folder`.
    pub(super) fn new(keep: Duration, folder: PathBuf) -> Self {
        Self {
            all: Arc::default(),
            keep,
            folder: Arc::new(folder),
        }
    }

    /// Accepts a statement: from here on it has an id.
    pub(super) fn accept(
        &self,
        owner: &OwnerId,
        target: &TargetName,
        session: Option<SessionName>,
        engine: &str,
    ) -> Arc<Record> {
        let (phase, _) = watch::channel(Phase {
            state: StatementState::Queued,
            progress: None,
            error: None,
            ended: None,
        });
        let record = Arc::new(Record {
            id: StatementId::random(),
            owner: owner.clone(),
            target: target.clone(),
            session,
            cancel: CancellationToken::new(),
            engine: engine.to_owned(),
            started: Instant::now(),
            phase,
            results: Mutex::new(Results::new()),
            weight: OnceLock::new(),
        });
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        forget(&mut all, self.keep);
        all.insert(record.id.clone(), record.clone());
        record
    }

    /// A statement of this owner. One of another owner is answered as one that never was.
    ///
    /// # Errors
    /// `not_found`.
    pub(super) fn find(&self, owner: &OwnerId, id: &StatementId) -> Result<Arc<Record>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        forget(&mut all, self.keep);
        all.get(id)
            .filter(|record| record.owner == *owner)
            .cloned()
            .ok_or_else(|| {
                Error::new(
                    Code::NotFound,
                    format!(
                        "there is no statement {id}: results are kept for {} min and make room for newer ones",
                        self.keep.as_secs() / 60
                    ),
                )
                .hint("Run the statement again with query_sql, run_sql or run_pyspark.")
            })
    }

    /// Asks every statement that has not ended to end: of one owner, or of all.
    pub(super) fn cancel_all(&self, owner: Option<&OwnerId>) {
        self.cancel(|record| owner.is_none_or(|owner| record.owner == *owner));
    }

    /// Asks the statements of a named session to end.
    pub(super) fn cancel_session(&self, owner: &OwnerId, name: &SessionName) {
        self.cancel(|record| record.owner == *owner && record.session.as_ref() == Some(name));
    }

    fn cancel(&self, which: impl Fn(&Record) -> bool) {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for record in all.values().filter(|record| which(record)) {
            record.cancel.cancel();
        }
    }

    /// Forgets what was kept for an owner that is gone.
    pub(super) fn forget_owner(&self, owner: &OwnerId) {
        self.all
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, r| r.owner != *owner || !r.state().is_final());
    }
}

/// Removes what has been kept long enough, and the oldest when there is too much.
fn forget(all: &mut HashMap<StatementId, Arc<Record>>, keep: Duration) {
    let now = Instant::now();
    all.retain(|_, r| {
        r.phase
            .borrow()
            .ended
            .is_none_or(|at| now.duration_since(at) < keep)
    });
    let mut finished: Vec<(Instant, StatementId)> = all
        .values()
        .filter_map(|r| Some((r.phase.borrow().ended?, r.id.clone())))
        .collect();
    finished.sort();
    let mut count = finished.len();
    let mut held = Weight::default();
    for record in all.values() {
        held.add(record.weight.get().copied().unwrap_or_default());
    }
    for (_, id) in finished {
        if count < KEPT_STATEMENTS && held.within(KEPT) {
            break;
        }
        if let Some(record) = all.remove(&id) {
            held.take(record.weight.get().copied().unwrap_or_default());
        }
        count -= 1;
    }
}

impl Record {
    pub(super) fn state(&self) -> StatementState {
        self.phase.borrow().state
    }

    /// Weighs what it holds, for the limits of what is kept.
    pub(super) fn weigh(&self) {
        let weight = self.lock().weight();
        let _ = self.weight.set(weight);
    }

    /// Changes what waiting calls see.
    pub(super) fn update(&self, change: impl FnOnce(&mut Phase)) {
        self.phase.send_modify(change);
    }

    /// What waiting calls watch.
    pub(super) fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The statement as its owner may see it, with up to `rows` rows from `offset` on.
    ///
    /// # Errors
    /// `internal` when kept rows cannot be read back.
    pub(super) fn view(&self, offset: u64, rows: u64) -> Result<StatementView> {
        let phase = self.phase.borrow().clone();
        let mut results = self.lock();
        let (output, output_dropped) = results.output();
        let elapsed = phase
            .ended
            .unwrap_or_else(Instant::now)
            .duration_since(self.started);
        Ok(StatementView {
            statement: self.id.clone(),
            state: phase.state,
            target: self.target.clone(),
            session: self.session.clone(),
            elapsed,
            progress: phase.progress,
            output,
            output_dropped,
            value: results.value.clone(),
            page: results.page(offset, rows)?,
            further: results.further(),
            images: results.images(),
            warnings: results.warnings(),
            written: results.written.clone(),
            error: phase.error,
            engine: self.engine.clone(),
        })
    }
}
