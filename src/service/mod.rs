//! Use cases: query, execute, wait, cancel, sessions. Each call names its owner; nothing is rendered here.

mod drive;
mod files;
mod results;
mod sessions;
mod statements;
mod tables;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use self::drive::Waits;
use self::statements::{Phase, Record, Statements};
use self::tables::Listings;
pub(crate) use self::write::{WriteCall, WriteSource, table_name};
use crate::lease::LeaseHandle;
use crate::model::{
    Code, Details, Error, OwnerId, Progress, Result, SessionName, StatementId, StatementState,
    StatementView, Stream, TargetName,
};
use crate::platform::{Params, Platform, Statement, Work};
use crate::sql::{self, Verdict};

/// One target, as a service needs it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where it runs.
    pub platform: Arc<dyn Platform>,
    /// Nothing may be changed there.
    pub read_only: bool,
    /// How long a call waits for a session that others hold.
    pub queue_wait: Duration,
    /// How long a call waits for a session that is being opened.
    pub open: Duration,
    /// How long a statement may take; also the most that `timeout_s` may ask for.
    pub statement: Duration,
    /// Rows of a result that are kept.
    pub rows: u64,
    /// Bytes of a result's rows that are kept.
    pub bytes: u64,
}

/// What a service is made of.
pub(crate) struct Parts {
    /// By name.
    pub targets: BTreeMap<TargetName, Target>,
    /// For calls that name none.
    pub default_target: TargetName,
    /// Who hands out sessions.
    pub lease: LeaseHandle,
    /// How long a finished statement is kept.
    pub keep: Duration,
    /// Where large results spill.
    pub folder: PathBuf,
    /// The working directory.
    pub working: PathBuf,
    /// Folders that the configuration allows.
    pub allowed: Vec<PathBuf>,
}

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    parts: Arc<Parts>,
    statements: Statements,
    listings: Listings,
}

/// Printed output as it comes, raw: all of it, while what is kept is cut. A reader that is slow slows the code down.
pub(crate) type Tap = mpsc::Sender<(Stream, String)>;

/// Where and how a statement is to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// `None`: the default target.
    pub target: Option<TargetName>,
    /// `None`: any free session of the owner.
    pub session: Option<SessionName>,
    /// `None`: the target's limit.
    pub timeout: Option<Duration>,
}

/// One SQL statement to run.
#[derive(Clone, Debug)]
pub(crate) struct SqlCall {
    /// The text.
    pub sql: String,
    /// Bound values.
    pub params: Params,
    /// View → path, as the caller gave them.
    pub files: BTreeMap<String, String>,
    /// The client's roots; empty where it offers none.
    pub roots: Vec<PathBuf>,
    /// Refuse what does not only read.
    pub reads_only: bool,
}

/// A statement's state while it is waited for.
#[derive(Debug)]
pub(crate) struct Waiting {
    record: Arc<Record>,
    phase: watch::Receiver<Phase>,
}

impl Waiting {
    /// The statement.
    pub(crate) fn id(&self) -> &StatementId {
        &self.record.id
    }

    /// Where it stands and what it is doing.
    pub(crate) fn now(&self) -> (StatementState, Option<Progress>) {
        let phase = self.phase.borrow();
        (phase.state, phase.progress.clone())
    }

    /// Waits for its end.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn ended(&mut self) {
        let _ = self.phase.wait_for(|p| p.state.is_final()).await;
    }
}

impl Service {
    /// A service of these parts.
    pub(crate) fn new(parts: Parts) -> Self {
        let statements = Statements::new(parts.keep, parts.folder.clone());
        Self {
            parts: Arc::new(parts),
            statements,
            listings: Listings::default(),
        }
    }

    /// Calls are taken from now on, so sessions may be opened before the first one asks.
    pub(crate) fn keep_warm(&self) {
        self.parts.lease.keep_warm();
    }

    /// The names of the targets, the default one first.
    pub(crate) fn target_names(&self) -> Vec<&TargetName> {
        let default = &self.parts.default_target;
        let rest = self.parts.targets.keys().filter(|t| *t != default);
        std::iter::once(default).chain(rest).collect()
    }

    /// Whether any target allows changes: otherwise the tools that change are not listed.
    pub(crate) fn any_writable(&self) -> bool {
        self.parts.targets.values().any(|t| !t.read_only)
    }

    /// A target by name, or the default one.
    ///
    /// # Errors
    /// `not_found`, with the names that there are.
    pub(crate) fn target(&self, name: Option<&TargetName>) -> Result<(&TargetName, &Target)> {
        let name = name.unwrap_or(&self.parts.default_target);
        self.parts.targets.get_key_value(name).ok_or_else(|| {
            let names: Vec<&str> = self
                .target_names()
                .into_iter()
                .map(TargetName::as_str)
                .collect();
            Error::new(
                Code::NotFound,
                format!("there is no target {:?}", name.as_str()),
            )
            .hint(format!(
                "Use one of the targets {}, or leave the argument out for {}.",
                names.join(", "),
                self.parts.default_target
            ))
        })
    }

    /// The target that a call means: the one it names, else that of the session it names, else the default one.
    async fn target_of(&self, owner: &OwnerId, place: &Place) -> Result<Option<TargetName>> {
        self.parts.lease.touch(owner.clone());
        match (&place.target, &place.session) {
            (Some(target), _) => Ok(Some(target.clone())),
            (None, Some(session)) => {
                let found = self
                    .parts
                    .lease
                    .find(owner.clone(), session.clone())
                    .await?;
                Ok(Some(found.target))
            }
            (None, None) => Ok(None),
        }
    }

    /// Starts one SQL statement and returns its id without waiting for a session.
    ///
    /// # Errors
    /// `not_found` (target, session, file), `session_lost`, `policy_denied`, `invalid_argument`, `unsupported`.
    pub(crate) async fn start_sql(
        &self,
        owner: &OwnerId,
        place: &Place,
        call: SqlCall,
    ) -> Result<Waiting> {
        let name = self.target_of(owner, place).await?;
        let (name, target) = self.target(name.as_ref())?;
        let (mut reads, mut only_reads) = (false, false);
        match sql::classify(&call.sql) {
            Verdict::Reads(read) => (reads, only_reads) = (read.is_relation(), true),
            Verdict::Refused(refusal) if call.reads_only => {
                return Err(Error::new(Code::PolicyDenied, refusal.reason)
                    .hint(refusal.hint)
                    .details(Details {
                        line: refusal.line,
                        column: refusal.column,
                        ..Default::default()
                    }));
            }
            Verdict::Refused(_) => {}
        }
        if !call.reads_only {
            writable(name, target)?;
        }
        if !call.files.is_empty() && !target.platform.capability().local_files {
            return Err(Error::new(
                Code::Unsupported,
                format!("the target {name} cannot read files of this machine"),
            )
            .hint("Leave out the files argument, or use a target that runs on this machine."));
        }
        let files = files::resolve(
            &call.files,
            &call.roots,
            &self.parts.working,
            &self.parts.allowed,
        )?;
        let work = Work::Sql {
            text: call.sql,
            params: call.params,
            files,
            keep_views: place.session.is_some(),
            reads,
        };
        let keep = drive::Keep::OneResult { only_reads };
        Ok(self.start(owner, name, target, place, work, keep))
    }

    /// Starts a piece of Python and returns at once. `tap` gets what it prints.
    ///
    /// # Errors
    /// `not_found` (target), `policy_denied`.
    pub(crate) async fn start_python(
        &self,
        owner: &OwnerId,
        place: &Place,
        code: String,
        tap: Option<Tap>,
    ) -> Result<Waiting> {
        let name = self.target_of(owner, place).await?;
        let (name, target) = self.target(name.as_ref())?;
        writable(name, target)?;
        let work = Work::Python {
            code,
            keep_namespace: place.session.is_some(),
        };
        Ok(self.start(owner, name, target, place, work, drive::Keep::Results(tap)))
    }

    fn start(
        &self,
        owner: &OwnerId,
        name: &TargetName,
        target: &Target,
        place: &Place,
        work: Work,
        keep: drive::Keep,
    ) -> Waiting {
        let engine = &target.platform.capability().engine;
        let record = self
            .statements
            .accept(owner, name, place.session.clone(), engine);
        let statement = Statement {
            id: record.id.clone(),
            work,
            max_rows: target.rows,
            max_bytes: target.bytes,
        };
        let statement_for = place
            .timeout
            .map_or(target.statement, |asked| asked.min(target.statement));
        let waits = Waits {
            queue: target.queue_wait,
            open: target.open,
            statement: statement_for,
            left: statement_for,
        };
        let phase = record.watch();
        tokio::spawn(drive::drive(
            self.statements.clone(),
            record.clone(),
            self.parts.lease.clone(),
            statement,
            keep,
            waits,
        ));
        Waiting { record, phase }
    }

    /// A statement to wait for.
    ///
    /// # Errors
    /// `not_found`.
    pub(crate) fn waiting(&self, owner: &OwnerId, id: &StatementId) -> Result<Waiting> {
        self.parts.lease.touch(owner.clone());
        let record = self.statements.find(owner, id)?;
        let phase = record.watch();
        Ok(Waiting { record, phase })
    }

    /// A statement as it is now, with up to `rows` rows from `offset` on.
    ///
    /// # Errors
    /// `not_found`; `internal` when kept rows cannot be read back.
    pub(crate) fn view(
        &self,
        owner: &OwnerId,
        id: &StatementId,
        offset: u64,
        rows: u64,
    ) -> Result<StatementView> {
        self.statements.find(owner, id)?.view(offset, rows)
    }

    /// Asks a statement to end. It has ended when its state says so; see [`Waiting::ended`].
    ///
    /// # Errors
    /// `not_found`.
    pub(crate) fn cancel(&self, owner: &OwnerId, id: &StatementId) -> Result<Waiting> {
        let waiting = self.waiting(owner, id)?;
        waiting.record.cancel.cancel();
        Ok(waiting)
    }

    /// The client has vanished: its statements are cancelled, its sessions closed, its results forgotten.
    pub(crate) fn owner_gone(&self, owner: &OwnerId) {
        self.statements.cancel_all(Some(owner));
        self.parts.lease.owner_gone(owner.clone());
        self.statements.forget_owner(owner);
    }

    /// Refuses leases, cancels statements, closes sessions; each platform then ends what is left. All of it within
    /// `budget`.
    pub(crate) async fn shutdown(&self, budget: Duration) {
        let deadline = Instant::now() + budget;
        self.statements.cancel_all(None);
        let closed = self.parts.lease.shutdown(budget);
        tokio::pin!(closed);
        let early = tokio::time::timeout(budget / 3, &mut closed).await;
        // A session that is being opened cannot be closed before its open ends, and its platform's end ends that.
        let targets = self.parts.targets.values();
        let platforms = futures::future::join_all(targets.map(|t| t.platform.shutdown()));
        let platforms = tokio::time::timeout_at(deadline, platforms);
        let left = match early {
            Ok(left) => {
                let _ = platforms.await;
                left
            }
            Err(_) => tokio::join!(closed, platforms).0,
        };
        if left > 0 {
            tracing::warn!(left, "sessions whose close is not proved yet");
        }
    }
}

fn writable(name: &TargetName, target: &Target) -> Result<()> {
    if target.read_only {
        return Err(Error::new(
            Code::PolicyDenied,
            format!("the target {name} is read-only"),
        )
        .hint(
            "Use query_sql, or set access = \"read-write\" for the target in the configuration.",
        ));
    }
    Ok(())
}
