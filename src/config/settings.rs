//! Every setting: what it means, its unit, default and bounds. How it is read is in `load.rs`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret::Secret;
use super::units::{ByteSize, Count, Folders, MaybeSpan, Size, Span, Switch};
use crate::model::TargetName;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The target that is always there: it needs no account.
pub(crate) const LOCAL: &str = "local";

/// The settings that are paths; relative ones are relative to where they are written.
pub(super) const PATHS: [&[&str]; 3] = [
    &["files", "allowed"],
    &["engine", "wheels"],
    &["engine", "python"],
];

/// The same within a target.
pub(super) const TARGET_PATHS: [&str; 2] = ["secret_file", "ca_file"];

/// The settings of sparklease, one TOML file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// The target of calls that name none. One of `targets`.
    #[schemars(with = "String")]
    pub default_target: TargetName,
    /// How the server answers.
    pub server: Server,
    /// Which local files calls may read.
    pub files: Files,
    /// The local engine.
    pub engine: Engine,
    /// Where Spark runs, by name. `local` is always there.
    #[schemars(with = "BTreeMap<String, Target>")]
    pub targets: BTreeMap<TargetName, Target>,
}

/// How the server answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Server {
    /// What tools may do on every target. `read-only` wins over a target's own `access`.
    pub access: Access,
    /// How long a tool call waits for its statement before it answers with the statement's id; a call's `wait_s`
    /// says otherwise. The default is well below the 60 s after which common clients give up.
    #[serde(with = "Span::<1, { 10 * MINUTE }>")]
    pub wait: Duration,
    /// Rows in one answer; a call's `max_rows` says otherwise.
    #[serde(with = "Count::<1, 10_000>")]
    pub rows: u64,
    /// Size of one answer, text and structured content together.
    #[serde(with = "Size::<{ 8 * KIB }, MIB>")]
    pub answer_bytes: ByteSize,
    /// How long a statement's result is kept for paging, from its end.
    #[serde(with = "Span::<MINUTE, DAY>")]
    pub keep: Duration,
    /// A session's lease ends after so long without a call of its owner; a running statement holds it.
    #[serde(with = "Span::<MINUTE, DAY>")]
    pub silence: Duration,
    /// Whether answers carry their rows as structured content too. Off halves the tokens in clients that show both.
    #[serde(with = "Switch")]
    pub structured_copy: bool,
    /// What is logged to stderr: `off`, `error`, `warn`, `info`, `debug`, `trace`, or a list such as
    /// `info,sparklease::lease=debug`.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// Which local files calls may read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Files {
    /// Folders besides the client's roots (else the working folder). Relative ones are relative to this file.
    #[serde(with = "Folders")]
    pub allowed: Vec<PathBuf>,
}

/// The local engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Engine {
    /// A folder of wheels to install the engine from, without a network. Also `SPARKLEASE_ENGINE_WHEELS`.
    pub wheels: Option<PathBuf>,
    /// The Python to make the engine's environment with: a path, or a command on `PATH`. By default the best that is
    /// found.
    pub python: Option<PathBuf>,
    /// Memory of one worker; beyond it its Python fails with `MemoryError`.
    #[serde(with = "Size::<{ 512 * MIB }, { 1024 * GIB }>")]
    pub memory: ByteSize,
    /// Whether one worker is kept ready after the first use: a session then opens within milliseconds.
    #[serde(with = "Switch")]
    pub spare: bool,
}

/// One place where Spark runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// The kind of place.
    pub platform: Platform,
    /// What tools may do there. On `local` everything, unless it says otherwise; any other platform must say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// How much may run there, and for how long.
    #[serde(default)]
    pub limits: Limits,
    /// `livy`: the kind of server. By default `apache`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// `livy`: the address below which `/sessions` is, like `https://livy.example.com:8998`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `livy`: how we sign in. By default `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// The user of `auth = "basic"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The password of `basic`, the token of `bearer`. Better as a variable (`SPARKLEASE__TARGETS__NAME__SECRET`) than
    /// in a file that is shared; never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// A file that holds the password or the token; it is read again when the server refuses what was in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// `livy`: headers of every request, for a gateway: `{ X-Tenant = "a" }`. Their values are never shown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Secret>,
    /// `livy`: a PEM file of certificates to trust besides the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// `livy`: whose rights the sessions have, where the server lets us act for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_user: Option<String>,
    /// `livy`: Spark's settings of each session, as texts. The server shows them to all its users: no secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conf: BTreeMap<String, String>,
    /// `livy`: the server ends a session by itself after so long without a word from us, also while it starts. By default
    /// `2m`; less than that may end sessions when the network stutters.
    #[serde(
        default,
        with = "MaybeSpan::<10, HOUR>",
        skip_serializing_if = "Option::is_none"
    )]
    pub heartbeat: Option<Duration>,
}

impl Target {
    /// One on this machine, with the defaults.
    fn local() -> Self {
        Self {
            platform: Platform::Local,
            access: Some(Access::ReadWrite),
            limits: Limits::default(),
            dialect: None,
            url: None,
            auth: None,
            user: None,
            secret: None,
            secret_file: None,
            headers: BTreeMap::new(),
            ca_file: None,
            proxy_user: None,
            conf: BTreeMap::new(),
            heartbeat: None,
        }
    }

    /// The keys that are set and that `local` does not have.
    pub(super) fn remote_keys(&self) -> Vec<&'static str> {
        [
            ("dialect", self.dialect.is_some()),
            ("url", self.url.is_some()),
            ("auth", self.auth.is_some()),
            ("user", self.user.is_some()),
            ("secret", self.secret.is_some()),
            ("secret_file", self.secret_file.is_some()),
            ("headers", !self.headers.is_empty()),
            ("ca_file", self.ca_file.is_some()),
            ("proxy_user", self.proxy_user.is_some()),
            ("conf", !self.conf.is_empty()),
            ("heartbeat", self.heartbeat.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, set)| set.then_some(key))
        .collect()
    }
}

/// The kinds of places. Only those that are built are here, so that another one is an error that lists these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Platform {
    /// The local engine; no account.
    Local,
    /// Apache Livy: sessions on a cluster, which cost money there.
    Livy,
}

/// The kinds of Livy servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Dialect {
    /// Apache Livy 0.7 and later.
    #[default]
    Apache,
}

/// How we sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Auth {
    /// Not at all, or by `headers`.
    #[default]
    None,
    /// With `user` and a password.
    Basic,
    /// With a token.
    Bearer,
}

/// What tools may do.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Access {
    /// `query_sql` only.
    ReadOnly,
    /// Everything.
    #[default]
    ReadWrite,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much may run on a target, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Sessions at a time.
    #[serde(with = "Count::<1, 64>")]
    pub sessions: usize,
    /// Where sessions cost money: those that are kept ready before anybody asks, from the start of the server on; within
    /// `sessions`. They cost while they wait; after `server.silence` without a call they go until the next one.
    #[serde(with = "Count::<0, 16>")]
    pub warm: usize,
    /// Calls that wait for a session at a time; further ones are refused.
    #[serde(with = "Count::<1, 10_000>")]
    pub queue: usize,
    /// How long a call waits for a session.
    #[serde(with = "Span::<1, HOUR>")]
    pub queue_wait: Duration,
    /// How long the opening of a session may take; the first one on `local` installs the engine.
    #[serde(with = "Span::<1, HOUR>")]
    pub open: Duration,
    /// An unnamed session is closed after so long without a statement; named ones end by `server.silence` and `life`.
    #[serde(with = "Span::<1, DAY>")]
    pub idle: Duration,
    /// A session is closed after so long in any case.
    #[serde(with = "Span::<MINUTE, { 7 * DAY }>")]
    pub life: Duration,
    /// How long a statement may run; a call's `timeout_s` may ask for less.
    #[serde(with = "Span::<1, DAY>")]
    pub statement: Duration,
    /// Rows of a result that are kept for paging.
    #[serde(with = "Count::<1, 1_000_000>")]
    pub rows: u64,
    /// Size of a result that is kept for paging.
    #[serde(with = "Size::<{ 64 * KIB }, { 64 * MIB }>")]
    pub bytes: ByteSize,
    /// Where sessions cost money: those that are being opened at once. More make many servers fail.
    #[serde(with = "Count::<1, 16>")]
    pub opening: usize,
    /// Where sessions cost money: the time that they may be open on one day (UTC), all together, of all processes of
    /// this user. Beyond it none is opened; those that are open stay.
    #[serde(with = "Span::<MINUTE, { 64 * DAY }>")]
    pub budget: Duration,
}

impl Settings {
    /// What tools may do on a target: the lesser of the server's and its own. An unknown target allows nothing
    /// but reads.
    pub(crate) fn access(&self, target: &TargetName) -> Access {
        self.targets
            .get(target)
            .map_or(Access::ReadOnly, |target| match target.platform {
                Platform::Local => target.access.unwrap_or_default(),
                Platform::Livy => target.access.unwrap_or(Access::ReadOnly),
            })
            .min(self.server.access)
    }
}

impl Default for Settings {
    fn default() -> Self {
        let local = TargetName::new(LOCAL);
        Self {
            default_target: local.clone(),
            server: Server::default(),
            files: Files::default(),
            engine: Engine::default(),
            targets: BTreeMap::from([(local, Target::local())]),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            access: Access::ReadWrite,
            wait: Duration::from_secs(25),
            rows: 100,
            answer_bytes: ByteSize::new(24 * KIB),
            keep: Duration::from_secs(30 * MINUTE),
            silence: Duration::from_secs(15 * MINUTE),
            structured_copy: true,
            log: "info".to_owned(),
            log_format: LogFormat::Text,
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            wheels: None,
            python: None,
            memory: ByteSize::new(4 * GIB),
            spare: true,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 4,
            warm: 0,
            queue: 100,
            queue_wait: Duration::from_secs(2 * MINUTE),
            open: Duration::from_secs(10 * MINUTE),
            idle: Duration::from_secs(5 * MINUTE),
            life: Duration::from_secs(8 * HOUR),
            statement: Duration::from_secs(30 * MINUTE),
            rows: 10_000,
            bytes: ByteSize::new(32 * MIB),
            opening: 2,
            budget: Duration::from_secs(DAY),
        }
    }
}
